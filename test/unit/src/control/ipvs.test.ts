/** ipvsadm's table and the configuration are two views of the same: what one changes the other has, and nothing else is lost. */
import * as fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { load } from '../../../../src/config/load.ts';
import type { Config } from '../../../../src/config/model.ts';
import { save } from '../../../../src/config/save.ts';
import { tableOf, Unsupported, withTable } from '../../../../src/control/ipvs-config.ts';
import { apply } from '../../../../src/ipvsadm/model.ts';
import { NO_NAMES } from '../../../../src/ipvsadm/names.ts';
import type { Mutation } from '../../../../src/ipvsadm/ops.ts';
import { parseCommand } from '../../../../src/ipvsadm/parse.ts';
import { formatRules } from '../../../../src/ipvsadm/save.ts';

const CONF = `
[global]
layer4 = on
timeout_profile = lvs
[link lan]
mac = 02:00:00:00:00:01
[network]
netmask = 255.255.255.0
local_address = 10.0.0.2
[service proxied]
ip = 10.0.0.10
ports = 80
count = 1
server1 = 10.0.0.11:80:1:00:00:00:00:00:00
[service web]
ip = 10.0.0.10
ports = 81
mode = fnat
local_address = 10.0.0.30
scheduler = sh
sh_port = on
mss_clamp = 1400
check = tcp
check_port = 8081
max_connections = 50
backup = 10.0.0.13:80:1:00:00:00:00:00:00
count = 2
server1 = 10.0.0.11:80:1:02:00:00:00:00:11
server1_name = first
server2 = 10.0.0.12:80:3:00:00:00:00:00:00
server2_mode = nat
server2_upper = 10
server2_lower = 5
`;

function configOf(text: string): Config {
  const loaded = load(text, 'lb.conf');
  if ('model' in loaded) return loaded.model;
  throw new Error(JSON.stringify(loaded.errors));
}

/** After command lines of ipvsadm. */
function after(config: Config, ...lines: string[]): Config {
  return lines.reduce((held, line) => {
    const parsed = parseCommand('ipvsadm', line.split(' '), NO_NAMES);
    if (parsed.kind !== 'op') throw new Error(`${line}: ${parsed.stderr}`);
    const applied = apply(tableOf(held), parsed.op as Mutation);
    if (!applied.ok) throw new Error(`${line}: ${applied.errno}`);
    return configOf(save(withTable(held, applied.table)));
  }, config);
}

const saved = (config: Config): string => formatRules(tableOf(config), true, NO_NAMES);
const START = configOf(CONF);

test('the table shows the services of layer 4, and a table that is put back changes nothing', () => {
  assert.is(
    saved(START),
    [
      '-A -t 10.0.0.10:81 -s sh -b sh-port',
      '-a -t 10.0.0.10:81 -r 10.0.0.11:80 -b -w 1 -x 50 -y 50',
      '-a -t 10.0.0.10:81 -r 10.0.0.12:80 -m -w 3 -x 10 -y 5',
      '-P -t 10.0.0.10:81 -z 10.0.0.30 -F lan\n',
    ].join('\n'),
  );
  assert.equal(withTable(START, tableOf(START)), START);
});

test('a local address is at the link that has its network', () => {
  const two = CONF.replace('[network]', '[link wan]\naddress = 10.1.0.2/24\n[network]');
  const config = configOf(two.replace('local_address = 10.0.0.30', 'local_address = 10.0.0.30, 10.1.0.30'));
  assert.match(
    saved(config),
    /-P -t 10\.0\.0\.10:81 -z 10\.0\.0\.30 -F lan\n-P -t 10\.0\.0\.10:81 -z 10\.1\.0\.30 -F wan\n/,
  );
});

test('what the table does not know stays: names, MAC addresses, checks, the service of mode proxy', () => {
  const now = after(START, '-e -t 10.0.0.10:81 -r 10.0.0.11:80 -b -w 9', '-E -t 10.0.0.10:81 -s wlc');
  const [proxied, web] = now.services;
  assert.equal(proxied, START.services[0]);
  const { check, mssClamp, backup, name } = START.services[1]!;
  assert.equal([web!.check, web!.mssClamp, web!.backup, web!.name], [check, mssClamp, backup, name]);
  assert.equal([web!.scheduler, web!.schedOptions], ['wlc', {}]);
  const [first] = web!.dests;
  assert.equal([first!.name, first!.mac, first!.weight, first!.upper], ['first', '02:00:00:00:00:11', 9, 0]);
});

test('a service made by commands: a new server comes first, the mode is that of the servers', () => {
  const now = after(
    START,
    '-A -u 10.0.0.10:53 -s wrr',
    '-a -u 10.0.0.10:53 -r 10.0.0.11:53 -m -w 2',
    '-a -u 10.0.0.10:53 -r 10.0.0.12 -m -x 7',
  );
  const dns = now.services[2]!;
  assert.equal([dns.name, dns.mode, dns.proto], ['udp-10.0.0.10:53', 'nat', 'udp']);
  assert.equal(
    dns.dests.map(({ name, weight, upper, mode }) => [name, weight, upper, mode]),
    [
      ['10.0.0.12:53', 1, 7, undefined],
      ['10.0.0.11:53', 2, undefined, undefined],
    ],
  );
  const mixed = after(now, '-e -u 10.0.0.10:53 -r 10.0.0.11 -g').services[2]!;
  assert.equal([mixed.mode, mixed.dests.map(({ mode }) => mode)], ['nat', [undefined, 'dr']]);
});

test('FullNAT as DPVS does it: server and local address in any order', () => {
  const address = '-t 10.0.0.20:80';
  for (const lines of [
    [`-a ${address} -r 10.0.0.11:80 -b`, `-P ${address} -z 10.0.0.40 -F lan`],
    [`-P ${address} -z 10.0.0.40 -F lan`, `-a ${address} -r 10.0.0.11:80 -b`],
  ]) {
    const now = after(START, `-A ${address} -s rr`, ...lines);
    const { mode, localAddresses, dests } = now.services[2]!;
    assert.equal([mode, localAddresses.length, dests[0]!.mode], ['fnat', 1, undefined]);
    const without = after(now, `-Q ${address} -z 10.0.0.40 -F lan`).services[2]!;
    assert.equal([without.mode, without.localAddresses], ['fnat', []]);
  }
});

test('timeouts: those that are not changed stay the profile', () => {
  const { tcpMs, tcpFinMs, udpMs } = after(START, '--set 100 0 30').global.connTimeouts;
  assert.equal([tcpMs, tcpFinMs, udpMs], [100_000, null, 30_000]);
  assert.equal(tableOf(START).timeouts, { tcp: 900, tcpfin: 120, udp: 300 });
});

test('a service has a timeout of its own', () => {
  const now = after(START, '-E -t 10.0.0.10:81 -s rr --conn-timeout 60');
  assert.is(now.services[1]!.connTimeoutMs, 60_000);
  assert.match(saved(now), /^-A -t 10\.0\.0\.10:81 -s rr --conn-timeout 60$/m);
  const fine = configOf(CONF.replace('mss_clamp = 1400', 'conn_timeout = 1500ms'));
  assert.equal(withTable(fine, tableOf(fine)), fine);
  assert.is(after(now, '-E -t 10.0.0.10:81 -s rr').services[1]!.connTimeoutMs, 0);
});

test('flush takes all of layer 4 and leaves mode proxy', () => {
  assert.equal(
    after(START, '-C').services.map(({ name }) => name),
    ['proxied'],
  );
});

test('what there is not is refused by its name', () => {
  for (const [line, what] of [
    ['-A -t 10.0.0.10:90 --synproxy enable', 'SYN proxy'],
    ['-A -t 10.0.0.10:90 --proxy-protocol v2', 'PROXY'],
    ['-A -t [fd00::1]:90', 'IPv6'],
    ['-A --sctp-service 10.0.0.10:90', 'sctp'],
    ['-a -t 10.0.0.10:81 -r 10.0.0.14:80 -i --tun-type gue --tun-port 6080', 'gue'],
    ['-U -t 10.0.0.10:81 -k 10.0.0.77', 'deny'],
  ] as const) {
    try {
      after(START, line);
      assert.unreachable(line);
    } catch (error) {
      assert.instance(error, Unsupported, String(error));
      assert.match((error as Error).message, what);
    }
  }
});

const endpoint = fc
  .tuple(fc.integer({ min: 11, max: 16 }), fc.constantFrom(80, 81))
  .map(([i, p]) => `10.0.0.${i}:${p}`);
const service = fc.tuple(fc.constantFrom('-t', '-u'), fc.constantFrom(7, 8)).map(([p, i]) => `${p} 10.0.0.${i}:80`);
const line = fc.oneof(
  fc
    .tuple(fc.constantFrom('-A', '-E'), service, fc.constantFrom('rr', 'wlc', 'mh', 'sh'))
    .map(([c, s, name]) => `${c} ${s} -s ${name}`),
  service.map((s) => `-D ${s}`),
  fc
    .tuple(
      fc.constantFrom('-a', '-e'),
      service,
      endpoint,
      fc.constantFrom('-m', '-g', '-i', '-b'),
      fc.nat(5),
      fc.nat(9),
    )
    .map(([c, s, r, mode, w, x]) => `${c} ${s} -r ${r} ${mode} -w ${w} -x ${x}`),
  fc.tuple(service, endpoint).map(([s, r]) => `-d ${s} -r ${r}`),
  fc
    .tuple(fc.constantFrom('-P', '-Q'), service, fc.constantFrom(40, 41))
    .map(([c, s, i]) => `${c} ${s} -z 10.0.0.${i} -F lan`),
  fc.constantFrom('--set 100 0 0', '--set 0 50 7', '-C'),
);

test('property: any commands give the table that the rules give, and the configuration of it loads to itself', () => {
  fc.assert(
    fc.property(fc.array(line, { maxLength: 25 }), (lines) => {
      let config = START;
      for (const text of lines) {
        const parsed = parseCommand('ipvsadm', text.split(' '), NO_NAMES);
        if (parsed.kind !== 'op') throw new Error(parsed.stderr);
        const applied = apply(tableOf(config), parsed.op as Mutation);
        if (!applied.ok) continue;
        const next = withTable(config, applied.table);
        const loaded = load(save(next), 'lb.conf');
        // Such as direct routing to another port.
        if (!('model' in loaded)) continue;
        assert.equal(structuredClone(loaded.model), structuredClone(next), text);
        assert.is(saved(next), formatRules(applied.table, true, NO_NAMES), text);
        config = next;
      }
    }),
    { numRuns: 150 },
  );
});

test('marks, all ports, ICMP and matches: as command lines make them, a file keeps them, and the table has them again', () => {
  const lines = [
    '-A -f 7 -s rr -p 60',
    '-a -f 7 -r 10.0.0.12:0 -m',
    '-A -t 10.0.0.10:0 -s rr -p 100',
    '-a -t 10.0.0.10:0 -r 10.0.0.12:0 -m',
    '-A -q 10.0.0.10:0 -s rr',
    '-A -H proto=tcp,src-range=10.0.0.1-10.0.0.9:1-65535,oif=lan -s rr',
    '-a -H proto=tcp,src-range=10.0.0.1-10.0.0.9:1-65535,oif=lan -r 10.0.0.12:80 -m',
  ];
  const config = after(configOf(CONF), ...lines);
  const added = config.services.slice(2);
  assert.equal(
    added.map(({ proto, vip, port, mode }) => [proto, proto === 'match' ? 0 : vip, port, mode]),
    [
      ['mark', 7, 0, 'nat'],
      ['tcp', 0x0a00000a, 0, 'nat'],
      ['icmp', 0x0a00000a, 0, 'nat'],
      ['match', 0, 0, 'nat'],
    ],
  );
  assert.equal(withTable(config, tableOf(config)), config);
  const loaded = configOf(save(config));
  assert.equal(tableOf(loaded), tableOf(config));
  const gone = after(loaded, '-D -f 7', '-D -H proto=tcp,src-range=10.0.0.1-10.0.0.9:1-65535,oif=lan');
  assert.is(gone.services.length, loaded.services.length - 2);
});

test('what conhash hashes comes back as it was', () => {
  const base = configOf(CONF.replace('scheduler = sh\nsh_port = on', 'scheduler = conhash'));
  assert.match(saved(base), /^-A -t 10\.0\.0\.10:81 -s conhash --hash-target 5tuple$/m);
  const lines = ['-A -u 10.0.0.10:443 -s conhash --hash-target qid', '-A -u 10.0.0.10:444 -s conhash'];
  const now = after(base, ...lines);
  assert.equal(
    now.services.slice(1).map(({ schedOptions }) => schedOptions),
    [{ key: '5tuple' }, { key: 'quic' }, { key: 'source' }],
  );
  for (const line of lines) assert.ok(saved(now).split('\n').includes(line), saved(now));
  assert.equal(withTable(now, tableOf(now)), now);
});

test('matches of any protocol and any port have words in the table', () => {
  const conf = `${CONF}[service all]\nmatch = from=10.0.0.0/24,oif=lan\nmode = nat\none_packet = on\nscheduler = rr\ncount = 0\n`;
  const base = configOf(conf);
  const line = '-A -H proto=any,src-range=10.0.0.0-10.0.0.255:0-0,oif=lan -s rr -o';
  assert.ok(saved(base).split('\n').includes(line), saved(base));
  assert.equal(withTable(base, tableOf(base)), base);
  const again = after(configOf(CONF), line);
  assert.equal(again.services[2]!.match, base.services[2]!.match);
  // Ports left out, and all of them, are any port as well.
  for (const ports of ['', ':0-65535']) {
    const same = `-a -H proto=any,src-range=10.0.0.0-10.0.0.255${ports},oif=lan -r 10.0.0.12:80 -m`;
    assert.is(after(again, same).services[2]!.dests.length, 1);
  }
});

test('SNAT as DPVS has it: the servers are the addresses that connections leave from', () => {
  const id = '-H proto=any,src-range=10.0.0.0-10.0.0.255:0-0,oif=lan';
  const lines = [`-A ${id} -s rr`, `-a ${id} -r 10.0.0.41:0 -J -w 1`, `-a ${id} -r 10.0.0.40:0 -J -w 1`];
  const now = after(START, ...lines);
  const { mode, localAddresses, dests } = now.services[2]!;
  assert.equal([mode, localAddresses, dests], ['snat', [0x0a000028, 0x0a000029], []]);
  assert.ok(saved(now).includes(`${lines[0]}\n${lines[2]}\n${lines[1]}\n`), saved(now));
  assert.equal(withTable(now, tableOf(now)), now);
  const fewer = after(now, `-d ${id} -r 10.0.0.40:0`, `-d ${id} -r 10.0.0.41:0`).services[2]!;
  assert.equal([fewer.mode, fewer.localAddresses], ['snat', []]);
  for (const [line, what] of [
    [`-a ${id} -r 10.0.0.42:0 -m`, /beside other/],
    [`-a ${id} -r 10.0.0.42:80 -J`, /with a port/],
    [`-a ${id} -r 10.0.0.42:0 -J -w 0`, /weight 0/],
    [`-a ${id} -r 10.0.0.42:0 -J -x 5`, /limits/],
    [`-P ${id} -z 10.0.0.42 -F lan`, /besides its servers/],
  ] as const)
    assert.throws(() => after(now, line), what);
});

test.run();

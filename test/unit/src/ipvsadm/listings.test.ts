/** Listings that no recording shows: DPVS's, tunnels, odd orders, connections of a persistence engine. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { ipv4 } from '../../../../src/ipvsadm/address.ts';
import { scaled } from '../../../../src/ipvsadm/format.ts';
import { apply, find } from '../../../../src/ipvsadm/model.ts';
import { NO_NAMES } from '../../../../src/ipvsadm/names.ts';
import { ipvsadm, type Surroundings } from '../../../../src/ipvsadm/run.ts';
import { type Connection, EMPTY_TABLE, type Snapshot, snapshotOf } from '../../../../src/ipvsadm/table.ts';

/** The output of the last line; every line must succeed. */
async function shown(lines: readonly string[], live: Partial<Snapshot> = {}): Promise<string[]> {
  let snapshot: Snapshot = { ...snapshotOf(EMPTY_TABLE), ...live };
  const target: Surroundings['target'] = {
    snapshot: () => snapshot,
    apply: (mutation) => {
      const applied = apply(snapshot, mutation);
      if (applied.ok) snapshot = { ...snapshot, ...applied.table };
      return applied.ok ? null : applied.errno;
    },
  };
  let stdout = '';
  for (const line of lines) {
    const result = await ipvsadm(line.split(' '), { target, names: NO_NAMES, stdin: () => '', program: 'ipvsadm' });
    assert.is(result.exitCode, 0, `${line}: ${result.stderr}`);
    stdout = result.stdout;
  }
  return stdout.trimEnd().split('\n');
}

test('addresses and marks sort by signed differences', async () => {
  const services = ['200.0.1.100', '9.0.1.100', '255.0.0.1', '1.0.0.1'].map((ip) => `-A -t ${ip}:80`);
  const lines = await shown([...services, '-A -f 4294967295', '-A -f 1', '-S -n']);
  assert.equal(lines, [
    '-A -f 4294967295 -s wlc',
    '-A -t 200.0.1.100:80 -s wlc',
    '-A -t 255.0.0.1:80 -s wlc',
    '-A -t 1.0.0.1:80 -s wlc',
    '-A -t 9.0.1.100:80 -s wlc',
    '-A -f 1 -s wlc',
  ]);
});

test('the order of three addresses may run in a circle: each pair is compared for itself', async () => {
  const first = async (...ips: string[]): Promise<string | undefined> =>
    (await shown([...ips.map((ip) => `-A -t ${ip}:80`), '-S -n']))[0]?.split(' ')[2];
  assert.is(await first('200.0.0.1', '100.0.0.1'), '100.0.0.1:80');
  assert.is(await first('9.0.0.1', '200.0.0.1'), '200.0.0.1:80');
  assert.is(await first('100.0.0.1', '9.0.0.1'), '9.0.0.1:80');
});

test('tunnels of every type', async () => {
  const at = '-a -t 10.0.0.1:80 -i -r';
  const lines = await shown([
    '-A -t 10.0.0.1:80 -s rr',
    `${at} 10.0.0.2`,
    `${at} 10.0.0.3 --tun-type gue --tun-port 6080 --tun-remcsum`,
    `${at} 10.0.0.4 --tun-type gre`,
    '-L -n --tun-info',
  ]);
  assert.equal(lines.slice(4), [
    '  -> 10.0.0.2:80                  Tunnel  ipip          1      0          0         ',
    '  -> 10.0.0.3:80                  Tunnel  gue:6080:r+c  1      0          0         ',
    '  -> 10.0.0.4:80                  Tunnel  gre:-c        1      0          0',
  ]);
});

test('wide weights shift the columns', async () => {
  const lines = await shown(['-A -f 1', '-a -f 1 -r 10.0.0.2:80 -m -w 2147483647', '-L -n']);
  assert.is(lines[4], '  -> 10.0.0.2:80                  Masq    2147483647 0          0');
});

test('servers unsorted: the last one first', async () => {
  const lines = await shown(['-A -f 1', '-a -f 1 -r 10.0.0.3:80', '-a -f 1 -r 10.0.0.2:80', '-L -n --nosort']);
  assert.equal(
    lines.slice(4).map((line) => line.slice(5, 13)),
    ['10.0.0.2', '10.0.0.3'],
  );
});

test('what DPVS adds to a service and its servers', async () => {
  const make = [
    '-A -u 10.0.0.1:443 -s conhash --hash-target qid -o --conn-timeout 60 --proxy-protocol v2 --expire-quiescent --quic --dest-check default --dest-check udp',
    '-a -u 10.0.0.1:443 -r 10.0.0.2:443 -b',
    '-a -u 10.0.0.1:443 -r 10.0.0.3:443 -J',
  ];
  const lines = await shown([...make, '-L -n']);
  assert.equal(lines.slice(3), [
    'UDP  10.0.0.1:443 conhash qid ops conn-timeout 60 ppv2 expire-quiescent quic dest-check internal:default external:udp',
    '  -> 10.0.0.2:443                 FullNat 1      0          0         ',
    '  -> 10.0.0.3:443                 SNAT    1      0          0',
  ]);
});

test('match, ICMP and ICMPv6 services', async () => {
  const lines = await shown([
    '-A -H proto=tcp,src-range=192.168.0.0-192.168.0.255:0-0,oif=wan -s rr',
    '-A -q 10.0.0.1 -s rr',
    '-A -1 fd00::1 -s rr',
    '-L -n',
  ]);
  assert.equal(lines.slice(3), [
    'ICMP 10.0.0.1:0 rr',
    'MATCH tcp,from=192.168.0.0-192.168.0.255:0-0,oif=wan rr',
    'ICMPv6 [fd00::1]:0 rr',
  ]);
});

test('local addresses, and who is denied or allowed', async () => {
  const make = [
    '-A -t 10.0.0.1:80 -s rr',
    '-P -t 10.0.0.1:80 -z 10.0.1.5 -F tap0',
    '-U -t 10.0.0.1:80 -k 10.9.9.9',
    '-U -t 10.0.0.1:80 -k ipset:bad',
  ];
  assert.equal(await shown([...make, '-G']), [
    'VIP:VPORT            TOTAL    SNAT_IP              CONFLICTS  CONNS     ',
    '10.0.0.1:80          1        ',
    '                              10.0.1.5             0          0',
  ]);
  assert.equal(
    (await shown([...make, '-B -t 10.0.0.1:80'])).map((line) => line.trimEnd()),
    [
      'PROTO    VIP:VPORT                      BLACKLIST',
      'TCP      10.0.0.1:80                    10.9.9.9',
      'TCP      10.0.0.1:80                    ipset:bad',
    ],
  );
  assert.is((await shown([...make, '-W'])).length, 1);
});

const CONNECTION: Connection = {
  protocol: 'tcp',
  expireSec: 3725,
  state: 'ESTABLISHED',
  client: { address: ipv4(0x0a000009), port: 40000 },
  virtual: { address: ipv4(0x0a000001), port: 80 },
  dest: { address: ipv4(0x0a000002), port: 8080 },
  local: { address: ipv4(0x0a000105), port: 1025 },
  worker: 2,
  template: false,
  pe: { name: 'sip', data: 'call-1' },
};
const TEMPLATE: Connection = { ...CONNECTION, protocol: 'ip', state: 'ASSURED', template: true, pe: null };

test('connections: of a persistence engine, of a mark, in the form of DPVS', async () => {
  const live = { conns: [CONNECTION, TEMPLATE] };
  assert.equal((await shown(['-L -n -c'], live)).slice(2), [
    'TCP 62:05  ESTABLISHED 10.0.0.9:40000     10.0.0.1:80        10.0.0.2:8080',
    'IP  62:05  ASSURED     10.0.0.9:40000     10.0.0.1:80        10.0.0.2:8080',
  ]);
  assert.is(
    (await shown(['-L -n -c --persistent-conn'], live))[2],
    'TCP 62:05  ESTABLISHED 10.0.0.9:40000     10.0.0.1:80        10.0.0.2:8080    sip                call-1',
  );
  const dpvs = '[2]tcp 3725s  ESTABLISHED 10.0.0.9:40000     10.0.0.1:80        10.0.1.5:1025      10.0.0.2:8080';
  assert.equal(await shown(['-L -n -c --cpu 0'], live), [dpvs]);
  assert.equal(await shown(['-L -n -c --sockpair tcp:10.0.0.9:40000:10.0.0.1:80'], live), [dpvs]);
  assert.equal(await shown(['-L -n -c --sockpair tcp:10.0.0.9:40001:10.0.0.1:80'], live), ['']);
});

test('numbers are cut, not rounded, and grow out of their column only when exact', () => {
  assert.is(scaled(99_999_999n, false), ' 99999999');
  assert.is(scaled(100_000_999n, false), '  100000K');
  assert.is(scaled(99_999_999_999n, false), '   99999M');
  assert.is(scaled(100_000_000_000n, false), '     100G');
  assert.is(scaled(2n ** 64n - 1n, true), ' 18446744073709551615');
});

test('a service is found by its identity alone', () => {
  const id = { kind: 'fwmark', mark: 1, family: 4 } as const;
  assert.is(find(EMPTY_TABLE, id), undefined);
});

test.run();

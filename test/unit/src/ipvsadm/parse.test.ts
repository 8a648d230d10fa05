/** What a command line asks for, and what is said about a wrong one, where the recordings do not show it. */
import * as fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { helpText } from '../../../../src/ipvsadm/help.ts';
import { NO_NAMES } from '../../../../src/ipvsadm/names.ts';
import type { Op } from '../../../../src/ipvsadm/ops.ts';
import { isCommand, optionsOf, RULES } from '../../../../src/ipvsadm/options.ts';
import { parseCommand } from '../../../../src/ipvsadm/parse.ts';

const parsed = (line: string) => parseCommand('ipvsadm', line.split(' '), NO_NAMES);

function op<Name extends Op['op']>(name: Name, line: string): Op & { op: Name } {
  const result = parsed(line);
  if (result.kind === 'exit') throw new Error(`${line}: ${result.stderr}`);
  assert.is(result.op.op, name);
  return result.op as Op & { op: Name };
}

function complaint(line: string, code = 2): string {
  const result = parsed(line);
  if (result.kind === 'op') throw new Error(`${line} is taken`);
  assert.is(result.code, code, line);
  return result.stderr.trimEnd();
}

test('-b is fullnat for a server and scheduler flags for a service', () => {
  assert.is(op('add-dest', '-a -t 10.0.0.1:80 -r 10.0.0.2:81 -b -w 2').settings.forward, 'fullnat');
  assert.is(op('edit-dest', '-e -t 10.0.0.1:80 -r 10.0.0.2:81 -bw2').settings.weight, 2);
  assert.is(op('add-service', '-A -t 10.0.0.1:80 -s sh -b sh-port').settings.schedFlags, 2);
  assert.is(op('edit-service', '-E -t 10.0.0.1:80 -s mh -bmh-port,mh-fallback').settings.schedFlags, 3);
  assert.is(complaint('-A -t 10.0.0.1:80 -b', 255), '-b: missing argument');
});

test('flags must be known and belong to the scheduler', () => {
  assert.is(complaint('-A -t 10.0.0.1:80 -s rr -b sh-port'), "incompatible scheduler flag `sh-port'");
  assert.is(complaint('-A -t 10.0.0.1:80 -b mh-port'), "incompatible scheduler flag `mh-port'");
  assert.is(complaint('-A -t 10.0.0.1:80 -b flag-4'), "invalid scheduler flag `flag-4'");
  assert.is(complaint('-A -t 10.0.0.1:80 -b ,'), "invalid scheduler flag `,'");
  assert.is(op('add-service', '-A -t 10.0.0.1:80 -b flag-1,,flag-3').settings.schedFlags, 5);
});

test('a service keeps its defaults where nothing is given', () => {
  const { settings } = op('add-service', '-A -t 10.0.0.1:80');
  assert.is(settings.scheduler, 'wlc');
  assert.is(settings.persistSec, 0);
  assert.is(settings.mask, -1);
  assert.is(op('add-service', '-A -t [fd00::1]:80').settings.mask, 128);
  const { settings: server } = op('add-dest', '-a -t 10.0.0.1:80 -r 10.0.0.2');
  assert.is(server.weight, 1);
  assert.is(server.forward, 'route');
});

test('marks go up to 2^32 - 1; -6 makes one a mark of IPv6, after -f', () => {
  assert.equal(op('add-service', '-A -f 4294967295').service, { kind: 'fwmark', mark: 4294967295, family: 4 });
  assert.equal(op('add-service', '-A -f 7 -6').service, { kind: 'fwmark', mark: 7, family: 6 });
  assert.is(op('add-service', '-A -f 7 -6').settings.mask, 128);
  assert.is(complaint('-A -6 -f 7'), '-6 used before -f');
  for (const mark of ['0', '-1', '4294967296', '1x', '0x1'])
    assert.is(complaint(`-A -f ${mark}`), `invalid fwmark value \`${mark}' specified`);
});

test('the port of a server comes from a service before it, and always with tunnels and direct routing', () => {
  const port = (line: string): number => op('add-dest', line).dest.port;
  assert.is(port('-a -t 10.0.0.1:80 -r 10.0.0.2 -m'), 80);
  assert.is(port('-a -r 10.0.0.2 -t 10.0.0.1:80 -m'), 0);
  assert.is(port('-a -t 10.0.0.1:80 -r 10.0.0.2:8080 -i'), 80);
  assert.is(port('-a -f 1 -r 10.0.0.2:8080 -g'), 8080);
  assert.is(op('delete-dest', '-d -t 10.0.0.1:80 -r 10.0.0.2:8080').dest.port, 8080);
});

test('a mask is read for the family of the service before it', () => {
  assert.is(op('add-service', '-A -t [fd00::1]:80 -p -M 64').settings.mask, 64);
  assert.is(op('add-service', '-A -M 255.255.255.0 -t 10.0.0.1:80 -p').settings.mask, -256);
  assert.is(op('add-service', '-A -M 255.255.255.0 -t [fd00::1]:80 -p').settings.mask, 128);
});

test('weights are decimal, signed, with leading blanks; to 2147483647', () => {
  const weight = (text: string): number => {
    const result = parseCommand('x', ['-a', '-f', '1', '-r', '10.0.0.2:1', '-w', text], NO_NAMES);
    return result.kind === 'op' && result.op.op === 'add-dest' ? result.op.settings.weight : -1;
  };
  assert.equal(['+5', ' 5', '-0', '010', '2147483647'].map(weight), [5, 5, 0, 10, 2147483647]);
  assert.equal(['-1', '2147483648', '5 ', '0x5', '', '1.5'].map(weight), [-1, -1, -1, -1, -1, -1]);
});

test('tunnels: which options go with which type', () => {
  const server = '-a -t 10.0.0.1:80 -r 10.0.0.2';
  const { tunnel } = op('add-dest', `${server} -i --tun-type gue --tun-port 6080 --tun-csum`).settings;
  assert.equal(tunnel, { type: 'gue', port: 6080, checksum: 'csum' });
  assert.is(
    complaint(`${server} -i --tun-type gue`),
    "You need to supply the 'tun-port' option for the 'gue' tunnel type",
  );
  assert.is(complaint(`${server} -i --tun-csum`), "Illegal 'tun-csum' option with the 'ipip' tunnel type");
  assert.is(
    complaint(`${server} -i --tun-type gre --tun-csum --tun-nocsum`),
    "The option 'tun-csum' conflicts with the 'tun-nocsum' option in the 'gre' tunnel type",
  );
  assert.is(complaint(`${server} -m --tun-type gue`), 'Tunnel options conflict with forward method');
  assert.is(complaint(`${server} -i --tun-type vxlan`), 'illegal tunnel type specified');
});

test('--set takes three timeouts', () => {
  assert.equal(op('set-timeouts', '--set 100 0 30').timeouts, { tcp: 100, tcpfin: 0, udp: 30 });
  assert.is(complaint('--set 100 20'), '--set option requires 3 timeout values');
  assert.is(complaint('--set 100 20 30 40'), 'unexpected argument 40');
  assert.is(complaint('--set 100 20 2678401'), "invalid timeout value `2678401' specified");
  assert.is(complaint('--set 100 20 -30', 255), '-30: unknown option');
});

test('values in the same word, ends of options, and arguments nobody wants', () => {
  assert.is(op('add-service', '-At=10.0.0.1:80 --scheduler=rr').settings.scheduler, 'rr');
  assert.is(complaint('-L --stats=1', 255), '--stats=1: option does not take an argument');
  assert.is(complaint('-L -n=1', 255), '-n=1: option does not take an argument');
  assert.is(complaint('-L -- -n'), 'unexpected argument -n');
  assert.is(complaint('-L -'), 'unexpected argument -');
  assert.is(complaint('foo -L'), 'unexpected argument foo');
});

test('match services of DPVS', () => {
  const { service } = op(
    'add-service',
    '-A -H proto=tcp,src-range=192.168.0.1-10:80-100,dst-range=10.0.0.1:1024,iif=eth0',
  );
  assert.equal(service.kind === 'match' && service.match, {
    from: {
      low: { family: 4, words: [-1062731775] },
      high: { family: 4, words: [-1062731766] },
      lowPort: 80,
      highPort: 100,
    },
    to: {
      low: { family: 4, words: [167772161] },
      high: { family: 4, words: [167772161] },
      lowPort: 1024,
      highPort: 1024,
    },
    iif: 'eth0',
    oif: '',
  });
  assert.is(op('add-service', '-A -H proto=udp,af=ipv6,oif=eth1').service.kind, 'match');
  for (const text of ['proto=tcp', 'src-range=10.0.0.1', 'proto=tcp,src-range=x', 'proto=tcp,af=ipv4,color=red', 'x'])
    assert.is(complaint(`-A -H ${text}`), 'illegal match specified', text);
});

test('settings of a service that DPVS has', () => {
  const { settings } = op(
    'add-service',
    '-A -u 10.0.0.1:443 -s conhash --hash-target qid -j enable --conn-timeout 60 --proxy-protocol v2 --expire-quiescent --quic --dest-check 1,2,3s,5-60s --dest-check tcp --dest-check ping',
  );
  assert.is(settings.hashTarget, 'qid');
  assert.is(settings.synproxy, true);
  assert.is(settings.connTimeoutSec, 60);
  assert.is(settings.proxyProtocol, 'v2');
  assert.is(settings.expireQuiescent, true);
  assert.is(settings.quic, true);
  assert.equal(settings.destCheck?.active, ['tcp', 'ping']);
  assert.is(settings.destCheck?.passive?.inhibitMaxSec, 60);
  assert.is(op('add-service', '-A -t 10.0.0.1:80 -s conhash').settings.hashTarget, 'sip');
  assert.is(complaint('-A -t 10.0.0.1:80 --hash-target sip'), 'hash target can only be set when schedule is conhash');
  assert.is(complaint('-A -t 10.0.0.1:80 -s conhash --hash-target qid'), 'qid hash can only be set in udp service');
  assert.is(complaint('-A -t 10.0.0.1:80 -j on'), 'synproxy switch must be enable or disable');
  assert.is(complaint('-A -t 10.0.0.1:80 --dest-check 0,3s'), 'invalid dest_check config');
  assert.is(complaint('-A -t 10.0.0.1:80 --conn-timeout x', 255), 'x: invalid numeric value');
});

test('local addresses, deny and allow lists', () => {
  assert.equal(op('add-laddr', '-P -t 10.0.0.1:80 -z 10.0.1.5 -F tap0').local, {
    address: { family: 4, words: [167772421] },
    device: 'tap0',
  });
  assert.is(op('delete-laddr', '-Q -t 10.0.0.1:80 -z 10.0.1.5 -F tap0').op, 'delete-laddr');
  assert.is(
    complaint('-P -t 10.0.0.1:80 -z 10.0.1.5'),
    "You need to supply the 'ifname' option for the 'add-laddr' command",
  );
  assert.equal(op('add-subject', '-U -t 10.0.0.1:80 -k ipset:bad').subject, { kind: 'ipset', name: 'bad' });
  assert.is(op('delete-subject', '-Y -t 10.0.0.1:80 -2 10.9.9.9').list, 'allow');
  assert.is(complaint('-U -t 10.0.0.1:80 -k bad:x'), 'illegal blacklist entry format, require [ IP | ipset:NAME ]');
  assert.is(op('list-subjects', '-W').list, 'allow');
  assert.is(op('list-laddrs', '-G -t 10.0.0.1:80').service?.kind, 'address');
});

test('a socket pair of either family', () => {
  const pair = (text: string) => op('list-conns', `-L -c --sockpair ${text}`).pair;
  assert.is(pair('tcp:10.0.0.9:40000:10.0.0.1:80')?.source.port, 40000);
  assert.is(pair('udp:[fd00::9]:40000:[fd00::1]:53')?.target.address.family, 6);
  assert.match(complaint('-L -c --sockpair tcp:10.0.0.9:40000:10.0.0.1'), /^illegal sockpair/);
});

test('a multicast group must be one', () => {
  assert.is(op('start-daemon', '--start-daemon master --mcast-group ff02::81').daemon.group, 'ff02::81');
  assert.is(complaint('--start-daemon master --mcast-group fd00::1'), "invalid IPv6 mcast-group `fd00::1'");
  assert.is(complaint('--start-daemon master --mcast-group 224.1'), "invalid IPv4 mcast-group `224.1'");
});

test('any words give an operation, or a message and an exit status', () => {
  const options = optionsOf(null).flatMap(({ long, short }) =>
    short === '' ? [`--${long}`] : [`--${long}`, `-${short}`],
  );
  const values = [
    '10.0.0.1:80',
    '[fd00::1]:80',
    'rr',
    '1',
    '-1',
    '',
    '=',
    '--',
    '-',
    'proto=tcp,af=ipv4',
    '[',
    ':',
    'x',
  ];
  const words = fc.array(fc.oneof(fc.constantFrom(...options), fc.constantFrom(...values), fc.string()), {
    maxLength: 8,
  });
  fc.assert(
    fc.property(fc.constantFrom(...options), words, (first, rest) => {
      const result = parseCommand('ipvsadm', [first, ...rest], NO_NAMES);
      if (result.kind === 'op') return;
      assert.ok([0, 2, 255].includes(result.code));
      assert.is(result.code === 0, result.stderr === '');
      assert.not.match(result.stderr, /^no /);
    }),
    { numRuns: 3000 },
  );
});

test('every command and every option is in the help, every rule has a command', () => {
  const help = helpText('ipvsadm');
  const options = optionsOf(null);
  const missing = options.filter(({ long }) => !new RegExp(`--${long}\\b`).test(help)).map(({ long }) => long);
  assert.equal(missing, []);
  assert.equal(
    Object.keys(RULES).filter((name) => !isCommand(name)),
    [],
  );
});

test.run();

/**
 * ipvsadm against a running tsvs: the recorded command lines of test/golden/ipvsadm give the same tables, messages and exit codes as in
 * the table in memory, which is compared with the recordings there; the program `ipvsadm` itself; connections and their counts.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { basename, join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { SCHEDULERS } from '../../src/config/model.ts';
import { apply } from '../../src/ipvsadm/model.ts';
import type { Result, Target } from '../../src/ipvsadm/run.ts';
import { EMPTY_TABLE, type Snapshot, snapshotOf } from '../../src/ipvsadm/table.ts';
import { parseRecording } from '../golden/ipvsadm/recording.ts';
import { runLine } from '../golden/ipvsadm/shell.ts';
import { listFiles } from '../lib/files.ts';
import { add, GOLDEN, NAMES, scene } from '../lib/ipvs-lab.ts';
import { Net, SWITCH } from '../lib/netns.ts';

/** What a running tsvs does not have, and refuses: left out on both sides. */
const UNSUPPORTED: readonly RegExp[] = [
  /\[|[fF]d00|-6\b|v6/, // IPv6
  /--pe\b/,
  / -o\b|--ops/, // of TCP too, where it says nothing
  /--sctp-service/,
  /--(start|stop)-daemon/,
  /gue|gre/,
  /-b ?(sh|mh)?-?flag|flag-/,
  / -s none| -s ''/,
  /^ipvsadm -R|restore|\| ipvsadm/, // whole tables with all of the above
  /-w (6[6-9]|[7-9]\d|\d{3,})\d{3}/, // weights above 65535
  / 127\.0\.0\.|10\.0\.1\.1:|0\.0\.0\.0|255\.255/, // addresses of the director itself, and of nobody
];
/** Networks that this tsvs is not in. */
const ELSEWHERE = / -[Aa] -[tu] (?!10\.0\.1\.|www|a-v)/;

const SERVER_CASES = /^(01|02|06|08|10|14|16|20|22|26|28|34|46|6\d|7\d|8\d|9[068]|100|102)-/;

const RULES = { schedulers: new Set<string>(SCHEDULERS) };

/** Both tables empty, with the timeouts of the start. */
const RESET = ['ipvsadm -C', 'ipvsadm --set 900 120 300'];

scene('recorded command lines do to a running tsvs what they do to the table in memory', async (lab) => {
  let snapshot: Snapshot = snapshotOf(EMPTY_TABLE);
  const memory: Target = {
    snapshot: () => snapshot,
    apply: (mutation) => {
      const applied = apply(snapshot, mutation, RULES);
      if (applied.ok) snapshot = { ...snapshot, ...applied.table };
      return applied.ok ? null : applied.errno;
    },
  };
  let compared = 0;
  for (const file of listFiles(GOLDEN, '.txt').filter((path) => SERVER_CASES.test(basename(path)))) {
    const steps = parseRecording(readFileSync(file, 'utf8')).steps.map(({ command, input }) => ({ command, input }));
    const files = [new Map<string, string>(), new Map<string, string>()] as const;
    for (const { command, input } of [...RESET.map((one) => ({ command: one, input: '' })), ...steps]) {
      if (/^(nobody|elsewhere) /.test(command) || ELSEWHERE.test(command)) continue;
      if (UNSUPPORTED.some((pattern) => pattern.test(command))) continue;
      const ours = await lab.shell(command, input, files[0]);
      const model = await runLine(command, input, { target: memory, names: NAMES, program: 'ipvsadm' }, files[1]);
      const plain = ({ stdout, ...rest }: Result): object => ({
        ...rest,
        stdout: stdout.replace(/\(size=\d+\)/, '(size=4096)'),
      });
      assert.equal(plain(ours), plain(model), `${basename(file)}: ${command}`);
      compared++;
    }
  }
  assert.ok(compared > 350, `${compared}`);
});

scene('the program: what is added is served, listed, counted, saved and restored', async (lab) => {
  const { net } = lab;
  await Promise.all([1, 2, 3].map((i) => net.startRealServer(`rs${i}`, `rs-${i}`)));
  const done = async (...words: string[]): Promise<string> => {
    const { code, stdout, stderr } = await lab.ipvsadm(...words);
    assert.is(code, 0, stderr);
    return stdout;
  };
  const vip = '10.0.1.100:80';
  const script = [
    `-A -t ${vip} -s rr`,
    ...[1, 2, 3].map((i) => `-a -t ${vip} -r 10.0.1.2${i}:80 -b`),
    `--add-laddr -t ${vip} -z 10.0.1.50 -F lan`,
  ].join('\n');
  writeFileSync(join(lab.folder, 'rules'), `${script}\n`);
  const restored = await net.exec(SWITCH, [
    'sh',
    '-c',
    `TSVS_CONTROL=${net.socketPath()} ${process.execPath} dist/bin.js ipvsadm -R <${lab.folder}/rules`,
  ]);
  assert.equal([restored.code, restored.stderr], [0, '']);

  // The server added last is the first.
  const answers: string[] = [];
  for (let i = 0; i < 4; i++) {
    const { stdout, stderr } = await net.exec('client', ['curl', '-sS', '--max-time', '5', `http://${vip}/`]);
    assert.is(stderr, '');
    answers.push(stdout.trim());
  }
  assert.equal(answers, ['rs-3', 'rs-2', 'rs-1', 'rs-3']);
  assert.is(
    (await done('-Ln')).replace(/\(size=\d+\)/, ''),
    [
      'IP Virtual Server version 1.2.1 ',
      'Prot LocalAddress:Port Scheduler Flags',
      '  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn',
      'TCP  10.0.1.100:80 rr',
      '  -> 10.0.1.21:80                 FullNat 1      0          1         ',
      '  -> 10.0.1.22:80                 FullNat 1      0          1         ',
      '  -> 10.0.1.23:80                 FullNat 1      0          2         \n',
    ].join('\n'),
  );
  const conns = (await done('-Lnc')).trim().split('\n');
  assert.is(conns.length, 2 + 4);
  for (const line of conns.slice(2)) {
    assert.match(line, /^TCP 01:5\d {2}TIME_WAIT {3}10\.0\.1\.10:\d+ +10\.0\.1\.100:80 +10\.0\.1\.2[123]:80$/);
  }
  assert.match(await done('-Ln', '--stats'), /TCP {2}10\.0\.1\.100:80 +4 +\d\d +\d\d +\d{4} +\d{4}\n/);
  assert.match(await done('--get-laddr'), /^ +10\.0\.1\.50 +0 +4 +$/m);
  await done('-Z');
  assert.match(await done('-Ln', '--stats'), /TCP {2}10\.0\.1\.100:80 +0 +0 +0 +0 +0\n/);
  assert.is(
    await done('-S', '-n'),
    `-A -t ${vip} -s rr\n` +
      [1, 2, 3].map((i) => `-a -t ${vip} -r 10.0.1.2${i}:80 -b -w 1\n`).join('') +
      `-P -t ${vip} -z 10.0.1.50 -F tap0\n`,
  );

  const twice = await lab.ipvsadm('-A', '-t', vip);
  assert.equal([twice.code, twice.stderr], [255, 'Service already exists\n']);
  const outside = await lab.ipvsadm('-A', '-t', '10.99.0.1:80');
  assert.is(outside.code, 255);
  assert.match(outside.stderr, /10\.99\.0\.1 is outside the network 10\.0\.1\.0\/24/);
});

scene('SNAT as DPVS has it: a match, and the addresses of the pool for servers', async (lab) => {
  const { net } = lab;
  await net.startRealServer('client', 'world');
  for (const place of ['rs1', 'rs2'])
    await net.exec(place, ['ip', 'route', 'add', '10.0.1.10/32', 'via', '10.0.1.1', 'dev', 'eth0']);
  const id = '-H proto=any,src-range=10.0.1.21-10.0.1.22';
  const pool = ['10.0.1.51', '10.0.1.50'];
  const lines = [`-A ${id} -s rr`, ...pool.map((addr) => `-a ${id} -r ${addr}:0 -J -w 1`)];
  await lab.run(...lines);
  const seen: string[] = [];
  for (const place of ['rs1', 'rs2', 'rs1']) {
    const { stdout } = await net.exec(place, ['curl', '-sS', '--max-time', '5', 'http://10.0.1.10/from']);
    seen.push(stdout.replace(/:\d+\n$/, ''));
  }
  assert.equal(seen, ['world sees 10.0.1.50', 'world sees 10.0.1.51', 'world sees 10.0.1.50']);
  const ping = await net.exec('rs2', ['ping', '-c', '1', '-W', '2', '10.0.1.10']);
  assert.is(ping.code, 0, ping.stdout);
  const listed = (await lab.run('-Ln')).split('\n').slice(3, 6);
  assert.equal(listed, [
    'MATCH any,from=10.0.1.21-10.0.1.22:0-0 rr',
    '  -> 10.0.1.50:0                  SNAT    1      0          2         ',
    '  -> 10.0.1.51:0                  SNAT    1      0          2         ',
  ]);
  // Saved, flushed and restored it is the same.
  const saved = await lab.run('-S -n');
  await lab.run('-C');
  await lab.run(...saved.trim().split('\n'));
  assert.is(await lab.run('-S -n'), saved);
});

scene('config show: a file with everything that commands have made; read again, it changes nothing', async (lab) => {
  await lab.done(...'dpip addr add 192.168.0.1/24 dev tap0'.split(' '));
  await lab.done(...'dpip route add 172.16.0.0/12 via 192.168.0.254'.split(' '));
  const lines = [
    '-A -t 10.0.1.100:80 -s conhash --hash-target 5tuple -p 300 -M 255.255.255.0 --expire-quiescent',
    '-a -t 10.0.1.100:80 -r 10.0.1.21:8080 -m -w 3 -x 100 -y 50',
    '-a -t 10.0.1.100:80 -r 172.16.0.5:80 -i -w 2',
    '-A -t 10.0.1.100:443 -s mh -b mh-port,mh-fallback --conn-timeout 3600',
    '-a -t 10.0.1.100:443 -r 10.0.1.22:8443 -b -w 0',
    '-P -t 10.0.1.100:443 -z 10.0.1.60 -F lan',
    '-A -u 10.0.1.101:53 -s rr -o',
    '-a -u 10.0.1.101:53 -r 10.0.1.23:53 -g',
    '-A -u 10.0.1.101:54 -s config/samples/my-scheduler.ts',
    '-A -u 10.0.1.101:443 -s conhash --hash-target qid',
    '-A -t 10.0.1.102:0 -s wrr -p 60',
    '-a -t 10.0.1.102:0 -r 10.0.1.21:0 -m',
    '-A -q 10.0.1.102:0 -s sh -b sh-port',
    '-A -f 7 -s lblcr',
    '-a -f 7 -r 10.0.1.22:0 -m',
    '-A -H proto=any,src-range=192.168.0.11-192.168.0.13:0-0,oif=tap0 -s rr',
    '-a -H proto=any,src-range=192.168.0.11-192.168.0.13:0-0,oif=tap0 -r 10.0.1.61:0 -J -w 1',
    '--set 1000 0 77',
  ];
  await lab.run(...lines);
  await lab.done('server', 'tcp-10.0.1.100:80/10.0.1.21:8080', 'weight', '9');
  const shown = await lab.done('config', 'show');
  for (const line of [/^tcp_timeout = 1000s$/m, /^udp_timeout = 77s$/m, /:8080:9:/, /^conn_timeout = 1h$/m])
    assert.match(shown, line);
  const none = await lab.ipvsadm('-A', '-u', '10.0.1.101:55', '-s', 'config/samples/none.ts');
  assert.equal([none.code, /Could not resolve ".*\/config\/samples\/none\.ts"/.test(none.stderr)], [255, true]);
  const saved = await lab.run('-S -n');
  assert.match(saved, /^-A -u 10\.0\.1\.101:54 -s \/.*\/config\/samples\/my-scheduler\.ts$/m);
  await lab.run('-C', ...saved.trim().split('\n'));
  assert.is(await lab.run('-S -n'), saved);
  writeFileSync(join(lab.folder, 'lb.conf'), shown);
  await lab.done('reload');
  assert.match(await lab.done('reload'), /nothing|no change/i);
  assert.is(await lab.done('config', 'show'), shown);
  assert.is(await lab.run('-S -n'), saved);
  // As a file alone, without what was there before.
  await lab.run('-C');
  await lab.done('reload');
  assert.is(await lab.run('-S -n'), saved);
  assert.is(await lab.done('config', 'show'), shown);
});

scene('a connection goes on, whatever is changed around it', async (lab) => {
  const { net } = lab;
  await net.startRealServer('rs1', 'rs-1');
  const lines = [
    '-A -t 10.0.1.100:80 -s rr',
    '-a -t 10.0.1.100:80 -r 10.0.1.21:80 -b',
    '-P -t 10.0.1.100:80 -z 10.0.1.50 -F lan',
  ];
  await lab.run(...lines);
  const open =
    'exec 3<>/dev/tcp/10.0.1.100/80; printf "GET /first HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n" >&3; head -1 <&3;';
  const script = `${open} echo open; read -r _ <${lab.folder}/go; printf "GET /second HTTP/1.0\\r\\n\\r\\n" >&3; cat <&3`;
  await net.exec('client', ['mkfifo', `${lab.folder}/go`]);
  const client = net.start('client', ['bash', '-c', script]);
  await client.waitFor(/open/);
  await lab.run('-E -t 10.0.1.100:80 -s wlc', '-e -t 10.0.1.100:80 -r 10.0.1.21:80 -b -w 0', '-C', '--set 1000 0 0');
  assert.match((await lab.ipvsadm('-Lnc')).stdout, /ESTABLISHED 10\.0\.1\.10:\d+ +10\.0\.1\.100:80 +10\.0\.1\.21:80/);
  // A server that comes back takes its connections and its statistics back; a service begins anew.
  await lab.run(...lines.slice(0, 1), '-a -t 10.0.1.100:80 -r 10.0.1.22:80 -m', ...lines.slice(1, 2));
  assert.match(await lab.run('-Ln'), / -> 10\.0\.1\.21:80 +FullNat 1 +1 +0 /);
  assert.match(
    await lab.run('-Ln --stats'),
    /10\.0\.1\.100:80 +0 +0 +0 +0 +0\n +-> 10\.0\.1\.21:80 +1 +\d.*\n +-> 10\.0\.1\.22:80 +0 +0 +0 +0 +0\n/,
  );
  await lab.run('-C');
  await net.exec('client', ['bash', '-c', `echo go >${lab.folder}/go`]);
  assert.is(await client.ended, 0);
  assert.is(client.output.match(/HTTP\/1\.1 200/g)?.length, 2, client.output);
});

scene('conn: listed by filters, counted, and one ended', async (lab) => {
  const { net } = lab;
  await net.startRealServer('rs1', 'rs-1');
  await lab.run(
    '-A -t 10.0.1.100:80 -s rr',
    '-a -t 10.0.1.100:80 -r 10.0.1.21:80 -b',
    '-P -t 10.0.1.100:80 -z 10.0.1.50 -F tap0',
  );
  const client = net.start('client', ['bash', '-c', 'exec 3<>/dev/tcp/10.0.1.100/80; echo open; cat <&3; echo over']);
  await client.waitFor(/open/);
  assert.is(await lab.done('conn', 'count'), '1\n');
  assert.is(await lab.done('conn', 'count', 'state=time_wait'), '0 of 1\n');
  const list = await lab.done('conn', 'list', 'client=10.0.1.10', 'server=10.0.1.21:80');
  const [, from] =
    /^tcp +ESTABLISHED .*? (10\.0\.1\.10:\d+) +10\.0\.1\.100:80 +10\.0\.1\.21:80 +10\.0\.1\.50:\d+ +fnat/m.exec(list)!;
  await lab.done('conn', 'delete', `client=${from}`, 'vip=10.0.1.100:80');
  await client.waitFor(/over/);
  assert.is(await lab.done('conn', 'count'), '0\n');
  const again = await lab.program('dist/bin.js', 'conn', 'delete', `client=${from}`, 'vip=10.0.1.100:80');
  assert.is(again.code, 1);
  assert.match(again.stderr, /there is no such connection/);
});

add('the program without anybody to ask, and with -h', async () => {
  const net = new Net({ hosts: {} });
  try {
    const { code, stderr } = await net.exec(SWITCH, [
      ...['env', 'TSVS_CONTROL=/tmp/there/is/none.sock', process.execPath, 'dist/ipvsadm.js', '-Ln'],
    ]);
    assert.is(code, 2);
    assert.match(stderr, /^Can't initialize ipvs: no tsvs is running at \/tmp\/there\/is\/none\.sock/);
    const help = await net.exec(SWITCH, [process.execPath, 'dist/bin.js', 'ipvsadm', '--help']);
    assert.is(help.code, 0);
    assert.match(help.stdout, /ipvsadm/);
  } finally {
    net.remove();
  }
});

test.run();

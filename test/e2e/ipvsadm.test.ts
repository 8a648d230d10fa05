/**
 * ipvsadm against a running tsvs: the recorded command lines of test/golden/ipvsadm give the same tables, messages and exit codes as in
 * the table in memory, which is compared with the recordings there; the program `ipvsadm` itself; connections and their counts.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer, type Socket } from 'node:net';
import { tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { createInterface } from 'node:readline';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { RemoteTable } from '../../src/cli/ipvsadm.ts';
import { SCHEDULERS } from '../../src/config/model.ts';
import { apply } from '../../src/ipvsadm/model.ts';
import { namesFromFiles } from '../../src/ipvsadm/names.ts';
import type { Target } from '../../src/ipvsadm/run.ts';
import { EMPTY_TABLE, type Snapshot, snapshotOf } from '../../src/ipvsadm/table.ts';
import { parseRecording } from '../golden/ipvsadm/recording.ts';
import { runLine } from '../golden/ipvsadm/shell.ts';
import type { Round } from '../lib/chosen-client.ts';
import { listFiles } from '../lib/files.ts';
import { Net, type Result, type Running, SWITCH } from '../lib/netns.ts';
import { noCommands, noNamespaces, testUnless } from '../lib/privilege.ts';

const add = testUnless(noNamespaces() ?? noCommands('ip', 'curl'), test);

const GOLDEN = 'test/golden/ipvsadm';
const NAMES = namesFromFiles(readFileSync(`${GOLDEN}/hosts`, 'utf8'), readFileSync(`${GOLDEN}/services`, 'utf8'));

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

class Lab {
  readonly net: Net;
  readonly folder = mkdtempSync(join(tmpdir(), 'tsvs-ipvsadm-'));
  private readonly tsvs: Running;

  private constructor(net: Net, tsvs: Running, folder: string) {
    this.net = net;
    this.tsvs = tsvs;
    this.folder = folder;
  }

  /** A tsvs without any service, in the network of the recordings, with LVS's timeouts and counts. */
  static async start(): Promise<Lab> {
    const folder = mkdtempSync(join(tmpdir(), 'tsvs-ipvsadm-'));
    const net = new Net({
      hosts: {
        client: { address: '10.0.1.10/24' },
        ...Object.fromEntries([1, 2, 3].map((i) => [`rs${i}`, { address: `10.0.1.2${i}/24` }])),
      },
      taps: ['tap0'],
    });
    const conf = join(folder, 'lb.conf');
    writeFileSync(
      conf,
      `[global]
layer4 = on
timeout_profile = lvs
[link lan]
device = tap0
mac = 02:00:00:64:00:0a
[network]
netmask = 255.255.255.0
local_address = 10.0.1.1
gateway = 10.0.1.10
`,
    );
    return new Lab(net, await net.startTsvs(conf), folder);
  }

  /** The program, as an operator calls it. */
  async ipvsadm(...words: string[]): Promise<Result> {
    return this.program('dist/ipvsadm.js', ...words);
  }

  /** A command line without a process of its own, which must succeed. */
  async run(line: string): Promise<string> {
    const around = { target: new RemoteTable(this.net.socketPath()), names: NAMES, program: 'ipvsadm' };
    const { exitCode, stdout, stderr } = await runLine(`ipvsadm ${line}`, '', around, new Map());
    assert.equal([exitCode, stderr], [0, ''], line);
    return stdout;
  }

  program(file: string, ...words: string[]): Promise<Result> {
    const env = `TSVS_CONTROL=${this.net.socketPath()}`;
    return this.net.exec(SWITCH, ['env', env, process.execPath, file, ...words]);
  }

  async close(): Promise<void> {
    assert.is(await this.tsvs.stop(), 0, this.tsvs.output);
    await this.net.close();
  }

  remove(): void {
    this.net.remove();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

function scene(name: string, body: (lab: Lab) => Promise<void>): void {
  add(name, async () => {
    const lab = await Lab.start();
    try {
      await body(lab);
      await lab.close();
    } finally {
      lab.remove();
    }
  });
}

const RULES = { schedulers: new Set<string>(SCHEDULERS) };

/** Both tables empty, with the timeouts of the start. */
const RESET = ['ipvsadm -C', 'ipvsadm --set 900 120 300'];

scene('recorded command lines do to a running tsvs what they do to the table in memory', async (lab) => {
  const live = new RemoteTable(lab.net.socketPath());
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
      const [ours, model] = await Promise.all(
        [live, memory].map((target, i) =>
          runLine(command, input, { target, names: NAMES, program: 'ipvsadm' }, files[i]!),
        ),
      );
      const plain = ({ stdout, ...rest }: typeof ours & {}): object => ({
        ...rest,
        stdout: stdout.replace(/\(size=\d+\)/, '(size=4096)'),
      });
      assert.equal(plain(ours!), plain(model!), `${basename(file)}: ${command}`);
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

/** Recorded cases of which server each connection got: with the cases that show what a change of the table does to the turn. */
const CHOSEN = /^(46|6\d|7\d|8\d|9\d|100|102)-/;

interface Wanted extends Round {
  readonly names: readonly string[];
}
/** What a recorded case does, in order. */
type Turn = { readonly command: string; readonly listed: string } | { readonly round: Wanted };

const REFUSED = 'ECONNREFUSED';

/** One VIP for each case: connections of a server that was there before count. */
function turnsOf(text: string, vip: string): Turn[] {
  const turns: Turn[] = [];
  let closed = false;
  let from: string[] = [];
  let names: string[] = [];
  let port = 50_000;
  const add = (clients: readonly string[], answers: readonly string[], hold: boolean): void => {
    const fixed = answers.map((name) => (name === 'ConnectionRefusedError' ? REFUSED : name));
    turns.push({ round: { address: vip, port: 80, from: clients, hold, names: fixed } });
  };
  const one = (n: number): string[] => Array.from({ length: n }, () => `10.0.1.10:${port++}`);
  const row = (n: number, first: number): string[] =>
    Array.from({ length: n }, (_, i) => `10.0.1.${10 + i}:${first + i}`);
  const flush = (): void => {
    if (from.length > 0) add(from, names, true);
    [from, names] = [[], []];
  };
  for (const line of text.split('\n')) {
    const rest = line.slice(2);
    const [, client = '', server = ''] = /^# {3}(\S+) (\S+)$/.exec(line) ?? [];
    if (client !== '') {
      from.push(client);
      names.push(server);
      continue;
    }
    flush();
    const [, about = '', listed = ''] = /^# (.*?): ((?:(?:rs\d|ConnectionRefusedError) ?)+)$/.exec(line) ?? [];
    const answers = listed.trim().split(' ');
    if (line.startsWith('> ')) turns.push({ command: rest.replaceAll('10.0.1.100', vip), listed: '' });
    else if (line.startsWith('= ')) {
      const last = turns.at(-1) as Extract<Turn, { command: string }>;
      turns[turns.length - 1] = { ...last, listed: `${last.listed}${rest.replaceAll('10.0.1.100', vip)}\n` };
    } else if (about === 'order') add(one(answers.length), answers, !closed);
    else if (/^\d+ connections$/.test(about)) add(one(answers.length), answers, false);
    else if (about !== '') add(row(answers.length, (port += 100)), answers, true);
    else if (/^# .*TCP connections/.test(line)) closed = /closed/.test(line);
  }
  flush();
  return turns;
}

/** The program test/lib/chosen-client.ts at the client. */
class Chosen {
  private readonly lines: AsyncIterator<string>;
  private readonly socket: Socket;

  private constructor(socket: Socket) {
    this.socket = socket;
    this.lines = createInterface({ input: socket })[Symbol.asyncIterator]();
  }

  static async start(lab: Lab): Promise<Chosen> {
    const path = join(lab.folder, 'chosen.sock');
    const server = createServer();
    await new Promise<void>((done) => void server.listen(path, done));
    const called = new Promise<Socket>((done) => void server.once('connection', done));
    lab.net.start('client', [process.execPath, '--import', 'tsx', 'test/lib/chosen-client.ts', path]);
    const socket = await called;
    server.close();
    return new Chosen(socket);
  }

  /** Who answered; null: nobody is asked, and what was held is reset. */
  async play(round: Round | null): Promise<string[]> {
    this.socket.write(`${round === null ? '' : JSON.stringify(round)}\n`);
    const { value } = await this.lines.next();
    return JSON.parse(value as string) as string[];
  }

  close(): void {
    this.socket.destroy();
  }
}

scene(
  'which server each connection gets, as IPVS chose: every recorded scheduler, NAT and direct routing',
  async (lab) => {
    const { net } = lab;
    const address = ['dpip', 'addr', 'add', '192.168.0.1/24', 'dev', 'tap0'];
    assert.is((await lab.program('dist/bin.js', ...address)).code, 0);
    const vips = Array.from({ length: 40 }, (_, i) => `10.0.1.${100 + i}`);
    const at = async (place: string, ...commands: string[]): Promise<void> => {
      const { code, stderr } = await net.exec(place, ['sh', '-ec', commands.join('\n')]);
      assert.is(code, 0, stderr);
    };
    await at('client', ...Array.from({ length: 29 }, (_, i) => `ip addr add 10.0.1.${11 + i}/24 dev eth0`));
    for (const i of [1, 2, 3]) {
      // Answers of NAT go through tsvs, those of direct routing to the client.
      await at(
        `rs${i}`,
        'echo 1 >/proc/sys/net/ipv4/conf/all/arp_ignore',
        'echo 2 >/proc/sys/net/ipv4/conf/all/arp_announce',
        `ip addr add 192.168.0.1${i}/24 dev eth0`,
        `ip addr del 10.0.1.2${i}/24 dev eth0`,
        'ip route add 10.0.1.0/24 dev eth0',
        'ip rule add from 192.168.0.0/24 to 10.0.1.0/24 lookup 100',
        'ip route add 10.0.1.0/24 via 192.168.0.1 table 100',
        ...vips.map((vip) => `ip addr add ${vip}/32 dev lo`),
      );
      await net.startRealServer(`rs${i}`, `rs${i}`);
    }
    const around = { target: new RemoteTable(net.socketPath()), names: NAMES, program: 'ipvsadm' };
    const chosen = await Chosen.start(lab);
    /** Of the hashed cases no inactive connections: how many of those before were over by then was a matter of seconds. */
    const rows = (text: string, hashed: boolean): string =>
      text.replace(/\(size=\d+\)/, '').replace(hashed ? / \d+ +$/gm : /$^/, '');
    let compared = 0;
    const files = listFiles(GOLDEN, '.txt').filter((path) => CHOSEN.test(basename(path)));
    for (const [i, file] of files.entries()) {
      // `dh` goes by the VIP.
      const vip = file.includes('-dh-') ? vips[0]! : vips[i + 1]!;
      await chosen.play(null);
      await runLine('ipvsadm -C', '', around, new Map());
      for (const turn of turnsOf(readFileSync(file, 'utf8'), vip)) {
        if ('round' in turn) {
          const { names, ...round } = turn.round;
          assert.equal(await chosen.play(round), names, basename(file));
          compared += names.length;
        } else {
          if (turn.command === 'ipvsadm -C') await chosen.play(null);
          const { exitCode, stdout } = await runLine(turn.command, '', around, new Map());
          assert.is(exitCode, 0, turn.command);
          const hashed = /-(sh|dh|mh)-/.test(file);
          if (turn.command === 'ipvsadm -Ln')
            assert.is(rows(stdout, hashed), rows(turn.listed, hashed), basename(file));
        }
      }
    }
    chosen.close();
    assert.ok(files.length === 23 && compared > 1500, `${files.length} ${compared}`);
  },
);

scene('SNAT as DPVS has it: a match, and the addresses of the pool for servers', async (lab) => {
  const { net } = lab;
  await net.startRealServer('client', 'world');
  for (const place of ['rs1', 'rs2'])
    await net.exec(place, ['ip', 'route', 'add', '10.0.1.10/32', 'via', '10.0.1.1', 'dev', 'eth0']);
  const id = '-H proto=any,src-range=10.0.1.21-10.0.1.22';
  const pool = ['10.0.1.51', '10.0.1.50'];
  const lines = [`-A ${id} -s rr`, ...pool.map((addr) => `-a ${id} -r ${addr}:0 -J -w 1`)];
  const run = (line: string): Promise<string> => lab.run(line);
  for (const line of lines) await run(line);
  const seen: string[] = [];
  for (const place of ['rs1', 'rs2', 'rs1']) {
    const { stdout } = await net.exec(place, ['curl', '-sS', '--max-time', '5', 'http://10.0.1.10/from']);
    seen.push(stdout.replace(/:\d+\n$/, ''));
  }
  assert.equal(seen, ['world sees 10.0.1.50', 'world sees 10.0.1.51', 'world sees 10.0.1.50']);
  const ping = await net.exec('rs2', ['ping', '-c', '1', '-W', '2', '10.0.1.10']);
  assert.is(ping.code, 0, ping.stdout);
  const listed = (await run('-Ln')).split('\n').slice(3, 6);
  assert.equal(listed, [
    'MATCH any,from=10.0.1.21-10.0.1.22:0-0 rr',
    '  -> 10.0.1.50:0                  SNAT    1      0          2         ',
    '  -> 10.0.1.51:0                  SNAT    1      0          2         ',
  ]);
  // Saved, flushed and restored it is the same.
  const saved = await run('-S -n');
  await run('-C');
  for (const line of saved.trim().split('\n')) await run(line);
  assert.is(await run('-S -n'), saved);
});

scene('config show: a file with everything that commands have made; read again, it changes nothing', async (lab) => {
  const tsvs = async (...words: string[]): Promise<string> => {
    const { code, stdout, stderr } = await lab.program('dist/bin.js', ...words);
    assert.equal([code, stderr], [0, ''], words.join(' '));
    return stdout;
  };
  await tsvs(...'dpip addr add 192.168.0.1/24 dev tap0'.split(' '));
  await tsvs(...'dpip route add 172.16.0.0/12 via 192.168.0.254'.split(' '));
  const lines = [
    '-A -t 10.0.1.100:80 -s conhash --hash-target 5tuple -p 300 -M 255.255.255.0 --expire-quiescent',
    '-a -t 10.0.1.100:80 -r 10.0.1.21:8080 -m -w 3 -x 100 -y 50',
    '-a -t 10.0.1.100:80 -r 172.16.0.5:80 -i -w 2',
    '-A -t 10.0.1.100:443 -s mh -b mh-port,mh-fallback --conn-timeout 3600',
    '-a -t 10.0.1.100:443 -r 10.0.1.22:8443 -b -w 0',
    '-P -t 10.0.1.100:443 -z 10.0.1.60 -F lan',
    '-A -u 10.0.1.101:53 -s rr -o',
    '-a -u 10.0.1.101:53 -r 10.0.1.23:53 -g',
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
  const run = (line: string): Promise<string> => lab.run(line);
  for (const line of lines) await run(line);
  await tsvs('server', 'tcp-10.0.1.100:80/10.0.1.21:8080', 'weight', '9');
  const shown = await tsvs('config', 'show');
  for (const line of [/^tcp_timeout = 1000s$/m, /^udp_timeout = 77s$/m, /:8080:9:/, /^conn_timeout = 1h$/m])
    assert.match(shown, line);
  const saved = await run('-S -n');
  writeFileSync(join(lab.folder, 'lb.conf'), shown);
  assert.match(await tsvs('reload'), /nothing|no change/i);
  assert.is(await tsvs('config', 'show'), shown);
  assert.is(await run('-S -n'), saved);
  // As a file alone, without what was there before.
  await run('-C');
  await tsvs('reload');
  assert.is(await run('-S -n'), saved);
  assert.is(await tsvs('config', 'show'), shown);
});

scene('a connection goes on, whatever is changed around it', async (lab) => {
  const { net } = lab;
  await net.startRealServer('rs1', 'rs-1');
  const lines = [
    '-A -t 10.0.1.100:80 -s rr',
    '-a -t 10.0.1.100:80 -r 10.0.1.21:80 -b',
    '-P -t 10.0.1.100:80 -z 10.0.1.50 -F lan',
  ];
  for (const line of lines) assert.is((await lab.ipvsadm(...line.split(' '))).code, 0, line);
  const open =
    'exec 3<>/dev/tcp/10.0.1.100/80; printf "GET /first HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n" >&3; head -1 <&3;';
  const script = `${open} echo open; read -r _ <${lab.folder}/go; printf "GET /second HTTP/1.0\\r\\n\\r\\n" >&3; cat <&3`;
  await net.exec('client', ['mkfifo', `${lab.folder}/go`]);
  const client = net.start('client', ['bash', '-c', script]);
  await client.waitFor(/open/);
  for (const line of [
    '-E -t 10.0.1.100:80 -s wlc',
    '-e -t 10.0.1.100:80 -r 10.0.1.21:80 -b -w 0',
    '-C',
    '--set 1000 0 0',
  ]) {
    assert.is((await lab.ipvsadm(...line.split(' '))).code, 0, line);
  }
  assert.match((await lab.ipvsadm('-Lnc')).stdout, /ESTABLISHED 10\.0\.1\.10:\d+ +10\.0\.1\.100:80 +10\.0\.1\.21:80/);
  await net.exec('client', ['bash', '-c', `echo go >${lab.folder}/go`]);
  assert.is(await client.ended, 0);
  assert.is(client.output.match(/HTTP\/1\.1 200/g)?.length, 2, client.output);
});

scene('dpip: addresses, routes and neighbours while it runs; servers of another network', async (lab) => {
  const { net } = lab;
  const dpip = async (...words: string[]): Promise<Result> => lab.program('dist/bin.js', 'dpip', ...words);
  const done = async (line: string): Promise<string> => {
    const { code, stdout, stderr } = await dpip(...line.split(' '));
    assert.equal([code, stderr], [0, ''], line);
    return stdout;
  };
  await net.exec('rs1', ['ip', 'addr', 'add', '192.168.0.11/24', 'dev', 'eth0']);
  await net.exec('rs1', ['ip', 'route', 'add', '10.0.1.10/32', 'via', '192.168.0.1']);
  await net.startRealServer('rs1', 'rs-1');
  await done('addr add 192.168.0.1/24 dev tap0');
  assert.match(await done('addr show'), /^inet 192\.168\.0\.1\/24 scope global tap0\n {5}valid_lft forever/m);
  assert.match(
    await done('route show'),
    /^inet 192\.168\.0\.0\/24 via 0\.0\.0\.0 src 0\.0\.0\.0 dev tap0 mtu 1500 tos 0 scope link metric 0 proto auto onlink $/m,
  );
  for (const line of ['-A -t 10.0.1.100:80 -s rr', '-a -t 10.0.1.100:80 -r 192.168.0.11:80 -m']) {
    assert.is((await lab.ipvsadm(...line.split(' '))).code, 0, line);
  }
  const { stdout } = await net.exec('client', ['curl', '-sS', '--max-time', '5', 'http://10.0.1.100/']);
  assert.is(stdout.trim(), 'rs-1');
  assert.match(
    await done('neigh show'),
    /^ip: 192\.168\.0\.11 +mac: ..:..:..:..:..:.. +state: REACHABLE +dev: tap0 {2}core: 0 {2}$/m,
  );

  await done('route add 172.16.0.0/12 via 192.168.0.254');
  assert.match(
    await done('route show'),
    /^inet 172\.16\.0\.0\/12 via 192\.168\.0\.254 .* scope global metric 0 proto static $/m,
  );
  await done('neigh add 192.168.0.254 lladdr 02:00:00:00:00:fe dev tap0');
  assert.match(await done('neigh show'), /^ip: 192\.168\.0\.254 +mac: 02:00:00:00:00:fe .* static$/m);
  await done('neigh del 192.168.0.254 dev tap0');
  assert.match(
    await done('-s link show'),
    /^1: tap0: socket 0 mtu 1500 .*\n {4}UP \n {4}addr 02:00:00:64:00:0A .*\n {4}ipackets .*\n {4}\d+ +\d+ +\d+/,
  );

  const inUse = await dpip('addr', 'del', '10.0.1.100', 'dev', 'tap0');
  assert.is(inUse.code, 1);
  assert.match(inUse.stderr, /10\.0\.1\.100 is a virtual address: it goes with its service/);
  const needed = await dpip('addr', 'del', '192.168.0.1/24', 'dev', 'tap0');
  assert.match(needed.stderr, /192\.168\.0\.254|192\.168\.0\.11/);
  await done('route set 172.16.0.0/12 via 192.168.0.253');
  assert.match(await done('route show'), /^inet 172\.16\.0\.0\/12 via 192\.168\.0\.253 /m);
  await done('route del 172.16.0.0/12');
  for (const line of ['route add 172.17.0.0/16 via 192.168.0.254', 'route set 172.18.0.0/16 via 192.168.0.254'])
    await done(line);
  await done('route flush dev tap0');
  assert.not.match(await done('route show'), /proto static/);
  await done('addr add 10.77.0.1/24 dev tap0');
  const stillNeeded = await dpip('addr', 'flush', 'dev', 'tap0');
  assert.match(stillNeeded.stderr, /192\.168\.0\.11/);
  assert.match(await done('addr show'), /10\.77\.0\.1\/24/, 'nothing of it has been done');
  await done('addr del 10.77.0.1/24 dev tap0');
  const shown = (await lab.program('dist/bin.js', 'config', 'show')).stdout;
  assert.match(shown, /^address = 192\.168\.0\.1\/24$/m);
  assert.not.match(shown, /172\.16/);
});

scene('conn: listed by filters, counted, and one ended', async (lab) => {
  const { net } = lab;
  await net.startRealServer('rs1', 'rs-1');
  for (const line of [
    '-A -t 10.0.1.100:80 -s rr',
    '-a -t 10.0.1.100:80 -r 10.0.1.21:80 -b',
    '-P -t 10.0.1.100:80 -z 10.0.1.50 -F tap0',
  ]) {
    assert.is((await lab.ipvsadm(...line.split(' '))).code, 0, line);
  }
  const client = net.start('client', ['bash', '-c', 'exec 3<>/dev/tcp/10.0.1.100/80; echo open; cat <&3; echo over']);
  await client.waitFor(/open/);
  const conn = async (...words: string[]): Promise<string> => {
    const { code, stdout, stderr } = await lab.program('dist/bin.js', 'conn', ...words);
    assert.equal([code, stderr], [0, ''], words.join(' '));
    return stdout;
  };
  assert.is(await conn('count'), '1\n');
  assert.is(await conn('count', 'state=time_wait'), '0 of 1\n');
  const list = await conn('list', 'client=10.0.1.10', 'server=10.0.1.21:80');
  const [, from] =
    /^tcp +ESTABLISHED .*? (10\.0\.1\.10:\d+) +10\.0\.1\.100:80 +10\.0\.1\.21:80 +10\.0\.1\.50:\d+ +fnat/m.exec(list)!;
  await conn('delete', `client=${from}`, 'vip=10.0.1.100:80');
  await client.waitFor(/over/);
  assert.is(await conn('count'), '0\n');
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

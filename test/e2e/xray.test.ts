/** `tsvs why` and `tsvs capture` against a running tsvs: FullNAT beside the proxy, with the kernel's own TCP at both ends. */
import { existsSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { PATHS, type StatsReply } from '../../src/control/api.ts';
import { ask, send } from '../../src/control/client.ts';
import { Net, poll, type Result, type Running } from '../lib/netns.ts';
import { noCommands, noNamespaces, testUnless } from '../lib/privilege.ts';

const add = testUnless(noNamespaces() ?? noCommands('ip', 'bash', 'curl', 'tshark'), test);

const VIP = '10.9.0.10';
const CLIENT = '10.9.0.1';

const service = (name: string, port: number, lines: readonly string[]): string => `[service ${name}]
ip = ${VIP}
ports = ${port}
scheduler = rr
${lines.join('\n')}
count = 2
server1 = 10.9.0.11:80:1:00:00:00:00:00:00
server2 = 10.9.0.12:80:1:00:00:00:00:00:00
`;

const CONFIG = `[link lan]
kind = tap
device = tap0
mac = 02:00:00:64:00:0a
[network]
netmask = 255.255.255.0
local_address = 10.9.0.2
${service('fast', 81, ['mode = fnat', 'local_address = 10.9.0.20'])}
${service('web', 80, ['mode = proxy'])}
`;

/** Client, two servers and a tsvs that all tests share. */
class Lab {
  readonly net = new Net({
    hosts: {
      client: { address: `${CLIENT}/24` },
      rs1: { address: '10.9.0.11/24' },
      rs2: { address: '10.9.0.12/24' },
    },
    taps: ['tap0'],
  });
  readonly folder = mkdtempSync(join(tmpdir(), 'tsvs-xray-'));
  private tsvs: Running | null = null;

  async start(): Promise<void> {
    const config = join(this.folder, 'lb.conf');
    writeFileSync(config, CONFIG);
    await Promise.all([1, 2].map((i) => this.net.startRealServer(`rs${i}`, `rs-${i}`, 80)));
    this.tsvs = await this.net.startTsvs(config);
  }

  /** A command of tsvs. */
  tsvsSays(...words: string[]): Promise<Result> {
    return this.net.exec('client', ['node', 'dist/bin.js', ...words, '--control', this.net.socketPath()]);
  }

  async curl(port: number, ...words: string[]): Promise<string> {
    const url = `http://${VIP}:${port}/`;
    const { code, stdout, stderr } = await this.net.exec('client', ['curl', '-sS', '--max-time', '9', ...words, url]);
    assert.is(code, 0, stderr);
    return stdout.trim();
  }

  async stop(): Promise<void> {
    if (this.tsvs !== null) assert.is(await this.tsvs.stop(), 0, this.tsvs.output);
    this.tsvs = null;
  }

  remove(): void {
    this.net.remove();
    rmSync(this.folder, { recursive: true, force: true });
  }
}

let lab: Lab | null = null;

function scene(name: string, body: (lab: Lab) => Promise<void>): void {
  add(name, async () => {
    if (lab === null) {
      lab = new Lab();
      await lab.start();
    }
    await body(lab);
  });
}

test.after(async () => {
  try {
    await lab?.stop();
    await lab?.net.close();
  } finally {
    lab?.remove();
  }
});

scene('why: which server comes next, as often as one asks; then it comes', async (lab) => {
  for (let i = 0; i < 2; i++) await lab.curl(81);
  const opened = async (): Promise<number> =>
    (await ask<StatsReply>(lab.net.socketPath(), PATHS.stats)).counters['l4.opened']!;
  const before = await opened();
  const said = new Set<string>();
  for (let i = 0; i < 3; i++) {
    const { code, stdout, stderr } = await lab.tsvsSays('why', `${CLIENT}:45678`, `${VIP}:81`);
    assert.is(code, 0, stderr);
    said.add(stdout);
  }
  assert.is(said.size, 1, [...said].join('\n'));
  const [text] = [...said] as [string];
  assert.match(text, /^tcp 10\.9\.0\.1:45678 > 10\.9\.0\.10:81: SYN, 40 bytes, comes in on tap0\n/);
  assert.match(text, /fast, found by address and port, fnat/);
  assert.match(text, /10\.9\.0\.20, port by chance/);
  assert.match(text, /it would be sent on tap0$/m);
  assert.is(await opened(), before, 'nothing was opened');
  const server = /rr chooses server(\d)/.exec(text)![1];
  assert.is(await lab.curl(81, '--local-port', '45678'), `rs-${server}`);
  const known = await lab.tsvsSays('why', `${CLIENT}:45678`, `${VIP}:81`, '--json');
  const { steps } = JSON.parse(known.stdout) as { steps: { at: string; server?: string; packetsIn?: number }[] };
  assert.is(steps[0]!.server, `server${server}`);
  assert.ok(steps[0]!.packetsIn! >= 4, known.stdout);
});

scene('why: layer 7, nobody, and drops with their sentence', async (lab) => {
  const web = await lab.tsvsSays('why', `${CLIENT}:45679`, `${VIP}:80`);
  assert.match(web.stdout, /web, found by its listener \(layer 7\)/);
  assert.match(web.stdout, /it would be accepted, and proxied$/m);
  assert.is(await lab.curl(80), `rs-${/rr chooses server(\d)/.exec(web.stdout)![1]}`);
  const none = await lab.tsvsSays('why', `${CLIENT}:45679`, `${VIP}:82`);
  assert.match(none.stdout, /dropped: tcp_no_socket; its sender gets a reset\n {2}\S/);
  const ping = await lab.tsvsSays('why', CLIENT, VIP, 'icmp');
  assert.match(ping.stdout, /tsvs would answer it$/m);
  const wrong = await lab.tsvsSays('why', CLIENT, `${VIP}:80`);
  assert.equal(
    [wrong.code, wrong.stderr],
    [1, `tsvs: '${CLIENT}' is no address with a port: write it as in 10.0.0.7:40000\n`],
  );
});

/** What tshark reads of a capture: for each frame the fields that are asked for. */
async function tshark(lab: Lab, file: string, ...fields: string[]): Promise<string[][]> {
  const words = ['tshark', '-r', file, '-T', 'fields', ...fields.flatMap((field) => ['-e', field])];
  const { code, stdout, stderr } = await lab.net.exec('client', words);
  assert.is(code, 0, stderr);
  return stdout
    .split('\n')
    .filter((line) => line !== '')
    .map((line) => line.split('\t'));
}

/** Whether a capture has been installed in the worker yet is not to be seen from outside: its file has a head by then. */
async function begun(file: string): Promise<void> {
  await poll(`a capture in ${file}`, 5000, () => existsSync(file) && statSync(file).size > 0);
}

scene('capture: a connection through the rewrite, every frame with what became of it', async (lab) => {
  const file = join(lab.folder, 'flow.pcapng');
  const filter = `tcp and host ${CLIENT} and port 81`;
  const taking = lab.tsvsSays('capture', '--filter', filter, file);
  await begun(file);
  await lab.curl(81);
  await send(lab.net.socketPath(), 'DELETE', PATHS.capture);
  const { code, stderr } = await taking;
  assert.is(code, 0, stderr);
  assert.match(stderr, /^\d+ frames captured: on demand\n$/);
  const frames = await tshark(lab, file, 'ip.src', 'ip.dst', 'tcp.flags.syn', 'frame.comment');
  assert.is(frames.length, Number(/\d+/.exec(stderr)![0]));
  const syns = frames
    .filter(([, , syn]) => syn === 'True' || syn === '1')
    .map(([src, dst, , comment]) => [src, dst, comment!]);
  assert.equal(syns.map(([src]) => src).slice(0, 2), [CLIENT, '10.9.0.20'], 'before and after');
  assert.is(syns[0]![2], 'rx');
  assert.match(syns[1]![2]!, /^tx; fast\/server\d, fnat, to the server, SYN_RECV$/);
  for (const [, , , comment] of frames.slice(1))
    assert.match(comment!, /^(rx|tx); fast\/server\d, fnat, to the (server|client), \w+$/);
  const rx = frames.filter(([, , , comment]) => comment!.startsWith('rx')).length;
  assert.is(rx * 2, frames.length, 'each that came left');
  assert.match((await lab.net.exec('client', ['capinfos', file])).stdout, /Number of stat entries = 1\n/);
});

scene('capture: drops to a pipe, until as many as wanted have come; one at a time', async (lab) => {
  const control = `--control ${lab.net.socketPath()}`;
  const file = join(lab.folder, 'piped.pcapng');
  const taking = lab.net.exec('client', [
    'sh',
    '-c',
    `node dist/bin.js capture --stage drop --count 2 --filter 'port 82' ${control} - >${file}`,
  ]);
  await begun(file);
  const second = await lab.tsvsSays('capture', '--count', '1', join(lab.folder, 'second.pcapng'));
  assert.equal([second.code, second.stderr], [1, 'tsvs: a capture is running already: end it, or wait for it\n']);
  for (let i = 0; i < 2; i++) await lab.net.exec('client', ['curl', '-sS', `http://${VIP}:82/`]);
  const { code, stderr } = await taking;
  assert.equal([code, stderr], [0, '2 frames captured: all that were wanted have come\n']);
  assert.equal(await tshark(lab, file, 'frame.comment'), [['drop tcp_no_socket'], ['drop tcp_no_socket']]);
});

scene('capture: a full disk, a reader that goes and wrong words end it with a message, never tsvs', async (lab) => {
  const load = async (): Promise<void> => void (await lab.curl(81));
  const full = lab.tsvsSays('capture', '--stage', 'rx', '--seconds', '8', '/dev/full');
  const { code, stderr } = await full;
  assert.is(code, 3);
  assert.match(stderr, /^tsvs: \/dev\/full: the capture ends: it cannot be written any more \(ENOSPC\)\n$/);
  const control = `--control ${lab.net.socketPath()}`;
  const gone = lab.net.exec('client', [
    'bash',
    '-c',
    `node dist/bin.js capture --stage rx --seconds 8 ${control} - | head -c 60 >/dev/null; exit \${PIPESTATUS[0]}`,
  ]);
  const loads: Promise<void>[] = [];
  const busy = setInterval(() => loads.push(load()), 100);
  const ended = await gone;
  clearInterval(busy);
  await Promise.all(loads);
  assert.equal([ended.code, ended.stderr], [3, 'tsvs: standard output: the capture ends: its reader has gone\n']);
  const wrong = await lab.tsvsSays('capture', '--filter', 'port x', '-');
  assert.equal(
    [wrong.code, wrong.stderr],
    [1, "tsvs: 'x' is no port: write 80 or 8000-8010: as in 'host 10.0.0.7 and tcp port 80'\n"],
  );
  await load();
  // Nobody looks any more: what can be cut short is, and another capture can begin.
  const file = join(lab.folder, 'after.pcapng');
  const after = lab.tsvsSays('capture', '--stage', 'rx', '--count', '1', file);
  await begun(file);
  await load();
  assert.is((await after).code, 0);
  const none = await lab.tsvsSays('capture', '--filter', 'host 192.0.2.1', '--seconds', '0.2', file);
  assert.equal([none.code, none.stderr], [0, '0 frames captured: its time was over\n']);
});

scene('why: after the last server is drained it says so', async (lab) => {
  for (const server of ['server1', 'server2'])
    assert.is((await lab.tsvsSays('server', `fast/${server}`, 'drain')).code, 0);
  const { stdout } = await lab.tsvsSays('why', `${CLIENT}:45680`, `${VIP}:81`);
  assert.match(stdout, /rr has no server to give/);
  assert.is(stdout.match(/ drain$/gm)?.length, 2, stdout);
  assert.match(stdout, /dropped: lb_no_server; its sender is told by ICMP/);
  for (const server of ['server1', 'server2'])
    assert.is((await lab.tsvsSays('server', `fast/${server}`, 'ready')).code, 0);
});

scene('capture: when tsvs ends, it is said, and what came is in the file', async (lab) => {
  const file = join(lab.folder, 'cut.pcapng');
  const taking = lab.tsvsSays('capture', '--stage', 'rx', file);
  await begun(file);
  await lab.curl(81);
  await poll('frames in it', 5000, () => statSync(file).size > 500);
  await lab.stop();
  const { code, stderr } = await taking;
  assert.equal([code, stderr], [4, `tsvs: ${file}: the capture broke off: tsvs has gone\n`]);
});

test.run();

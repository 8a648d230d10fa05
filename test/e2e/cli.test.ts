/**
 * The command line, as people and service managers meet it: what is typed wrongly, what a running tsvs shows, how it
 * ends, and the exit code of each. The program is the built one, in a network of its own.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { DropsReply, SessionsReply, StatsReply } from '../../src/control/api.ts';
import type { NeighReply } from '../../src/control/api-network.ts';
import { Net, type Running, SWITCH } from '../lib/netns.ts';
import { noCommands, noNamespaces, testUnless } from '../lib/privilege.ts';

const inNetwork = testUnless(noNamespaces() ?? noCommands('ip', 'ping', 'curl'), test);
const folder = mkdtempSync(join(tmpdir(), 'tsvs-cli-'));

interface Ran {
  code: number | null;
  stdout: string;
  stderr: string;
}

function run(program: 'bin' | 'l4lb', ...args: string[]): Ran {
  const { status, stdout, stderr } = spawnSync(process.execPath, [`dist/${program}.js`, ...args], {
    encoding: 'utf8',
    timeout: 20_000,
  });
  return { code: status, stdout, stderr };
}

const tsvs = (...args: string[]): Ran => run('bin', ...args);

/** Fails unless the command ends with `code` and one line on standard error. */
function assertRefused({ code, stdout, stderr }: Ran, expected: number, line: RegExp): void {
  assert.is(stderr.trimEnd().split('\n').length, 1, stderr);
  assert.match(stderr, line);
  assert.is(code, expected, stderr);
  assert.is(stdout, '');
}

function file(name: string, text: string): string {
  const path = join(folder, name);
  writeFileSync(path, text);
  return path;
}

const conf = (drain = '10s'): string => `
[global]
mode = proxy
drain_timeout = ${drain}
[vip]
ip = 10.9.0.10
ports = 80
mac = 02:00:00:00:09:0a
[realserver]
count = 2
server1 = 10.9.0.11:80:1:00:00:00:00:00:00
server2 = 10.9.0.11:81:1:00:00:00:00:00:00
[network]
netmask = 255.255.255.0
`;

// Without a network

test('what is typed wrongly costs one line and exit code 1', () => {
  assertRefused(tsvs('stat'), 1, /^tsvs: unknown command 'stat' \(Did you mean stats\?\)$/m);
  assertRefused(tsvs('run', '--confg', 'x'), 1, /unknown option '--confg' \(Did you mean --config\?\)/);
  assertRefused(tsvs('run'), 1, /'--config <file>' is missing/);
  assertRefused(tsvs('stats', 'all'), 1, /too many arguments/);
  assertRefused(tsvs('run', '--config', 'config/lb.conf', '--log', 'xml'), 1, /Allowed choices are pretty, json/);
  assertRefused(tsvs('run', '--config', 'config/lb.conf', '--link', 'tpa:x'), 1, /--link tpa:x: .*did you mean 'tap'/);
  assertRefused(run('l4lb', '-c', 'x'), 1, /^l4lb: .*'--lb-config <file>' is missing/);
});

test('help has examples and the exit codes, and is no error', () => {
  const { code, stdout, stderr } = tsvs('--help');
  assert.is(code, 0);
  assert.is(stderr, '');
  for (const text of ['Examples:', 'tsvs run --config', 'Exit codes:', '  5  no tsvs is running there']) {
    assert.match(stdout, text);
  }
  assert.is(tsvs('--version').stdout, `${JSON.parse(readFileSync('package.json', 'utf8')).version}\n`);
});

test('check: a good configuration is summed up', () => {
  const { code, stdout } = tsvs('check', '--config', 'config/lb.conf');
  assert.is(code, 0);
  assert.match(stdout, 'config/lb.conf is good: 2 services on tap:tap0');
  assert.match(stdout, /^vip:8080 +192\.168\.100\.10:8080 +conhash by 5tuple +server1 +192\.168\.100\.11:80 +1$/m);
});

test('check: a scheduler from a file that is no good is an error', () => {
  file('mine.ts', 'export default { name: 1 }');
  const two = readFileSync('config/samples/proxy-two-services.conf', 'utf8');
  const named = file('mine.conf', two.replace('scheduler = rr', 'scheduler = ./mine.ts'));
  const { code, stderr, stdout } = tsvs('check', '--config', named);
  assert.equal([code, stdout], [2, '']);
  assert.match(stderr, /^scheduler .*mine\.ts: it exports no scheduler/);
});

test('a bad configuration: check and run list every mistake and exit with 2', () => {
  const bad = file('bad.conf', conf().replace('ports = 80', 'prots = 80').replace('10.9.0.11:81', '10.9.0.300:81'));
  const checked = tsvs('check', '--config', bad);
  assert.is(checked.code, 2);
  assert.is(checked.stdout, '');
  for (const text of ["unknown key; did you mean 'ports'?", '10.9.0.300', /^\d errors$/m]) {
    assert.match(checked.stderr, text);
  }
  assert.match(checked.stderr, /bad\.conf:7: \[vip\] prots: /);
  assert.equal(tsvs('run', '--config', bad), checked);
  assert.is(tsvs('check', '--config', join(folder, 'none.conf')).code, 2);
});

test('nobody to ask: exit code 5', () => {
  const path = join(folder, 'none.sock');
  for (const command of ['stats', 'sessions', 'drops', 'neigh']) {
    assertRefused(tsvs(command, '--control', path), 5, /no tsvs is running at .*none\.sock: start it with 'tsvs run/);
  }
});

test('a reader that has seen enough is no error', () => {
  const pipe = 'set -o pipefail; for i in 1 2 3; do "$0" dist/bin.js --help || exit; done | true';
  assert.is(spawnSync('bash', ['-c', pipe, process.execPath], { encoding: 'utf8' }).stderr, '');
});

test('what the system refuses: exit code 3, and nothing is left', () => {
  const path = join(folder, 'three.sock');
  const start = (...args: string[]): Ran => tsvs('run', '--config', 'config/lb.conf', '--control', path, ...args);
  assertRefused(start('--capture', join(folder, 'none', 'x.pcapng')), 3, /--capture .*cannot be written \(ENOENT\)/);
  assertRefused(start('--link', 'memory:m'), 3, /needs a link to a network/);
  assert.not.ok(existsSync(path));
  assertRefused(start('--control', join(folder, 'none', 'x.sock')), 3, /there is no directory .*make it, or choose/);
});

// In a network

interface Scene {
  readonly net: Net;
  readonly tsvs: Running;
  readonly control: string;
  /** Asks the running tsvs for JSON. */
  ask<T>(command: string): T;
  /** A client that keeps a connection to the VIP open, until its program is stopped. */
  hold(): Promise<Running>;
}

/** Opens a connection, has a request answered, then says so and stays; at the end of the connection it says why. */
const HOLDER = `
  const s = require('node:net').connect(80, '10.9.0.10', () => s.write('GET / HTTP/1.1\\r\\nHost: x\\r\\n\\r\\n'));
  s.once('data', () => console.log('answered'));
  s.on('error', (e) => console.log(e.code));
  s.on('close', () => console.log('closed'));
  process.on('SIGUSR2', () => s.end());`;

function scene(name: string, config: string, body: (scene: Scene) => Promise<void>): void {
  inNetwork(name, async () => {
    const net = new Net({
      hosts: { client: { address: '10.9.0.1/24' }, rs1: { address: '10.9.0.11/24' } },
      taps: ['tap0'],
    });
    try {
      await net.startRealServer('rs1', 'rs-1');
      const running = await net.startTsvs(file('lb.conf', config));
      const control = net.socketPath();
      await body({
        net,
        tsvs: running,
        control,
        ask: (command) => JSON.parse(tsvs(command, '--control', control, '--json').stdout),
        hold: async () => {
          const holder = net.start('client', [process.execPath, '-e', HOLDER]);
          await holder.waitFor(/answered/);
          return holder;
        },
      });
    } finally {
      await net.close();
    }
  });
}

/** The last line of the log of a tsvs that has ended. */
function summary({ output }: Running): { sessions: Record<string, number>; frames: Record<string, number> } {
  return JSON.parse(
    output
      .trim()
      .split('\n')
      .find((line) => line.includes('"msg":"stopped')) as string,
  );
}

scene('the commands show a session while it is open', conf(), async ({ net, control, ask, hold }) => {
  const text = (command: string): string => {
    const { code, stdout, stderr } = tsvs(command, '--control', control);
    assert.is(code, 0, stderr);
    return stdout;
  };
  assert.is(text('sessions'), '0 open sessions\n');
  await hold();

  const { sessions } = ask<SessionsReply>('sessions');
  assert.is(sessions.length, 1);
  const { state, service, client, vip, serverAddress, toServer, toClient } = sessions[0]!;
  assert.equal(
    { state, service, vip, serverAddress },
    {
      ...{ state: 'relaying', service: 'vip', vip: '10.9.0.10:80', serverAddress: '10.9.0.11:80' },
    },
  );
  assert.match(client, /^10\.9\.0\.1:\d+$/);
  assert.is(toServer, 'GET / HTTP/1.1\r\nHost: x\r\n\r\n'.length);
  assert.ok(toClient > 50);
  assert.match(text('sessions'), /^vip +10\.9\.0\.1:\d+ +server1 +10\.9\.0\.11:80 +10\.9\.0\.10:\d+ +relaying/m);

  await poll(() => ask<StatsReply>('stats').counters['proxy.accepted'] === 1);
  const stats = ask<StatsReply>('stats');
  assert.is(stats.state, 'running');
  assert.is(stats.sessions, 1);
  assert.is(stats.services[0]!.active, 1);
  assert.is(stats.services[0]!.toServers, toServer);
  assert.ok(stats.frames.received > 0 && stats.frames.sent > 0);
  assert.match(text('stats'), /^tsvs \S+, process \d+, running, up \S.*, 1 open session$/m);
  assert.match(text('stats'), /^ {2}server1 +10\.9\.0\.11:80 +up +1 +1 +1 +0 /m);

  // Nobody listens at that port of the VIP over UDP, nor is 10.9.0.1:9 a connection of ours.
  await net.exec('client', ['bash', '-c', 'echo x >/dev/udp/10.9.0.10/9']);
  await poll(() => ask<DropsReply>('drops').drops.some((drop) => drop.name === 'udp_no_port'));
  assert.match(text('drops'), /^udp_no_port +1 +peer +No socket on this UDP port\.$/m);

  const { neighbours } = ask<NeighReply>('neigh');
  assert.equal(
    neighbours.map((one) => one.address),
    ['10.9.0.1', '10.9.0.11'],
  );
  assert.match(neighbours[0]!.mac as string, /^[0-9a-f:]{17}$/);
  assert.match(text('neigh'), /^10\.9\.0\.11 +tap0 +[0-9a-f:]{17} +\w+ /m);

  const curl = spawnSync('curl', ['-s', '--unix-socket', control, 'http://tsvs/v1/nothing'], { encoding: 'utf8' });
  assert.match(JSON.parse(curl.stdout).paths, '/v1/stats');
});

/** Waits for what is going to be true: the worker publishes its numbers within 100 ms. */
async function poll(holds: () => boolean): Promise<void> {
  const deadline = performance.now() + 5000;
  while (!holds()) {
    assert.ok(performance.now() < deadline, `in vain: ${holds}`);
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

scene('a TAP, or a socket, that is in use: exit code 3 says so', conf(), async ({ net, control }) => {
  const again = (...args: string[]): Promise<Ran> => {
    const words = ['dist/bin.js', 'run', '--config', join(folder, 'lb.conf'), '--link', 'tap:tap0', ...args];
    return net.exec(SWITCH, [process.execPath, ...words]);
  };
  const other = join(folder, 'other.sock');
  assertRefused(await again('--control', other), 3, /^tsvs: tap tap0: another process has it open/);
  assert.not.ok(existsSync(other));
  assertRefused(await again('--control', control), 3, /another tsvs answers there/);
  assert.is(tsvs('stats', '--control', control).code, 0, 'the first one goes on');
});

scene('SIGTERM: no new connections, open ones go on, what is left at the limit is reset', conf('4s'), async (s) => {
  const holder = await s.hold();
  const ended = s.tsvs.stop('SIGTERM', 10_000);
  const began = performance.now();
  await s.tsvs.waitFor(/"msg":"SIGTERM: draining, 1 session open, waiting up to 4\.0 s/);
  assert.is((await s.net.exec('client', ['curl', '-s', '-m', '5', 'http://10.9.0.10/'])).code, 7, 'refused');
  assert.is(s.ask<StatsReply>('stats').state, 'draining');
  assert.is(s.ask<SessionsReply>('sessions').sessions.length, 1);
  assert.is(await ended, 0);
  assert.ok(performance.now() - began > 3500, 'it waited');
  await holder.waitFor(/ECONNRESET/);
  const { sessions, frames } = summary(s.tsvs);
  assert.equal(sessions, { accepted: 1, finished: 1, aborted: 0, drained: 1 });
  assert.is(frames['held'], 0);
  assert.not.ok(existsSync(s.control));
});

scene('SIGTERM: when the last session has ended, so has tsvs', conf('1h'), async (s) => {
  const holder = await s.hold();
  const ended = s.tsvs.stop('SIGTERM', 10_000);
  await s.tsvs.waitFor(/draining, 1 session open/);
  holder.child.kill('SIGUSR2');
  assert.is(await ended, 0);
  assert.equal(summary(s.tsvs).sessions, { accepted: 1, finished: 1, aborted: 0, drained: 0 });
});

scene('a second signal resets at once', conf('1h'), async (s) => {
  const holder = await s.hold();
  s.tsvs.child.kill('SIGTERM');
  await s.tsvs.waitFor(/draining, 1 session open/);
  assert.is(await s.tsvs.stop('SIGINT', 10_000), 0);
  await holder.waitFor(/ECONNRESET/);
  assert.is(summary(s.tsvs).sessions['drained'], 1);
});

scene('a link that goes away is said, waited for, and no reason to stay', conf(), async (s) => {
  await s.net.exec(SWITCH, ['ip', 'link', 'del', 'tap0']);
  await s.tsvs.waitFor(/"msg":"link tap:tap0 is down/);
  assert.is(await s.tsvs.stop('SIGTERM', 10_000), 0);
});

/** Makes the worker's clock, which its loop reads at every turn, do `what` once the file named TRIGGER exists. */
const sabotage = (trigger: string, what: string): string =>
  file(
    'sabotage.cjs',
    `const { isMainThread } = require('node:worker_threads');
     const { performance } = require('node:perf_hooks');
     const { existsSync } = require('node:fs');
     if (!isMainThread) {
       const now = performance.now.bind(performance);
       performance.now = () => { if (existsSync(${JSON.stringify(trigger)})) { ${what} } return now(); };
     }`,
  );

inNetwork('a worker that dies: exit code 4; one that hangs: the same, two seconds after the limit', async () => {
  const net = new Net({ hosts: {}, taps: ['tap0'] });
  const start = async (trigger: string, what: string): Promise<Running> => {
    const words = ['--config', file('lb.conf', conf('100ms')), '--control', net.socketPath(), '--log', 'json'];
    const preload = `NODE_OPTIONS=--require ${sabotage(trigger, what)}`;
    const running = net.start(SWITCH, ['env', preload, process.execPath, 'dist/bin.js', 'run', ...words]);
    await running.waitFor(/"msg":"ready"/);
    return running;
  };
  try {
    const trigger = join(folder, 'die');
    const dying = await start(trigger, "throw new Error('sabotage');");
    writeFileSync(trigger, '');
    assert.is(await dying.ended, 4);
    assert.match(dying.output, /"msg":"the worker died: sabotage"/);
    assert.not.ok(existsSync(net.socketPath()));

    const stop = join(folder, 'hang');
    const hanging = await start(stop, 'for (;;);');
    writeFileSync(stop, '');
    await poll(() => cpuTicks(hanging) > 20);
    const began = performance.now();
    assert.is(await hanging.stop('SIGTERM', 10_000), 4);
    assert.ok(performance.now() - began > 2000, 'it was given time');
    assert.match(hanging.output, /"msg":"the worker hangs: /);
  } finally {
    await net.close();
  }
});

/** Processor time a program has used, in hundredths of a second. */
function cpuTicks({ child }: Running): number {
  const fields = readFileSync(`/proc/${child.pid}/stat`, 'utf8').split(') ')[1]!.split(' ');
  return Number(fields[11]) + Number(fields[12]);
}

scene('a server that refuses is named once per second; so is a host that claims the VIP', conf(), async (s) => {
  for (let i = 0; i < 40; i++) await s.net.exec('client', ['curl', '-s', '-m', '5', 'http://10.9.0.10/']);
  const refused = /"msg":"server 10\.9\.0\.11:81 of vip refused(?: \(\d+ times\))?; trying another"/;
  await s.tsvs.waitFor(refused);
  const lines = s.tsvs.output.split('\n').filter((line) => refused.test(line)).length;
  const { connectFailures } = s.ask<StatsReply>('stats').services[0]!;
  assert.ok(lines < connectFailures, `${lines} lines for ${connectFailures} failures`);

  await s.net.exec('rs1', ['ip', 'addr', 'add', '10.9.0.10/24', 'dev', 'eth0']);
  await s.net.exec('rs1', ['ping', '-c', '1', '-W', '1', '-I', '10.9.0.10', '10.9.0.77']);
  await s.tsvs.waitFor(/"msg":"another host claims 10\.9\.0\.10: [0-9a-f:]{17}/);
});

inNetwork('l4lb takes its address from F-Stack and names what it does not use in one line', async () => {
  const net = new Net({
    hosts: { client: { address: '192.168.100.1/24' }, rs1: { address: '192.168.100.11/24' } },
    taps: ['tap0'],
  });
  try {
    await net.startRealServer('rs1', 'rs-1');
    const words = ['-c', 'config/samples/fstack.ini', '--lb-config', 'config/lb.conf', '--control', net.socketPath()];
    const lb = net.start(SWITCH, [process.execPath, 'dist/l4lb.js', ...words]);
    await lb.waitFor(/INFO: ready/);
    const warnings = lb.output.split('\n').filter((line) => line.includes('WARN'));
    assert.is(warnings.length, 1, lb.output);
    assert.match(
      warnings[0],
      /fstack\.ini: these keys have no effect here: \[dpdk\] lcore_mask, .*net\.inet\.tcp\.sack/,
    );
    assert.not.match(lb.output, /"|pid/);
    const script = HOLDER.replace('10.9.0.10', '192.168.100.10');
    const holder = net.start('client', [process.execPath, '-e', script]);
    await holder.waitFor(/answered/, 20_000);
    const { sessions }: SessionsReply = JSON.parse(tsvs('sessions', '--control', net.socketPath(), '--json').stdout);
    assert.match(sessions[0]!.local as string, /^192\.168\.100\.20:\d+$/);
    await holder.stop();
    assert.is(await lb.stop(), 0);
    assert.match(lb.output, /INFO: stopped: frames: received \d+/);
  } finally {
    await net.close();
  }
});

test.after(() => rmSync(folder, { recursive: true }));

test.run();

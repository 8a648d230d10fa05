/**
 * The main job on real traffic: a kernel's ping, curl, ab and iperf3 on one side, HTTP servers on the kernel's TCP on the
 * other, and between them tsvs on a TAP, with offloads.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { load } from '../lib/http-load.ts';
import { patternHash } from '../lib/pattern.ts';
import { noCommands, noNamespaces, testUnless } from '../lib/privilege.ts';
import { IPERF, VIP, VipNet } from '../lib/vip-net.ts';

const add = testUnless(noNamespaces() ?? noCommands('ip', 'ping', 'curl', 'ab', 'iperf3'), test);

const HUNDRED_MB = 100_000_000;
/** Memory that tsvs has never to exceed on account of one slow reader. */
const SLOW_READER_BYTES = 24e6;

const mega = (bytes: number): string => (bytes / 1e6).toFixed(1);

let lab: VipNet | undefined;

async function makeLab(): Promise<VipNet> {
  const made = await VipNet.start();
  await Promise.all([made.startHttp(), made.startTalk()]);
  return made;
}

/** A test in the network that all share; it must leave no session behind. */
function scene(name: string, body: (lab: VipNet) => Promise<void>): void {
  add(name, async () => {
    lab ??= await makeLab();
    await body(lab);
    await lab.quiet();
  });
}

scene('ping -f -c 10000: nothing lost', async (lab) => {
  const began = performance.now();
  const times = await lab.ping(10_000);
  console.log(`ping: ${(10_000 / (performance.now() - began)).toFixed(1)} per ms; ${times}`);
});

scene('100 MB down and up: every byte arrives', async (lab) => {
  const began = performance.now();
  await lab.download(HUNDRED_MB);
  const middle = performance.now();
  const { answer } = await lab.talk<{ answer: string }>('upload', HUNDRED_MB);
  assert.is(answer, `${HUNDRED_MB} ${patternHash(HUNDRED_MB)}`);
  const ended = performance.now();
  console.log(`100 MB: down in ${(middle - began).toFixed(0)} ms, up in ${(ended - middle).toFixed(0)} ms`);
});

scene('10,000 requests over new connections, 256 at a time: none failed', async (lab) => {
  const { complete, failed, perSecond, slowestMs, report } = await load(lab, {
    requests: 10_000,
    concurrency: 256,
    url: `http://${VIP}/`,
  });
  assert.is(complete, 10_000, report);
  assert.is(failed, 0, report);
  const { services } = await lab.stats();
  const shares = services.find((one) => one.name === 'web')!.servers.map((server) => server.conns);
  assert.ok(Math.min(...shares) > 4900, `conns: ${shares}`);
  console.log(`new connections: ${perSecond} per s, slowest ${slowestMs} ms`);
});

scene('10,000 requests over kept connections: none failed', async (lab) => {
  const accepted = await lab.counter('proxy.accepted');
  const { complete, failed, kept, perSecond, report } = await load(lab, {
    requests: 10_000,
    concurrency: 32,
    keepAlive: true,
    url: `http://${VIP}/`,
  });
  assert.is(complete, 10_000, report);
  assert.is(failed, 0, report);
  assert.ok(kept > 9000, report);
  assert.ok((await lab.counter('proxy.accepted')) - accepted < 1000);
  console.log(`kept connections: ${perSecond} requests per s`);
});

scene('iperf3 both ways', async (lab) => {
  const servers = [1, 2].map((i) => lab.net.start(`rs${i}`, ['iperf3', '-s', '-p', String(IPERF), '--forceflush']));
  await Promise.all(servers.map((server) => server.waitFor(/listening/)));
  for (const direction of [[], ['-R']]) {
    const words = ['iperf3', '-J', '-c', VIP, '-p', String(IPERF), '-t', '2', ...direction];
    const { code, stdout } = await lab.client(words);
    assert.is(code, 0, stdout);
    const { bits_per_second: rate } = JSON.parse(stdout).end.sum_received as { bits_per_second: number };
    console.log(`iperf3 ${direction.length === 0 ? 'up' : 'down'}: ${(rate / 1e9).toFixed(2)} Gbit/s`);
    assert.ok(rate > 50e6, stdout);
  }
  await Promise.all(servers.map((server) => server.stop()));
});

scene('a slow reader costs bounded memory', async (lab) => {
  // What the client's own kernel is willing to hold for it would hide what we do.
  const buffer = await lab.shell('cat /proc/sys/net/ipv4/tcp_rmem');
  const limitBuffer = (sizes: string): Promise<string> => lab.shell(`echo ${sizes} >/proc/sys/net/ipv4/tcp_rmem`);
  await limitBuffer('4096 131072 1000000');
  const before = lab.memory();
  const url = `http://${VIP}/bytes/400000000`;
  const reader = lab.net.start('client', ['curl', '-sS', '-o', '/dev/null', '--limit-rate', '1M', url]);
  let growth = 0;
  let relayed = 0;
  try {
    for (let i = 0; i < 15; i++) {
      await pause(200);
      growth = Math.max(growth, lab.memory() - before);
      relayed = (await lab.sessions()).sessions[0]!.toClient;
    }
    assert.ok((await lab.counter('pool.inUse')) < 2000);
  } finally {
    await reader.stop('SIGKILL');
    await limitBuffer(buffer);
  }
  console.log(`slow reader: memory grew by ${mega(growth)} MB, relayed ${mega(relayed)} MB in 3 s`);
  assert.ok(relayed > 1e6 && relayed < 12e6, `relayed ${mega(relayed)} MB`);
  assert.ok(growth < SLOW_READER_BYTES, `memory grew by ${mega(growth)} MB`);
});

scene('a thousand idle connections are all usable afterwards', async (lab) => {
  const { held, names } = await lab.talk<{ held: number; names: Record<string, number> }>('idle', 1000, 500);
  assert.is(held, 1000);
  assert.equal(names, { 'rs-1': 500, 'rs-2': 500 });
});

scene('a server that takes its time is waited for', async (lab) => {
  const { lines, error } = await lab.talk<{ lines: string[]; error: string }>('drip', 10, 100);
  assert.is(error, '');
  assert.equal(
    lines,
    Array.from({ length: 10 }, (_, i) => `${10 - i} left`),
  );
});

scene('what is asked with a shut-down direction is answered in full', async (lab) => {
  const { sha256, right, error } = await lab.talk<Record<string, string>>('download', 5_000_000);
  assert.is(error, '');
  assert.is(sha256, right);
});

scene('an early answer reaches a client that is still sending', async (lab) => {
  const { text, error } = await lab.talk<{ text: string; error: string }>('early', 20_000_000);
  assert.is(text, 'too much\n');
  assert.is(error, '');
});

scene('a reset by the client reaches the server', async (lab) => {
  const before = await lab.counter('proxy.clientAborts');
  await lab.talk('clientReset', HUNDRED_MB);
  await lab.quiet();
  assert.is(await lab.counter('proxy.clientAborts'), before + 1);
  for (const place of ['rs1', 'rs2']) {
    const { stdout } = await lab.net.exec(place, ['ss', '-Htn', 'state', 'connected', 'exclude', 'time-wait']);
    assert.is(stdout, '', `a connection stays at ${place}`);
  }
});

scene('a reset by the server reaches the client', async (lab) => {
  const { bytes, error } = await lab.talk<{ bytes: number; error: string }>('serverReset', 100_000);
  assert.is(error, 'ECONNRESET');
  assert.is(bytes, 100_000);
});

add('tsvs leaves in order, every frame accounted for', async () => {
  await lab!.close();
});

test.after(() => lab?.net.remove());

test.run();

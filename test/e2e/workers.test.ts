/**
 * Several workers on real links: a TAP with several queues, packet sockets that share an interface. Connections are divided, all
 * transfers are whole, changes hold everywhere, and a worker that dies is started again while the others go on.
 */
import { spawnSync } from 'node:child_process';
import { existsSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { LinkKind } from '../../src/config/model.ts';
import { type ConnsReply, PATHS } from '../../src/control/api.ts';
import type { LinksReply } from '../../src/control/api-network.ts';
import { ask, send } from '../../src/control/client.ts';
import { load } from '../lib/http-load.ts';
import { poll, SWITCH } from '../lib/netns.ts';
import { isRealRoot, noCommands, noNamespaces, testUnless } from '../lib/privilege.ts';
import { VIP, VipNet } from '../lib/vip-net.ts';
import { DIES, greetings, HANGS, workersDie } from '../lib/worker-death.ts';

const add = testUnless(noNamespaces() ?? noCommands('ip', 'ab', 'curl', 'ping', 'tshark'), test);
const TWO = ['workers = 2'];

const MB = 1_000_000;

for (const [name, link, queues, bytes] of [
  ['a TAP with a queue for each', 'tap', true, 100 * MB],
  ['a TAP with one queue', 'tap', false, 50 * MB],
  ['packet sockets', 'packet', false, 100 * MB],
  ['AF_XDP sockets', 'xdp', true, 20 * MB],
] as [string, LinkKind, boolean, number][]) {
  add(`two workers on ${name}: ping, curl, a long transfer, sums over both`, async () => {
    const lab = await VipNet.start({ link, queues, global: TWO });
    try {
      assert.is(lab.tsvs.output.includes('has queues for 1 of 2 workers'), link === 'tap' && !queues);
      await lab.startHttp();
      const before = await lab.counter('workers.handedOver');
      await lab.ping(500);
      const answers = await greetings(lab, 40);
      assert.equal([...answers.keys()].sort(), ['rs-1', 'rs-2']);
      await lab.download(bytes);
      await lab.quiet();
      const { counters, services } = await lab.stats();
      assert.is(counters['workers.running'], 2);
      assert.is(counters['proxy.accepted'], 41);
      const conns = services.flatMap((one) => one.servers.map((server) => server.conns)).reduce((a, b) => a + b, 0);
      assert.is(conns, 41);
      const { links } = await ask<LinksReply>(lab.socket, PATHS.links);
      assert.is(links[0]!.rxFrames, counters['port.rxFrames']);
      // A TAP with queues and packet sockets bring each frame to its owner; ARP goes to both.
      const handed = counters['workers.handedOver']! - before;
      const isSteered = link === 'packet' || (link === 'tap' && queues);
      assert.ok(isSteered ? handed < 30 : handed > 60, `${handed} handed over`);
      assert.equal(
        (await lab.drops()).drops.filter((drop) => drop.name === 'handover_full'),
        [],
      );
    } finally {
      await lab.close();
    }
  });
}

/** A capture of `n` frames has those of both workers, by time, each with what is known of it. */
async function assertMerged(lab: VipNet, file: string, n: number): Promise<void> {
  const fields = ['frame.time_epoch', 'tcp.stream', 'frame.comment'].map((field) => `-e ${field}`).join(' ');
  const rows = (await lab.shell(`tshark -r ${file} -T fields -E occurrence=f ${fields} 2>/dev/null`)).split('\n');
  assert.is(rows.length, n);
  const frames = rows.map((row) => row.split('\t') as [time: string, stream: string, comment: string]);
  const times = frames.map(([time]) => Number(time));
  assert.ok(
    times.every((time, i) => i === 0 || time >= times[i - 1]!),
    'by time',
  );
  const workers = new Map<string, Set<string>>();
  for (const [, stream, comment] of frames) {
    const [, worker] = /^(?:rx|tx), worker (\d)(?:; web\/server\d, fnat, to the (?:server|client), \w+)?$/.exec(
      comment,
    )!;
    workers.set(stream, (workers.get(stream) ?? new Set()).add(worker!));
  }
  assert.ok(
    [...workers.values()].every(({ size }) => size === 1),
    'a flow is seen by one worker',
  );
  assert.is(new Set([...workers.values()].flatMap((seen) => [...seen])).size, 2);
}

add('FullNAT by two workers: both have connections, 20 MB, all of them are listed; a capture of both', async () => {
  const lab = await VipNet.start({
    queues: true,
    global: [...TWO, 'mode = fnat'],
    settings: ['local_address = 10.9.0.30'],
  });
  try {
    await lab.startHttp();
    const file = join(lab.folder, 'both.pcapng');
    const words = ['node', 'dist/bin.js', 'capture', '--filter', 'tcp', '--control', lab.socket, file];
    const capture = lab.client(words);
    await poll(`a capture in ${file}`, 5000, () => existsSync(file) && statSync(file).size > 0);
    assert.equal([...(await greetings(lab, 30)).keys()].sort(), ['rs-1', 'rs-2']);
    await send(lab.socket, 'DELETE', PATHS.capture);
    const { stderr } = await capture;
    await assertMerged(lab, file, Number(/^(\d+) frames captured: on demand\n$/.exec(stderr)?.[1]));
    await lab.download(20_000_000);
    assert.is((await lab.stats()).counters['l4.opened'], 31);
    const { total, conns } = await ask<ConnsReply>(lab.socket, PATHS.conns);
    assert.is(conns.length, total);
    assert.is(new Set(conns.map((conn) => conn.client)).size, 31);
    assert.is(new Set(conns.map((conn) => conn.local)).size, 31, 'no local port twice');
    const handed = await lab.counter('workers.handedOver');
    assert.ok(handed < 30, `replies come to the worker that chose the port: ${handed} handed over`);
  } finally {
    await lab.close();
  }
});

add(
  'a TAP is deleted and created again: both workers attach to it in their order, and are steered to as before',
  async () => {
    const lab = await VipNet.start({ queues: true, global: TWO });
    try {
      await lab.startHttp();
      const inSwitch = async (...words: string[]) => assert.is((await lab.net.exec(SWITCH, ['ip', ...words])).code, 0);
      for (let round = 0; round < 2; round++) {
        await inSwitch('link', 'del', 'tap0');
        await lab.tsvs.waitFor(/is down/);
        await inSwitch('tuntap', 'add', 'tap0', 'mode', 'tap', 'multi_queue');
        await inSwitch('link', 'set', 'tap0', 'master', 'br0', 'up');
        await lab.linked();
        await greetings(lab, 4);
        const before = await lab.counter('workers.handedOver');
        await greetings(lab, 20);
        const handed = (await lab.counter('workers.handedOver')) - before;
        assert.ok(handed < 20, `${handed} handed over`);
      }
    } finally {
      await lab.close();
    }
  },
);

add('a change holds at all workers, under load, and no request fails', async () => {
  const lab = await VipNet.start({ global: TWO, queues: true });
  try {
    await lab.startHttp();
    const file = join(lab.folder, 'lb.conf');
    const running = load(lab, { requests: 3000, concurrency: 8, url: `http://${VIP}/` });
    const tsvs = (...words: string[]) =>
      spawnSync(process.execPath, ['dist/bin.js', ...words, '--control', lab.socket], { encoding: 'utf8' });
    writeFileSync(file, readFileSync(file, 'utf8').replace(/^scheduler = .*$/m, 'scheduler = wrr'));
    const reload = tsvs('reload');
    assert.is(reload.status, 0, reload.stderr);
    const drained = tsvs('server', 'web/server1', 'drain');
    assert.is(drained.status, 0, `${drained.stdout}${drained.stderr}`);
    const done = await running;
    assert.is(done.failed, 0);
    assert.equal([...(await greetings(lab, 20)).keys()], ['rs-2'], 'drained at both workers');
    await lab.quiet();
  } finally {
    await lab.close();
  }
});

add('a server that fails its checks gets nothing from any worker; idle workers sleep', async () => {
  const checks = ['check = tcp', 'check_interval = 100ms', 'check_timeout = 100ms', 'check_start = down'];
  const lab = await VipNet.start({ queues: true, global: TWO, settings: checks });
  try {
    const servers = await lab.startHttp();
    for (const n of [1, 2]) await lab.tsvs.waitFor(new RegExp(`10\\.9\\.0\\.1${n}:80 of web is up`));
    await greetings(lab, 4);
    await servers[0]!.stop();
    await lab.tsvs.waitFor(/10\.9\.0\.11:80 of web is down/);
    const web = async () => (await lab.stats()).services.find(({ name }) => name === 'web')!;
    const before = (await web()).connectFailures;
    assert.equal([...(await greetings(lab, 20)).keys()], ['rs-2']);
    assert.is((await web()).connectFailures, before, 'nobody even tried');
    const turns = await lab.counter('loop.turns');
    await new Promise((resolve) => setTimeout(resolve, 1000));
    assert.ok((await lab.counter('loop.turns')) - turns < 5000, 'two idle workers turn rarely');
  } finally {
    await lab.close();
  }
});

/** Another user, who may open links again. */
const IDENTITY = isRealRoot() ? ['user = 64321', 'group = 64322', 'keep_capabilities = on'] : [];

for (const [link, count, how, ...workers] of [
  ['tap', 3, DIES, 2, 0],
  ['packet', 2, HANGS, 0],
  ['xdp', 2, DIES, 0],
] as [LinkKind, number, string, ...number[]][]) {
  const which = `worker ${workers.join(' and ')} of ${count}`;
  add(`${link}, ${which}: ${how}: it is reported, others go on, and it is started again`, () =>
    workersDie({ link, global: [`workers = ${count}`, ...IDENTITY], queues: true }, how, ...workers),
  );
}

test.run();

/**
 * TAP devices against the kernel: the device contract over two TAPs joined by a bridge, ping and TCP with a kernel host, and
 * what happens when interfaces are taken, set down or deleted.
 */
import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { setTimeout as pause } from 'node:timers/promises';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { LinkError } from '../../src/links/syscall.ts';
import { TapDevice } from '../../src/links/tap.ts';
import { closeTap, openTap } from '../../src/links/tap-open.ts';
import type { Context } from '../../stack/context.ts';
import { LINK_DOWN } from '../../stack/drop.ts';
import { DELIVERED } from '../../stack/verdict.ts';
import {
  assertConserved,
  deviceContract,
  newContext,
  type Rig,
  receive,
  SMALL_POOL,
  testFrame,
} from '../contract/device.ts';
import { inNamespace } from '../lib/enter-netns.ts';
import { KernelPeer } from '../lib/kernel-peer.ts';
import { Net, SWITCH } from '../lib/netns.ts';
import { noCommands, noNamespaces, testUnless } from '../lib/privilege.ts';

const missing = noNamespaces() ?? noCommands('ip', 'ping');
const add = testUnless(missing, test);

/** Interface names must be unique in the namespace the test starts in, where they live for a moment. */
const nameOf = (end: string): string => `tv${process.pid}${end}`;

function ip(...words: string[]): void {
  const { status, stderr } = spawnSync('ip', words, { encoding: 'utf8' });
  if (status !== 0) throw new Error(`ip ${words.join(' ')}: ${stderr}`);
}

/** Descriptors that devices have exchanged, by interface. */
const changes: [name: string, fd: number][] = [];

/** Opens a TAP, as the main thread would, moves it to the switch of `net` and drives it, as a worker would. */
function plugIn(net: Net, ctx: Context, end: string, offload: boolean): TapDevice {
  const handle = openTap({ name: nameOf(end), offload });
  const namespace = net.namespace(SWITCH);
  ip('link', 'set', handle.name, 'netns', namespace);
  ip('-n', namespace, 'link', 'set', handle.name, 'master', 'br0', 'up');
  // What goes to a worker has to survive the journey.
  return TapDevice.fromFd(ctx, structuredClone(handle), ({ name, fd }) => changes.push([name, fd]));
}

/** The same, all of it within the switch, so that the device can ask for its interface. */
function plugInThere(net: Net, ctx: Context, end: string, offload: boolean): TapDevice {
  const namespace = net.namespace(SWITCH);
  const handle = inNamespace(namespace, () => openTap({ name: nameOf(end), offload }));
  ip('-n', namespace, 'link', 'set', handle.name, 'master', 'br0', 'up');
  return inNamespace(namespace, () => TapDevice.fromFd(ctx, structuredClone(handle)));
}

let shared: Net | undefined;

function bridged(offload: boolean, plug = plugInThere): () => Rig {
  return () => {
    shared ??= new Net({ hosts: {} });
    const ctxA = newContext();
    const ctxB = newContext();
    const a = plug(shared, ctxA, 'a', offload);
    const b = plug(shared, ctxB, 'b', offload);
    const place = shared.namespace(SWITCH);
    const setMtu = (mtu: number): void => {
      for (const end of ['a', 'b']) ip('-n', place, 'link', 'set', nameOf(end), 'mtu', `${mtu}`);
    };
    return { a, b, ctxA, ctxB, carry: () => pause(5), setMtu };
  };
}

deviceContract('tap', add, { bounded: false }, bridged(false));
deviceContract('tap with offload', add, { bounded: false }, bridged(true));

/** Lets the peer work until `busy` is over. */
async function serve<T>(peer: KernelPeer, busy: Promise<T>): Promise<T> {
  let done = false;
  const end = busy.finally(() => {
    done = true;
  });
  while (!done) if (peer.poll() === 0) await pause(1);
  peer.poll();
  return end;
}

const ADDRESS = 0x0a090002;
const GREETING = Uint8Array.from({ length: 40_000 }, (_, i) => (i * 13) & 255);
const UPLOAD = 2_000_000;

/** Connects, checks the greeting, sends, and prints the hash of what it got. */
const CLIENT = `
  const { createHash } = require('node:crypto'); const hash = createHash('sha1'); let got = 0;
  const s = require('node:net').connect(80, '10.9.0.2');
  s.on('data', (d) => { hash.update(d); got += d.length; if (got === ${GREETING.length}) s.end(Buffer.alloc(${UPLOAD}, 'x')); });
  s.on('close', () => console.log(hash.digest('hex')));
  s.on('error', (e) => { console.log(e.message); process.exit(1); });`;

for (const offload of [false, true]) {
  const kind = offload ? 'tap with offload' : 'tap';

  const scene = (
    name: string,
    body: (net: Net, peer: KernelPeer, tap: TapDevice, ctx: Context) => Promise<void>,
  ): void =>
    add(`${kind}: ${name}`, async () => {
      const net = new Net({ hosts: { client: { address: '10.9.0.1/24' } } });
      const ctx = newContext({ ...SMALL_POOL, slots: 1024, bigSlots: 128 });
      const tap = plugIn(net, ctx, 'k', offload);
      try {
        await body(net, new KernelPeer(ctx, tap, ADDRESS, GREETING), tap, ctx);
      } finally {
        tap.close();
        await net.close();
      }
      assertConserved(ctx, kind);
      assert.is(ctx.pool.inUse, 0);
    });

  scene('a kernel pings us', async (net, peer) => {
    for (const size of ['56', '1400']) {
      const ping = net.exec('client', ['ping', '-c', '3', '-i', '0.05', '-W', '2', '-s', size, '10.9.0.2']);
      const { stdout } = await serve(peer, ping);
      assert.match(stdout, /3 received, 0% packet loss/);
    }
  });

  scene('a kernel exchanges TCP data with us', async (net, peer, tap, ctx) => {
    const { stdout, stderr } = await serve(peer, net.exec('client', [process.execPath, '-e', CLIENT]));
    assert.is(stdout.trim(), createHash('sha1').update(GREETING).digest('hex'), stderr);
    assert.is(peer.received, UPLOAD);
    assert.is(peer.badChecksums, 0);
    assert.equal(tap.stats.errors, {});
    if (offload) {
      assert.ok(peer.largest > 20_000, `frames of up to ${peer.largest} bytes`);
      assert.ok(peer.segmented > 0);
    } else {
      assert.is(peer.largest, 1514);
      assert.is(peer.segmented, 0);
    }
    assertConserved(ctx, kind);
  });
}

add('tap: an interface that is set down costs the frames sent meanwhile and comes back', async () => {
  const rig = bridged(true)();
  const namespace = shared!.namespace(SWITCH);
  try {
    ip('-n', namespace, 'link', 'set', nameOf('a'), 'down');
    assert.is(rig.a.tx(Int32Array.of(testFrame(rig.ctxA, 100, 1)), 0, 1), 1);
    assert.is(rig.ctxA.drops[LINK_DOWN], 1);
    assert.equal(rig.a.stats.errors, { EIO: 1 });
    assert.is(rig.a.rx(new Int32Array(4), 4), 0);
    assert.is(rig.a.up, true);
    ip('-n', namespace, 'link', 'set', nameOf('a'), 'up');
    rig.a.tx(Int32Array.of(testFrame(rig.ctxA, 101, 1)), 0, 1);
    const got = await receive(rig, 1);
    assert.is(rig.ctxB.pool.len[got[0]!], 101);
  } finally {
    rig.a.close();
    rig.b.close();
  }
});

add('tap: a deleted interface is gone, and is attached to when it is created again', async () => {
  const rig = bridged(false, plugIn)();
  try {
    ip('-n', shared!.namespace(SWITCH), 'link', 'del', nameOf('a'));
    const f = testFrame(rig.ctxA, 100, 1);
    assert.is(rig.a.tx(Int32Array.of(f), 0, 1), 0, 'the frame stays with the caller');
    assert.is(rig.a.up, false);
    assert.is(rig.a.rx(new Int32Array(4), 4), 0);
    ip('-n', shared!.namespace(SWITCH), 'link', 'del', nameOf('b'));
    assert.is(rig.b.rx(new Int32Array(4), 4), 0);
    assert.is(rig.b.up, false, 'noticed by receiving as well');
    rig.ctxA.settle(f, DELIVERED);
    const later = (us: number): void => {
      for (const [ctx, device] of [[rig.ctxA, rig.a] as const, [rig.ctxB, rig.b] as const]) {
        ctx.tick(us);
        assert.is(device.rx(new Int32Array(4), 4), 0);
      }
    };
    later(1e6);
    assert.not(rig.a.up || rig.b.up);
    for (const end of ['a', 'b']) ip('tuntap', 'add', nameOf(end), 'mode', 'tap');
    later(1.05e6);
    assert.not(rig.a.up, 'not before 100 ms have passed');
    later(1.2e6);
    assert.ok(rig.a.up && rig.b.up);
    const told = changes.filter(([name]) => name === nameOf('a')).map(([, fd]) => fd);
    assert.equal(told, [-1, rig.a.fd], 'who takes over is told');
    for (const end of ['a', 'b']) {
      ip('link', 'set', nameOf(end), 'netns', shared!.namespace(SWITCH));
      ip('-n', shared!.namespace(SWITCH), 'link', 'set', nameOf(end), 'master', 'br0', 'up');
    }
    assert.is(rig.a.tx(Int32Array.of(testFrame(rig.ctxA, 101, 1)), 0, 1), 1);
    const got = await receive(rig, 1);
    assert.is(rig.ctxB.pool.len[got[0]!], 101);
    rig.ctxB.settle(got[0]!, DELIVERED);
  } finally {
    rig.a.close();
    rig.b.close();
    for (const end of ['a', 'b']) spawnSync('ip', ['-n', shared!.namespace(SWITCH), 'link', 'del', nameOf(end)]);
  }
});

function codeAndText(name: string): string {
  try {
    closeTap(openTap({ name, offload: false }));
    return 'opened';
  } catch (error) {
    assert.instance(error, LinkError);
    return `${(error as LinkError).code}: ${(error as LinkError).message}`;
  }
}

add('tap: says why an interface cannot be opened', () => {
  const first = openTap({ name: nameOf('x'), offload: true });
  assert.is(first.mtu, 1500);
  assert.is(first.hostMac.length, 6);
  assert.match(codeAndText(nameOf('x')), /^EBUSY: .*another process has it open/);
  closeTap(first);
  assert.is(codeAndText(nameOf('x')), 'opened');
  ip('tuntap', 'add', nameOf('y'), 'mode', 'tun');
  assert.match(codeAndText(nameOf('y')), /^EINVAL: .*TUN interface/);
  ip('link', 'del', nameOf('y'));
  assert.match(codeAndText('lo'), /^EINVAL: .*of another type/);
});

test.after(async () => {
  await shared?.close();
});

test.run();

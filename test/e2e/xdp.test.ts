/**
 * AF_XDP against the kernel: the device contract over the two ends of a veth pair, in the driver and behind it, and what
 * happens when the interface is set down, deleted and created again; whose frames the program takes, and whose not.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { XdpMode } from '../../src/config/model.ts';
import { PacketDevice } from '../../src/links/packet.ts';
import { openPacket } from '../../src/links/packet-open.ts';
import { syscalls } from '../../src/links/syscall.ts';
import { XdpDevice } from '../../src/links/xdp.ts';
import { closeMaps, openXdp, PATIENT, releaseXdp, type XdpPlace } from '../../src/links/xdp-open.ts';
import { umemOf } from '../../src/links/xdp-socket.ts';
import type { Context } from '../../stack/context.ts';
import { F_CSUM_PARTIAL } from '../../stack/mem/frame-pool.ts';
import { DELIVERED } from '../../stack/verdict.ts';
import {
  assertConserved,
  deviceContract,
  MAC_A,
  MAC_B,
  newContext,
  type Rig,
  receive,
  tcpFrame,
  testFrame,
} from '../contract/device.ts';
import { noCommands, noNamespaces, testUnless } from '../lib/privilege.ts';
import {
  complaint,
  endsOf,
  later,
  pairOf,
  passes,
  scene,
  staysWithCaller,
  type VethRig,
  vethRig,
} from '../lib/veth-rig.ts';

const add = testUnless(noNamespaces() ?? noCommands('ip'), test);

const placeOf = ({ pool }: Context, share = -1): XdpPlace => ({ umem: umemOf(syscalls(), pool), share });

/** Opens an end, as the main thread would, and drives it, as workers would. */
function plugInAll(ctxs: Context[], name: string, mode: XdpMode, mac: readonly number[] | null): XdpDevice[] {
  const places = ctxs.map((ctx) => placeOf(ctx));
  const handles = pairOf().inside(() => openXdp({ name, mode, mac }, places, PATIENT));
  // What goes to a worker has to survive the journey.
  return handles.map((handle, w) => pairOf().inside(() => new XdpDevice(ctxs[w]!, structuredClone(handle))));
}

const plugIn = (ctx: Context, name: string, mode: XdpMode, mac: readonly number[] | null): XdpDevice =>
  plugInAll([ctx], name, mode, mac)[0]!;

const rigOf = (mode: XdpMode): VethRig<XdpDevice> =>
  vethRig(
    (ctx, name) => plugIn(ctx, name, mode, MAC_A),
    (ctx, name) => plugIn(ctx, name, mode, MAC_B),
  );

/** Several workers at each end; those of the last are looked at. */
function crewOf(mode: XdpMode, queues: number, workers: number): Rig & { all: [Context, XdpDevice][] } {
  pairOf().add(queues);
  const contexts = (): Context[] => Array.from({ length: workers }, () => newContext());
  const [ctxsA, ctxsB] = [contexts(), contexts()];
  const as = plugInAll(ctxsA, 'va', mode, MAC_A);
  const bs = plugInAll(ctxsB, 'vb', mode, MAC_B);
  const all = [as, bs].flatMap((devices, end) =>
    devices.map((device, w): [Context, XdpDevice] => [[ctxsA, ctxsB][end]![w]!, device]),
  );
  return {
    ...{ a: as.at(-1)!, b: bs.at(-1)!, ctxA: ctxsA[as.length - 1]!, ctxB: ctxsB[bs.length - 1]!, all },
    carry: () => pause(2),
    cleanup: () => {
      for (const [, device] of all) device.close();
      pairOf().remove();
    },
  };
}

deviceContract('xdp native', add, { bounded: false }, () => rigOf('native'));
deviceContract('xdp generic', add, { bounded: false }, () => rigOf('generic'));

deviceContract('xdp, the second of two workers with three queues', add, { bounded: false }, () =>
  crewOf('native', 3, 2),
);

add('xdp: an interface with fewer queues than workers gives fewer handles', () => {
  const rig = crewOf('auto', 2, 3);
  assert.is(rig.all.length, 4);
  rig.cleanup!();
});

add('xdp: several workers each take up an interface that was created anew', async () => {
  const rig = crewOf('native', 2, 2);
  try {
    for (let round = 0; round < 2; round++) {
      pairOf().ip('link', 'del', 'va');
      later(rig.all);
      assert.not(rig.all.some(([, { up }]) => up));
      pairOf().add(2);
      // The last first: nobody waits for anybody.
      rig.all.reverse();
      later(rig.all);
      assert.ok(rig.all.every(([, { up }]) => up));
      await passes(rig, 100 + round);
    }
    pairOf().ip('link', 'del', 'va');
    later(rig.all);
    pairOf().add(1);
    later(rig.all);
    const [first, second] = rig.all
      .filter(([, { name }]) => name === 'xdp:vb')
      .sort(([, a], [, b]) => Number(b.up) - Number(a.up));
    assert.ok(first![1].up && !second![1].up, 'one queue for two');
    assert.match(first![1].notice, /fewer receive queues than it had/);
  } finally {
    rig.cleanup!();
  }
  for (const [ctx] of rig.all) assert.is(ctx.pool.freeSmallCount, ctx.pool.config.slots - 1, 'every slot is back');
});

const xdpScene = (name: string, body: (rig: VethRig<XdpDevice>) => Promise<void> | void): void =>
  add(
    `xdp: ${name}`,
    scene(
      () => rigOf('auto'),
      body,
      ({ ctxA: { pool } }) => {
        assert.is(pool.inUse, 0);
        assert.is(pool.freeSmallCount, pool.config.slots - 1, 'every slot that was lent is back');
      },
    ),
  );

xdpScene('an interface that is set down comes back', async (rig) => {
  pairOf().ip('link', 'set', 'va', 'down');
  later(endsOf(rig));
  assert.not(rig.a.up || rig.b.up);
  pairOf().ip('link', 'set', 'va', 'up');
  later(endsOf(rig));
  assert.ok(rig.a.up && rig.b.up);
  await passes(rig, 101);
});

xdpScene('an interface that is deleted and created again is taken up again', async (rig) => {
  pairOf().ip('link', 'del', 'va');
  later(endsOf(rig));
  assert.not(rig.a.up || rig.b.up);
  assert.is(rig.a.fd, -1);
  staysWithCaller(rig);
  pairOf().add();
  later(endsOf(rig));
  assert.ok(rig.a.up && rig.b.up);
  await passes(rig, 102);
});

xdpScene('a frame that lies in a big slot is copied where the kernel can read it', async (rig) => {
  const f = rig.ctxA.createBig();
  const { pool } = rig.ctxA;
  const small = testFrame(rig.ctxA, 200, 7);
  pool.buf.copyWithin(pool.off[f]!, pool.off[small]!, pool.off[small]! + 200);
  pool.len[f] = 200;
  rig.ctxA.settle(small, DELIVERED);
  assert.is(rig.a.tx(Int32Array.of(f), 0, 1), 1);
  const [got] = await receive(rig, 1);
  assert.is(rig.ctxB.pool.len[got!], 200);
  rig.ctxB.settle(got!, DELIVERED);
});

add('xdp: takes ARP and IPv4 for our addresses, and leaves the rest to the kernel', async () => {
  pairOf().add();
  const ctxA = newContext();
  const ctxB = newContext();
  const a = pairOf().inside(
    () => new PacketDevice(ctxA, openPacket({ name: 'va', offload: true, ring: true, mac: MAC_A })),
  );
  const b = plugIn(ctxB, 'vb', 'auto', null);
  const rig: Rig = { a, b, ctxA, ctxB, carry: () => pause(2) };
  try {
    b.claim(0x0a070002, true);
    // To 10.7.0.2, with an unfinished checksum: ours.
    a.tx(Int32Array.of(tcpFrame(ctxA, 0, 0)), 0, 1);
    const [f] = await receive(rig, 1);
    assert.ok(ctxB.pool.flags[f!]! & F_CSUM_PARTIAL, 'the checksum is known to be unfinished');
    assert.match(b.notice, /ethtool -K PEER tx off/);
    ctxB.settle(f!, DELIVERED);
    // An ARP request for it: ours; for another: the kernel's.
    for (const [last, ours] of [
      [2, true],
      [3, false],
    ] as const) {
      const arp = testFrame(ctxA, 60, 0);
      ctxA.pool.buf.set([8, 6, 0, 1, 8, 0, 6, 4, 0, 1], ctxA.pool.off[arp]! + 12);
      ctxA.pool.buf.set([10, 7, 0, last], ctxA.pool.off[arp]! + 38);
      a.tx(Int32Array.of(arp), 0, 1);
      const got = await receive(rig, 1);
      assert.is(got.length, ours ? 1 : 0);
      for (const one of got) ctxB.settle(one, DELIVERED);
    }
    b.claim(0x0a070002, false);
    a.tx(Int32Array.of(tcpFrame(ctxA, 0, 0)), 0, 1);
    assert.equal(await receive(rig, 1), []);
  } finally {
    a.close();
    b.close();
    pairOf().remove();
  }
});

add('xdp: two interfaces share the pool, and a received frame goes out through the other as it lies', async () => {
  const pair = pairOf();
  pair.add();
  pair.ip('link', 'add', 'vc', 'type', 'veth', 'peer', 'name', 'vd');
  for (const end of ['vc', 'vd']) pair.ip('link', 'set', end, 'up');
  const middle = newContext();
  const [ctxA, ctxB] = [newContext(), newContext()];
  const plain = (ctx: Context, name: string): PacketDevice =>
    pair.inside(() => new PacketDevice(ctx, openPacket({ name, offload: false, ring: true, mac: MAC_B })));
  const [a, d] = [plain(ctxA, 'va'), plain(ctxB, 'vd')];
  const [b, c] = pair.inside(() => {
    const [first] = openXdp({ name: 'vb', mode: 'auto', mac: MAC_B }, [placeOf(middle)]);
    const shared = placeOf(middle, first!.queues[0]!.fd);
    const [second] = openXdp({ name: 'vc', mode: 'auto', mac: MAC_B }, [shared]);
    return [new XdpDevice(middle, first!), new XdpDevice(middle, second!)] as const;
  });
  try {
    a.tx(Int32Array.of(testFrame(ctxA, 300, 5)), 0, 1);
    const [f] = await receive({ a, b, ctxA, ctxB: middle, carry: () => pause(2) }, 1);
    const slot = middle.pool.base(f!);
    assert.is(c.tx(Int32Array.of(f!), 0, 1), 1);
    const [g] = await receive({ a: c, b: d, ctxA: middle, ctxB, carry: () => pause(2) }, 1);
    assert.is(ctxB.pool.len[g!], 300);
    ctxB.settle(g!, DELIVERED);
    assert.is(c.prepareSleep(), true);
    assert.is(middle.pool.inUse, 0, `slot ${slot} is free again`);
    assertConserved(middle, 'in the middle');
  } finally {
    for (const device of [a, b, c, d]) device.close();
    pair.remove();
    pair.ip('link', 'del', 'vc');
  }
});

add('xdp: says why an interface cannot be opened', () => {
  const ctx = newContext();
  const text = (name: string, attempts = 1): string =>
    complaint(() => {
      const [handle] = openXdp({ name, mode: 'auto', mac: null }, [placeOf(ctx)], attempts);
      releaseXdp(handle!);
      closeMaps(handle!);
    });
  pairOf().add();
  assert.match(text('nowhere'), /^ENODEV: xdp nowhere: there is no interface nowhere/);
  const first = newContext();
  const device = plugIn(first, 'va', 'auto', null);
  assert.match(text('va'), /^EBUSY: xdp va: another XDP program or socket has it/);
  device.close();
  assert.is(text('va', PATIENT), 'opened');
  pairOf().remove();
});

test.run();

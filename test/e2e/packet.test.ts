/**
 * Packet sockets against the kernel: the device contract over the two ends of a veth pair, with a ring and without, and
 * what happens when the interface is set down, deleted and created again, or when we are late.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { load } from '../../src/config/load.ts';
import { PacketDevice } from '../../src/links/packet.ts';
import { closePacket, openPacket, type PacketOptions } from '../../src/links/packet-open.ts';
import { LinkError } from '../../src/links/syscall.ts';
import { openLinks } from '../../src/workers/link.ts';
import type { Context } from '../../stack/context.ts';
import { FATE_RECEIVED } from '../../stack/context.ts';
import { LINK_DOWN } from '../../stack/drop.ts';
import { DELIVERED } from '../../stack/verdict.ts';
import {
  assertConserved,
  deviceContract,
  MAC_A,
  MAC_B,
  newContext,
  type Rig,
  receive,
  testFrame,
} from '../contract/device.ts';
import { noCommands, noNamespaces, testUnless } from '../lib/privilege.ts';
import { VethPair } from '../lib/veth-pair.ts';

const add = testUnless(noNamespaces() ?? noCommands('ip'), test);

let shared: VethPair | undefined;
const pairOf = (): VethPair => {
  shared ??= new VethPair();
  return shared;
};

const LB_CONF = `
[vip]
ip = 10.9.0.1
ports = 80

[realserver]
count = 1
server1 = 10.9.0.2:80:1:00:00:00:00:00:00

[network]
gateway = 10.9.0.254
netmask = 255.255.255.0

[link wan]
kind = packet
device = lo
`;

/** Opens an end, as the main thread would, and drives it, as a worker would. */
function plugIn(ctx: Context, options: PacketOptions): PacketDevice {
  const handle = pairOf().inside(() => openPacket(options));
  // What goes to a worker has to survive the journey.
  return new PacketDevice(ctx, structuredClone(handle));
}

function pair(offload: boolean, ring: boolean): Rig & { a: PacketDevice; b: PacketDevice } {
  pairOf().add();
  const ctxA = newContext();
  const ctxB = newContext();
  const a = plugIn(ctxA, { name: 'va', offload, ring, mac: MAC_A });
  const b = plugIn(ctxB, { name: 'vb', offload, ring, mac: MAC_B });
  return {
    a,
    b,
    ctxA,
    ctxB,
    carry: () => pause(2),
    setMtu: (mtu) => pairOf().setMtu(mtu),
    cleanup: () => pairOf().remove(),
  };
}

deviceContract('packet', add, { bounded: false }, () => pair(true, true));
deviceContract('packet without offload', add, { bounded: false }, () => pair(false, true));
deviceContract('packet without a ring', add, { bounded: false }, () => pair(true, false));

const LATER_MS = 100;

/** A scene of its own on a pair; `later` lets the time pass after which a device looks at its interface. */
function scene(name: string, body: (rig: ReturnType<typeof pair>, later: () => void) => Promise<void> | void): void {
  add(`packet: ${name}`, async () => {
    const rig = pair(true, true);
    let now = 0;
    try {
      await body(rig, () => {
        now += LATER_MS * 1000;
        for (const [ctx, device] of [[rig.ctxA, rig.a] as const, [rig.ctxB, rig.b] as const]) {
          ctx.tick(now);
          const out = new Int32Array(64);
          const n = device.rx(out, 64);
          ctx.fate[FATE_RECEIVED]! += n;
          for (const f of out.subarray(0, n)) ctx.settle(f, DELIVERED);
        }
      });
      assertConserved(rig.ctxA, 'A');
      assertConserved(rig.ctxB, 'B');
    } finally {
      rig.a.close();
      rig.b.close();
      pairOf().remove();
    }
  });
}

async function passes(rig: Rig, length: number): Promise<void> {
  assert.is(rig.a.tx(Int32Array.of(testFrame(rig.ctxA, length, 1)), 0, 1), 1);
  const got = await receive(rig, 1);
  assert.equal(
    got.map((f) => rig.ctxB.pool.len[f]),
    [length],
  );
  for (const f of got) rig.ctxB.settle(f, DELIVERED);
}

scene('an interface that is set down costs what is sent meanwhile, and comes back', async (rig, later) => {
  pairOf().ip('link', 'set', 'va', 'down');
  assert.is(rig.a.tx(Int32Array.of(testFrame(rig.ctxA, 100, 1)), 0, 1), 1);
  assert.is(rig.ctxA.drops[LINK_DOWN], 1);
  later();
  assert.is(rig.a.up, false);
  assert.is(rig.b.up, false, 'the other end has no carrier');
  pairOf().ip('link', 'set', 'va', 'up');
  later();
  assert.ok(rig.a.up && rig.b.up);
  await passes(rig, 101);
});

scene('an interface that is deleted and created again is taken up again', async (rig, later) => {
  pairOf().ip('link', 'del', 'va');
  later();
  assert.not(rig.a.up || rig.b.up);
  const f = testFrame(rig.ctxA, 100, 1);
  assert.is(rig.a.tx(Int32Array.of(f), 0, 1), 0, 'the frame stays with the caller');
  rig.ctxA.settle(f, DELIVERED);
  pairOf().add();
  later();
  assert.ok(rig.a.up && rig.b.up);
  await passes(rig, 102);
});

add('packet: an interface with less MTU than IPv4 needs is refused', () => {
  const loaded = load(LB_CONF, 'lb.conf');
  if (!('model' in loaded)) throw new Error(JSON.stringify(loaded));
  pairOf().ip('link', 'set', 'lo', 'mtu', '67');
  const open = (): unknown => pairOf().inside(() => openLinks(loaded.model, [newContext().pool.share]));
  assert.throws(open, "packet lo: its MTU is 67 bytes, and IPv4 needs 68: 'ip link set lo mtu 1500'");
});

scene('frames that came while we were late are counted', (rig, later) => {
  const total = 6000;
  for (let i = 0; i < total; i += 50) {
    const frames = Int32Array.from({ length: 50 }, () => testFrame(rig.ctxA, 60, 0));
    assert.is(rig.a.tx(frames, 0, 50), 50);
  }
  for (let i = 0; i < 100; i++) later();
  const { rxFrames, missed } = rig.b.stats;
  assert.ok(missed >= total - 4096, `${missed} missed`);
  assert.is(rxFrames + missed, total);
});

scene('a changed MTU is followed; an interface that is away is no change', (rig, later) => {
  assert.is(rig.a.caps.mtu, 1500);
  for (const mtu of [1400, 1500, 9000]) {
    pairOf().ip('link', 'set', 'va', 'mtu', String(mtu));
    later();
    assert.is(rig.a.caps.mtu, mtu);
  }
  pairOf().remove();
  later();
  assert.is(rig.a.caps.mtu, 9000);
});

add('packet: says why an interface cannot be opened', () => {
  const options = { offload: true, ring: true, mac: null };
  const text = (name: string): string => {
    try {
      closePacket(pairOf().inside(() => openPacket({ ...options, name })));
      return 'opened';
    } catch (error) {
      assert.instance(error, LinkError);
      return `${(error as LinkError).code}: ${(error as LinkError).message}`;
    }
  };
  assert.match(text('nowhere'), /^ENODEV: packet nowhere: there is no interface nowhere/);
  assert.match(text('a/b'), /^EINVAL: packet: 'a\/b' cannot be an interface name/);
  assert.is(text('lo'), 'opened');
});

test.after(async () => {
  await shared?.close();
});

test.run();

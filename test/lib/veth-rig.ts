/**
 * Two devices at the ends of a veth pair: what the tests of links that are interfaces of the system have in common. All tests of a file
 * share one pair, made when it is first asked for.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { LinkError } from '../../src/links/syscall.ts';
import type { Context } from '../../stack/context.ts';
import { FATE_RECEIVED } from '../../stack/context.ts';
import type { Device } from '../../stack/netif/device.ts';
import { DELIVERED } from '../../stack/verdict.ts';
import { assertConserved, newContext, type Rig, receive, testFrame } from '../contract/device.ts';
import { VethPair } from './veth-pair.ts';

let shared: VethPair | undefined;
test.after(async () => shared?.close());

export function pairOf(): VethPair {
  shared ??= new VethPair();
  return shared;
}

/** Makes a device that drives an interface of the pair. */
export type PlugIn<D extends Device> = (ctx: Context, name: string) => D;
export type VethRig<A extends Device, B extends Device = A> = Rig & { a: A; b: B };

/** @param waitMs until what was sent has arrived */
export function vethRig<A extends Device, B extends Device>(a: PlugIn<A>, b: PlugIn<B>, waitMs = 2): VethRig<A, B> {
  pairOf().add();
  const [ctxA, ctxB] = [newContext(), newContext()];
  return {
    ...{ a: a(ctxA, 'va'), b: b(ctxB, 'vb'), ctxA, ctxB },
    carry: () => pause(waitMs),
    setMtu: (mtu) => pairOf().setMtu(mtu),
    cleanup: () => pairOf().remove(),
  };
}

/** After which a device looks at its interface again. */
const LOOK_US = 100_000;

/** Lets that time pass for each, and what has arrived go. */
export function later(ends: Iterable<readonly [Context, Device]>): void {
  const out = new Int32Array(64);
  for (const [ctx, device] of ends) {
    ctx.tick(ctx.now + LOOK_US);
    for (let n = out.length; n === out.length; ) {
      n = pairOf().inside(() => device.rx(out, out.length));
      ctx.fate[FATE_RECEIVED]! += n;
      for (const f of out.subarray(0, n)) ctx.settle(f, DELIVERED);
    }
  }
}

export const endsOf = ({ ctxA, a, ctxB, b }: Rig): (readonly [Context, Device])[] => [
  [ctxA, a],
  [ctxB, b],
];

/**
 * The body of a test with a rig of its own: at its end every frame is accounted for, and the pair is removed; `closed` looks at what the
 * devices have left.
 */
export function scene<R extends Rig>(
  make: () => R,
  body: (rig: R) => Promise<void> | void,
  closed: (rig: R) => void = () => {},
): () => Promise<void> {
  return async () => {
    const rig = make();
    try {
      await body(rig);
      assertConserved(rig.ctxA, 'A');
      assertConserved(rig.ctxB, 'B');
    } finally {
      rig.a.close();
      rig.b.close();
      pairOf().remove();
    }
    closed(rig);
  };
}

/** Sends one frame of `length` bytes from A, which must arrive at B. */
export async function passes(rig: Rig, length: number): Promise<void> {
  assert.is(rig.a.tx(Int32Array.of(testFrame(rig.ctxA, length, 1)), 0, 1), 1);
  const got = await receive(rig, 1);
  assert.equal(
    got.map((f) => rig.ctxB.pool.len[f]),
    [length],
  );
  for (const f of got) rig.ctxB.settle(f, DELIVERED);
}

/** A frame given to A while its interface is away. */
export function staysWithCaller(rig: Rig): void {
  const f = testFrame(rig.ctxA, 100, 1);
  assert.is(rig.a.tx(Int32Array.of(f), 0, 1), 0, 'the frame stays with the caller');
  rig.ctxA.settle(f, DELIVERED);
}

/** Code and message of the LinkError that `open` throws in the namespace; 'opened' where it throws none. */
export function complaint(open: () => void): string {
  try {
    pairOf().inside(open);
    return 'opened';
  } catch (error) {
    assert.instance(error, LinkError);
    return `${(error as LinkError).code}: ${(error as LinkError).message}`;
  }
}

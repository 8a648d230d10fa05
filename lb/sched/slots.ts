/**
 * The table of 256 slots behind dh and sh: a hashed address falls on a slot, a slot belongs to a server. Cheap, the
 * same on every director with the same list, and coarse: a change of the list deals most slots anew. Laid out and
 * hashed as in IPVS.
 */

import { hash32 } from '../hash/multiplicative.ts';
import type { SchedView } from './contract.ts';

const BITS = 8;
export const SLOTS = 1 << BITS;

/** Slot of an address, or of an address plus a port. @hot */
export function slotOf(value: number): number {
  return hash32(value, BITS);
}

/** One slot for each server in turn, round and round; of more than 256 servers the first 256. Ids, 0 = no server. Cold. */
export function dealEvenly(view: SchedView): Int32Array<ArrayBuffer> {
  return deal(view, () => 1);
}

/**
 * As many neighbouring slots for each server as it has weight, round and round; one at weight 0, so that what is drained
 * can come back to the place it had. Weights that sum up to more than the slots are scaled down to
 * them: IPVS lets the servers at the end of the list go without.
 */
export function dealByWeight(view: SchedView): Int32Array<ArrayBuffer> {
  const { dests, ids, count } = view;
  let sum = 0;
  for (let i = 0; i < count; i++) sum += Math.max(1, dests.weight[ids[i]!]!);
  const scale = Math.min(1, SLOTS / sum);
  return deal(view, (id) => Math.max(1, Math.floor(dests.weight[id]! * scale)));
}

function deal(view: SchedView, slotsOf: (id: number) => number): Int32Array<ArrayBuffer> {
  const slots = new Int32Array(SLOTS);
  const { ids, count } = view;
  if (count === 0) return slots;
  let i = 0;
  for (let at = 0; at < SLOTS; i = (i + 1) % count) {
    const end = Math.min(SLOTS, at + slotsOf(ids[i]!));
    slots.fill(ids[i]!, at, end);
    at = end;
  }
  return slots;
}

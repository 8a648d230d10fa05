/**
 * How loaded a server is, and who is least so. LVS's measure: an established connection weighs as much as 256 others.
 * @hot. Shared by the schedulers that go by load. Whether a server is eligible is asked last, only of those that would
 * win: that takes a quarter of the time. Products stay below 2^53: shares have 21 bits, loads 31 (a million connections and more).
 */

import { shareOf } from '../dest.ts';
import { type DestColumns, eligible, type FlowKey, type SchedView } from './contract.ts';

/** LVS: `ip_vs_dest_conn_overhead`. */
export function connLoad(dests: DestColumns, id: number): number {
  return dests.activeConns[id]! * 256 + dests.inactConns[id]!;
}

/** The eligible server with the least load per weight, of equals the first in the list; 0 = none. */
export function leastWeighted(view: SchedView, flow: FlowKey): number {
  const { dests, ids, count } = view;
  let least = 0;
  let load = 0;
  let weight = 0;
  for (let i = 0; i < count; i++) {
    const id = ids[i]!;
    const l = connLoad(dests, id);
    const w = shareOf(dests, id);
    if ((least === 0 || load * w > l * weight) && eligible(dests, id, flow)) {
      least = id;
      load = l;
      weight = w;
    }
  }
  return least;
}

/**
 * The eligible server on which a new connection has the shortest expected delay, (established + 1) / weight; of
 * equals the first in the list; 0 = none.
 */
export function shortestDelay(view: SchedView, flow: FlowKey): number {
  const { dests, ids, count } = view;
  let least = 0;
  let conns = 0;
  let weight = 0;
  for (let i = 0; i < count; i++) {
    const id = ids[i]!;
    const c = dests.activeConns[id]! + 1;
    const w = shareOf(dests, id);
    if ((least === 0 || conns * w > c * weight) && eligible(dests, id, flow)) {
      least = id;
      conns = c;
      weight = w;
    }
  }
  return least;
}

/**
 * Whether a server has more established connections than its weight while another, known to the list, has less than
 * half of its own (LVS: `is_overloaded` of lblc and lblcr).
 */
export function relievable(view: SchedView, id: number): boolean {
  const { dests, ids, count } = view;
  if (dests.activeConns[id]! <= dests.weight[id]!) return false;
  for (let i = 0; i < count; i++) {
    const other = ids[i]!;
    if (dests.activeConns[other]! * 2 < dests.weight[other]!) return true;
  }
  return false;
}

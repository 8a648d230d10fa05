/** Least connections: the server with the lowest load, whatever its weight (except 0); of equals the first. */

import { RAMP_STEPS } from '../dest.ts';
import { eligible, type FlowKey, type SchedView } from './contract.ts';
import { connLoad } from './load.ts';
import { stateless } from './stateless.ts';

/** @hot */
function leastConnections(view: SchedView, flow: FlowKey): number {
  const { dests, ids, count } = view;
  let least = 0;
  let load = 0;
  let part = 0;
  for (let i = 0; i < count; i++) {
    const id = ids[i]!;
    const l = connLoad(dests, id);
    // A server in slow start counts as loaded in proportion to what it lacks.
    const p = dests.ramp[id]! || RAMP_STEPS;
    if ((least === 0 || l * part < load * p) && eligible(dests, id, flow)) {
      least = id;
      load = l;
      part = p;
    }
  }
  return least;
}

export const lc = stateless(
  'lc',
  'least connections: the server with the fewest, whatever its weight',
  leastConnections,
);

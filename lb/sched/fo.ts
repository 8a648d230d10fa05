/** Fail over: every connection to the server of highest weight; the next one when that fails. Of equals the first. */

import { eligible, type FlowKey, type SchedView } from './contract.ts';
import { stateless } from './stateless.ts';

/** @hot */
function heaviest(view: SchedView, flow: FlowKey): number {
  const { dests, ids, count } = view;
  let highest = 0;
  let weight = 0;
  for (let i = 0; i < count; i++) {
    const id = ids[i]!;
    if (dests.weight[id]! > weight && eligible(dests, id, flow)) {
      highest = id;
      weight = dests.weight[id]!;
    }
  }
  return highest;
}

export const fo = stateless(
  'fo',
  'fail over: all to the server of highest weight while it is there',
  heaviest,
  undefined,
  'connections',
);

/**
 * Overflow: the server of highest weight whose established connections do not exceed its weight. One with weight w
 * therefore fills up to w + 1, then the next is filled; when all are full, connections are refused.
 */

import { eligible, type FlowKey, type SchedView } from './contract.ts';
import { stateless } from './stateless.ts';

/** @hot */
function overflow(view: SchedView, flow: FlowKey): number {
  const { dests, ids, count } = view;
  let highest = 0;
  let weight = 0;
  for (let i = 0; i < count; i++) {
    const id = ids[i]!;
    const w = dests.weight[id]!;
    if (w > weight && dests.activeConns[id]! <= w && eligible(dests, id, flow)) {
      highest = id;
      weight = w;
    }
  }
  return highest;
}

export const ovf = stateless(
  'ovf',
  'overflow: fill the server of highest weight up to its weight, then the next',
  overflow,
  'a server with more established connections than its weight is full',
  'connections',
);

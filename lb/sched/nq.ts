/** Never queue: the first server without an established connection, whatever its weight, else as sed. */

import { eligible, type FlowKey, type SchedView } from './contract.ts';
import { shortestDelay } from './load.ts';
import { stateless } from './stateless.ts';

/** @hot */
function neverQueue(view: SchedView, flow: FlowKey): number {
  const { dests, ids, count } = view;
  for (let i = 0; i < count; i++) {
    const id = ids[i]!;
    if (dests.activeConns[id] === 0 && eligible(dests, id, flow)) return id;
  }
  return shortestDelay(view, flow);
}

export const nq = stateless('nq', 'never queue: the first idle server, else the shortest expected delay', neverQueue);

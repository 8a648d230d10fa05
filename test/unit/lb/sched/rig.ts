/** One service with a scheduler, for tests that speak of servers by number: server n is 10.0.0.n:80. */

import { FlowKey, type SchedOptions } from '../../../../lb/sched/index.ts';
import type { ServiceTable } from '../../../../lb/service.ts';
import { addrOf, makeServices } from '../../../lib/services.ts';

export interface Rig {
  readonly services: ServiceTable;
  readonly service: number;
  readonly flow: FlowKey;
  /** The number of the server chosen for `flow`, 0 = none; nothing is counted. */
  pick(): number;
  /** Opens an established connection for `flow` at the server chosen; returns its number, or 0. */
  hold(): number;
  /** The servers of the next n connections, `pick`ed or `hold`, in one line. */
  run(n: number, one?: () => number): string;
  /** The row of server n. */
  row(n: number): number;
  /** What a server is doing: established and other connections. */
  load(n: number, active: number, inactive?: number): void;
  reweigh(n: number, weight: number): void;
}

export interface RigOptions {
  readonly options?: SchedOptions;
  readonly worker?: number;
  readonly workers?: number;
}

/** Servers 1, 2, ... of these weights, in this order, given at once. */
export function rig(scheduler: string, weights: readonly number[], given: RigOptions = {}): Rig {
  const { options = {}, ...sizes } = given;
  const services = makeServices(sizes);
  const service = services.add({ proto: 6, vip: addrOf(0xff00), port: 80, scheduler, options });
  const spec = (n: number, weight: number) => ({ addr: addrOf(n), port: 80, weight });
  services.setDests(
    service,
    weights.map((weight, i) => spec(i + 1, weight)),
  );
  const { dests } = services;
  const flow = new FlowKey();
  const numberOf = (dest: number): number => (dest === 0 ? 0 : dests.addr[dest]! - addrOf(0));
  const row = (n: number): number => dests.find(service, addrOf(n), 80);
  const pick = (): number => numberOf(services.schedule(service, flow));
  return {
    services,
    service,
    flow,
    row,
    pick,
    hold() {
      const dest = services.schedule(service, flow);
      if (dest === 0) return 0;
      services.connOpen(dest);
      dests.connActive(dest);
      return numberOf(dest);
    },
    run: (n, one = pick) => Array.from({ length: n }, one).join(' '),
    load(n, active, inactive = 0) {
      dests.activeConns[row(n)] = active;
      dests.inactConns[row(n)] = inactive;
    },
    reweigh: (n, weight) => {
      services.editDest(service, spec(n, weight));
    },
  };
}

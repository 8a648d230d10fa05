/** A scheduler of one's own, for `scheduler = ./my-scheduler.ts`: a client comes to the server its address falls on, or to the next one. */
import { eligible, type FlowKey, type SchedulerFactory } from 'tsvs/scheduler';

const factory: SchedulerFactory = {
  name: 'my-scheduler',
  summary: 'address of the client modulo the number of servers',
  options: {},
  create: (view) => ({
    name: 'my-scheduler',
    update() {},
    pick(flow: FlowKey): number {
      for (let i = 0; i < view.count; i++) {
        const id = view.ids[((flow.src >>> 0) + i) % view.count]!;
        if (eligible(view.dests, id, flow)) return id;
      }
      return 0;
    },
  }),
};

export default factory;

/**
 * The other side of a soak: a program on the kernel's stack that takes orders from its parent (messages.ts), listens and
 * connects. Started by rig.ts in a namespace of its own.
 */
import { connect, createServer, type Server, type Socket } from 'node:net';
import type { Order, Report } from './messages.ts';
import { PeerEnd } from './peer-end.ts';
import { type ConnPlan, type Plans, planOf } from './plan.ts';

const BACKLOG = 1024;

let server: Server | null = null;
let plans: Plans = { seed: 0, longest: 0 };

const report = (message: Report): void => {
  process.send!(message);
};

function attach(socket: Socket, plan: ConnPlan | null): void {
  let ports = { tsvsPort: 0, kernelPort: 0 };
  const note = (): void => {
    ports = { tsvsPort: socket.remotePort ?? 0, kernelPort: socket.localPort ?? 0 };
  };
  if (socket.connecting) socket.once('connect', note);
  else note();
  new PeerEnd(socket, plans, plan, (outcome) => report({ type: 'end', outcome, ...ports }));
}

process.on('message', (order: Order) => {
  switch (order.type) {
    case 'listen':
      server?.close();
      plans = order.plans;
      server = createServer({ allowHalfOpen: true }, (socket) => attach(socket, null));
      server.listen({ host: order.address, port: order.port, backlog: BACKLOG }, () => report({ type: 'listening' }));
      break;
    case 'open': {
      const { address, port } = order;
      attach(connect({ host: address, port, allowHalfOpen: true }), planOf(plans, order.n));
      break;
    }
  }
});
process.on('disconnect', () => process.exit());

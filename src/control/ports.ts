/** GET /v1/ports: how many ports the local addresses of layer 4 have given away, over all workers. Called by server.ts. */
import { formatIpv4 } from '../config/address.ts';

import type { Asking, PortsOf } from '../workers/questions.ts';
import type { PortsReply } from './api-network.ts';

/** Throws when a worker cannot say. */
export async function askPorts(worker: Asking, workers: number): Promise<PortsReply> {
  const answers = await Promise.all(Array.from({ length: workers }, (_, w) => worker.ask({ ask: 'ports' }, w)));
  const sums = new Map<number, PortsOf>();
  for (const one of answers.flat()) {
    const { used, misses } = sums.get(one.addr) ?? { used: 0, misses: 0 };
    sums.set(one.addr, { ...one, used: used + one.used, misses: misses + one.misses });
  }
  const addresses = [...sums.values()].map(({ addr, used, size, misses }) => ({
    ...{ address: formatIpv4(addr), used, free: size - used, misses },
  }));
  return { addresses };
}

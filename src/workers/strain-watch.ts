/**
 * Watches the bounds of a worker: when one is met (frames came faster than they are read, the pool is empty, SYNs are answered
 * with cookies, a table or the local ports are used up), somebody is told at once, and then at most every ten seconds, with the
 * number since. Nothing has to be done about it here: each bound holds by itself and is left by itself. Cold; the worker asks at
 * each housekeeping.
 */
import type { L4 } from '../../lb/l4.ts';
import type { TcpProxy } from '../../lb/l7/tcp-proxy.ts';
import { POOL_EMPTY, TCP_TABLE_FULL } from '../../stack/drop.ts';
import type { Host } from '../../stack/host.ts';
import type { Device } from '../../stack/netif/device.ts';
import type { WorkerEvent } from './events.ts';

/** Which bound, by the name of its counter or drop reason. */
export type Strain =
  | 'port.missed'
  | 'pool_empty'
  | 'tcp.cookiesSent'
  | 'tcp.portsExhausted'
  | 'tcp_table_full'
  | 'proxy.tableFull'
  | 'l4.tableFull'
  | 'l4.noLocalPort';

export interface Bound {
  readonly what: Strain;
  /** The link it belongs to; empty: none. */
  readonly link: string;
  /** How often it has been met; never falls. */
  count(): number;
}

/** What bounds there are, in front of these links. */
export function boundsOf(devices: readonly Device[], host: Host, proxy: TcpProxy, l4: L4 | null): Bound[] {
  const { drops } = host.ctx;
  const bound = (what: Strain, count: () => number, link = ''): Bound => ({ what, link, count });
  return [
    ...devices.map(({ name, stats }) => bound('port.missed', () => stats.missed, name)),
    bound('pool_empty', () => drops[POOL_EMPTY]!),
    bound('tcp.cookiesSent', () => host.tcp.stats.cookiesSent),
    bound('tcp.portsExhausted', () => host.tcp.stats.portsExhausted),
    bound('tcp_table_full', () => drops[TCP_TABLE_FULL]!),
    bound('proxy.tableFull', () => proxy.stats.tableFull),
    bound('l4.tableFull', () => l4?.core.stats.tableFull ?? 0),
    bound('l4.noLocalPort', () => l4?.core.stats.noLocalPort ?? 0),
  ];
}

const QUIET_MS = 10_000;

export class StrainWatch {
  private readonly bounds: readonly Bound[];
  private readonly tell: (event: WorkerEvent) => void;
  /** By bound: count when last told, and the tick of that; a bound never told has no tick. */
  private readonly told: number[];
  private readonly toldMs: (number | null)[];

  constructor(bounds: readonly Bound[], tell: (event: WorkerEvent) => void) {
    this.bounds = bounds;
    this.tell = tell;
    this.told = bounds.map((bound) => bound.count());
    this.toldMs = bounds.map(() => null);
  }

  look(nowMs: number): void {
    for (const [i, { what, link, count }] of this.bounds.entries()) {
      const now = count();
      const since = now - this.told[i]!;
      if (since === 0) continue;
      const last = this.toldMs[i]!;
      if (last !== null && ((nowMs - last) | 0) < QUIET_MS) continue;
      this.told[i] = now;
      this.toldMs[i] = nowMs;
      this.tell({ type: 'strain', what, link, count: since });
    }
  }
}

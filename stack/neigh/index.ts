/**
 * The neighbour layer put together: the parts know each other only by what is given to them here.
 *
 * ```
 *   ip output --> output ----- find ----> table <---- snapshot (any thread)
 *                   |  \                    ^
 *                   |   queue               |
 *                   v                       |
 *                  nud <---- learned ------ arp <-- ethernet input
 *                   |                       ^
 *                   '------- ask -----------'        announcer --> arp
 * ```
 */
import type { Context } from '../context.ts';
import type { LocalAddresses } from '../inetaddr/addr.ts';
import type { Timers } from '../timer/timers.ts';
import { Announcer } from './announce.ts';
import { Arp, type OnConflict } from './arp.ts';
import type { Link } from './link.ts';
import { DEFAULT_NUD, Nud, type NudConfig } from './nud.ts';
import { Neighbours, type OnUnreachable } from './output.ts';
import { DEFAULT_QUEUE_PER_NEIGHBOUR, DEFAULT_QUEUE_TOTAL, WaitQueue } from './queue.ts';
import { DEFAULT_MAX_NEIGHBOURS, NeighTable } from './table.ts';

export interface NeighConfig {
  /** Entries over all ports. */
  readonly maxNeighbours: number;
  /** Frames that may wait for one address, and for all. */
  readonly queuePerNeighbour: number;
  readonly queueTotal: number;
  readonly nud: NudConfig;
}

export const DEFAULT_NEIGH: NeighConfig = {
  maxNeighbours: DEFAULT_MAX_NEIGHBOURS,
  queuePerNeighbour: DEFAULT_QUEUE_PER_NEIGHBOUR,
  queueTotal: DEFAULT_QUEUE_TOTAL,
  nud: DEFAULT_NUD,
};

/** What the layer tells those above it. */
export interface NeighEvents {
  readonly onUnreachable: OnUnreachable;
  readonly onConflict: OnConflict;
}

export interface Neigh {
  readonly table: NeighTable;
  readonly nud: Nud;
  readonly arp: Arp;
  readonly announcer: Announcer;
  readonly queue: WaitQueue;
  readonly output: Neighbours;
}

/** Reserves `maxNeighbours` + ANNOUNCE_SLOTS timers. `sab` (by default one of its own) holds the table. */
export function createNeigh(
  ctx: Context,
  link: Link,
  addresses: LocalAddresses,
  timers: Pick<Timers, 'range'>,
  events: NeighEvents,
  config: NeighConfig = DEFAULT_NEIGH,
  sab = new SharedArrayBuffer(NeighTable.bytes(config.maxNeighbours)),
  byteOffset = 0,
): Neigh {
  const table = NeighTable.create(sab, byteOffset, ctx.random, config.maxNeighbours);
  const queue = new WaitQueue(ctx.pool, table, config.queuePerNeighbour, config.queueTotal);
  const nud = new Nud(ctx, table, timers, config.nud);
  const output = new Neighbours(ctx, link, table, queue, nud, events.onUnreachable);
  const arp = new Arp(ctx, link, addresses, nud, events.onConflict);
  nud.attach(arp, output);
  const announcer = new Announcer(ctx, arp, timers);
  addresses.listen(announcer);
  return { table, nud, arp, announcer, queue, output };
}

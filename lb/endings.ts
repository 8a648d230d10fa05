/**
 * When connections of layer 4 end before their time, and what their end brings with it.
 *
 * | what                                            | ends                                                              |
 * | ----------------------------------------------- | ----------------------------------------------------------------- |
 * | the client's bare SYN                           | one that is over, or half over while its server takes no new ones |
 * | a packet of the client, server drained or gone  | any, where the service says so (`policy`)                         |
 *
 * Called by lb/core.ts, and by the tables (`ended`).
 * @hot
 */
import type { Context } from '../stack/context.ts';
import type { Ip4Output } from '../stack/ipv4/output.ts';
import type { ConnTable } from './conn.ts';
import * as c from './conn-row.ts';
import type { CoreStats } from './core-stats.ts';
import { AVAILABLE, type DestTable, DRAINED, MAINT } from './dest.ts';
import type { Opener } from './opener.ts';
import * as tcp from './proto/tcp.ts';
import { resetBoth } from './xmit/reset.ts';

/** Bits of `policy`: a connection ends with its next packet when its server is drained, or gone; or only when it is gone. */
export const EXPIRE_QUIESCENT = 1;
export const EXPIRE_REMOVED = 2;

export class Endings {
  /** By service: EXPIRE_QUIESCENT, EXPIRE_REMOVED. */
  readonly policy: Uint8Array;
  private readonly ctx: Context;
  private readonly out: Ip4Output;
  private readonly dests: DestTable;
  private readonly opener: Opener;
  private readonly stats: CoreStats;

  constructor(ctx: Context, out: Ip4Output, dests: DestTable, opener: Opener, maxServices: number) {
    this.policy = new Uint8Array(maxServices + 1);
    this.ctx = ctx;
    this.out = out;
    this.dests = dests;
    this.opener = opener;
    this.stats = opener.stats;
  }

  /** Whether a fresh SYN may take the tuple: the connection has ended, or it has half and its server takes no more. */
  isOver(state: number, dest: number): boolean {
    return tcp.isReusable(state) || (!this.takesConnections(dest) && tcp.isReusableElsewhere(state));
  }

  /** Quiescent is who was removed, has weight 0 or was drained by the operator; who fails checks keeps what he has. */
  private takesConnections(dest: number): boolean {
    const { flags, weight } = this.dests;
    return (flags[dest] & (AVAILABLE | DRAINED | MAINT)) === AVAILABLE && weight[dest] > 0;
  }

  /** Whether connections of the service are to leave the server. */
  isQuiescent(service: number, dest: number): boolean {
    const policy = this.policy[service];
    if (policy === 0 || this.takesConnections(dest)) return false;
    return (policy & EXPIRE_QUIESCENT) !== 0 || (this.dests.flags[dest] & AVAILABLE) === 0;
  }

  /** Ends the connection when its server is drained or gone and its service does not wait. */
  quiesces(table: ConnTable, row: number, dest: number): boolean {
    if (!this.isQuiescent(table.service(row), dest)) return false;
    this.stats.quiesced += 1;
    table.close(row, c.END_QUIESCED);
    return true;
  }

  /** A connection ends: what it held is given back, and who still believes in it is told, with `isTcp`. */
  ended(table: ConnTable, row: number, end: number, isTcp: boolean): void {
    const { rows } = table;
    const at = row << c.ROW_SHIFT;
    const meta = rows[at + c.META];
    if (end === c.END_EXPIRED) this.stats.expired += 1;
    const believed = end === c.END_EXPIRED || end === c.END_QUIESCED || end === c.END_FLUSHED;
    if (isTcp && believed && (meta & c.F_SERVER_SEEN) !== 0 && table.state(row) === tcp.ESTABLISHED) {
      this.stats.resets += resetBoth(this.ctx, this.out, rows, at);
    }
    if ((meta & c.F_LOCAL_PORT) !== 0) this.opener.releasePort(rows, at);
    this.dests.connClose(rows[at + c.DEST], table.isActive(row));
  }
}

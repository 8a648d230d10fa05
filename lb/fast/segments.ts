/**
 * What the short cut does for TCP alone: states, what the server has said last, and options. A segment that opens or closes its
 * connection may arrive in one burst with others of it, so where there is one in a burst, all are taken in their order, each
 * judged by what those before it have changed, as lb/core.ts does.
 *
 * Called by lb/fast/index.ts.
 * @hot
 */
import type { Context } from '../../stack/context.ts';
import { ACK, OFFSET_FLAGS, PORTS, SEQ } from '../../stack/ipv4/plain.ts';
import { swap32 } from '../../stack/wire/bytes.ts';
import { IPV4_LEN } from '../../stack/wire/ipv4.ts';
import { SYN } from '../../stack/wire/tcp.ts';
import type { ConnTable } from '../conn.ts';
import * as c from '../conn-row.ts';
import type { Core } from '../core.ts';
import { believed, heard } from '../heard.ts';
import { ESTABLISHED } from '../proto/tcp.ts';
import { swapped } from '../xmit/rewrite.ts';
import { clampMss, shiftSack } from '../xmit/tcp.ts';
import type { TableBurst } from './burst.ts';

export class Segments {
  private readonly ctx: Context;
  private readonly core: Core;
  private readonly table: ConnTable;
  private readonly mss: Int32Array;

  /** `mss`: largest segment size let through in a SYN, by service; 0 = any. */
  constructor(ctx: Context, core: Core, table: ConnTable, mss: Int32Array) {
    this.ctx = ctx;
    this.core = core;
    this.table = table;
    this.mss = mss;
  }

  /** States of the burst's connections, and the time of those that may have another one. */
  move(burst: TableBurst): void {
    const { word, hits, tells, n } = burst;
    const { core } = this;
    const { i32 } = this.ctx.pool;
    const { rows } = this.table;
    for (let k = 0; k < n; k++) {
      const hit = hits[k];
      if (hit === 0) continue;
      const row = c.rowOf(hit);
      const at = row << c.ROW_SHIFT;
      const w = word[k];
      const dir = c.dirOf(hit);
      if (dir === c.OUT) this.heard(burst, k, at, w);
      // What told nothing may do so by now, when one before it has changed the state.
      if (tells[k] === 0 && (rows[at + c.META] & c.STATE_MASK) === ESTABLISHED) continue;
      const flags = i32[w + OFFSET_FLAGS] >>> 8;
      const telling = dir === c.IN ? believed(rows, at, flags, swap32(i32[w + SEQ])) : flags;
      core.stepTcp(row, at, dir, rows[at + c.DEST], telling);
    }
  }

  /** Remembers what the server has said last. Precondition: the segment has ACK. */
  heard(burst: TableBurst, k: number, at: number, w: number): void {
    const { i32 } = this.ctx.pool;
    const { rows } = this.table;
    const control = i32[w + OFFSET_FLAGS];
    const data = burst.len[k] - IPV4_LEN - ((control & 0xf0) >> 2);
    // FIN and SYN, the two lowest flags, take a number each.
    const numbers = ((control >>> 8) & 1) + ((control >>> 9) & 1);
    heard(rows, at, swap32(i32[w + SEQ]), data + numbers, swap32(i32[w + ACK]));
  }

  /** What a client must not see as the server wrote it: SACK edges, the segment size of a SYN. Returns the change. */
  options(at: number, w: number, delta: number): number {
    const { buf, i32 } = this.ctx.pool;
    const l4 = (w + PORTS) << 2;
    let change = delta === 0 ? 0 : shiftSack(buf, l4, -delta | 0);
    if (((i32[w + OFFSET_FLAGS] >>> 8) & SYN) !== 0) {
      change += clampMss(buf, l4, this.mss[this.table.rows[at + c.SERVICE_HOP] >>> 16]);
    }
    // The sums here are of words in machine order.
    return swapped(change);
  }
}

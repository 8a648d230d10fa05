/**
 * Fragmentation of an IPv4 packet for a link with a smaller MTU (RFC 791 §3.2, RFC 1812 §5.2.6).
 *
 * Each fragment is a created frame with a copy of its share of the data: all but the last carry a multiple of eight
 * bytes, the first carries all options, the others those whose type has the copied flag. The packet may itself be a
 * fragment: offsets add up and the last piece keeps its MF bit.
 *
 * Ownership: the packet stays the caller's. DELIVERED says that all of it went on in fragments; DROP|reason that some of
 * it did not (fragments already sent are as lost as the rest, and time out at the receiver). Fragments belong to `send`,
 * and are settled here as it says.
 * Called by ipv4/output, which has checked that DF is not set and that the packet is no GSO frame.
 * @hot
 */
import type { Context } from '../context.ts';
import { IP_TOO_BIG, POOL_EMPTY } from '../drop.ts';
import { F_CSUM_PARTIAL, F_CSUM_VALID, HEADROOM } from '../mem/frame-pool.ts';
import { finishChecksum } from '../netif/gso.ts';
import type { FrameId, Verdict } from '../types.ts';
import { DELIVERED, DROP, isDrop } from '../verdict.ts';
import { ETH_LEN } from '../wire/ethernet.ts';
import * as ip from '../wire/ipv4.ts';
import { OPT_COPIED, OPT_END, OPT_NOP } from './options.ts';

/** Takes a fragment that is ready to leave, `off` and l3 at its IP header. STOLEN when it went on. */
export type SendFragment = (fragment: FrameId) => Verdict;

const START = HEADROOM + ETH_LEN;
const HEADER_MAX = 60;

export class Fragmenter {
  /** Packets split, fragments made. */
  packets = 0;
  fragments = 0;

  private readonly ctx: Context;
  /** Header of the second and later fragments. */
  private readonly later = new Uint8Array(HEADER_MAX);

  constructor(ctx: Context) {
    this.ctx = ctx;
  }

  /** Splits the packet `f` (`off` at its IP header; payload slice allowed) into fragments of at most `mtu` bytes. */
  fragment(f: FrameId, mtu: number, send: SendFragment): Verdict {
    const { ctx } = this;
    const { pool } = ctx;
    const { buf } = pool;
    // Only the receiver of the whole could check a partial checksum, and it cannot finish it.
    if ((pool.flags[f]! & F_CSUM_PARTIAL) !== 0) finishChecksum(pool, f);
    const l3 = pool.off[f]!;
    const header = ip.headerLength(buf, l3);
    const data = ip.totalLength(buf, l3) - header;
    const field = ip.fragmentField(buf, l3);
    const start = (field & ip.OFFSET_MASK) << 3;
    // A fragment must fit the link and a small slot: with jumbo links it stays below what would be allowed.
    const room = Math.min(mtu, pool.config.slotBytes - START);
    const laterHeader = this.makeLaterHeader(l3, header);
    if (room - header < 8) return DROP | IP_TOO_BIG;

    let done = 0;
    while (done < data) {
      const own = done === 0 ? header : laterHeader;
      let n = data - done;
      if (n > room - own) n = (room - own) & ~7;
      const more = done + n < data || (field & ip.MF) !== 0;
      const g = ctx.create();
      if (g === 0) return DROP | POOL_EMPTY;
      const at = pool.base(g) + START;
      if (done === 0) buf.copyWithin(at, l3, l3 + header);
      else for (let i = 0; i < own; i++) buf[at + i] = this.later[i]!;
      this.copyData(f, header + done, n, at + own);
      ip.setTotalLength(buf, at, own + n);
      ip.setFragmentField(buf, at, (more ? ip.MF : 0) | ((start + done) >> 3));
      ip.fillChecksum(buf, pool.i32, at);
      pool.off[g] = at;
      pool.len[g] = own + n;
      pool.l3[g] = at;
      pool.l4[g] = at + own;
      pool.port[g] = pool.port[f]!;
      pool.hash[g] = pool.hash[f]!;
      pool.flags[g] = pool.flags[f]! & ~(F_CSUM_PARTIAL | F_CSUM_VALID);
      this.fragments += 1;
      const verdict = send(g);
      ctx.settle(g, verdict);
      if (isDrop(verdict)) return verdict;
      done += n;
    }
    this.packets += 1;
    return DELIVERED;
  }

  /** Copies bytes `[from, from + n)` of the packet, counted from its IP header, out of linear part and slice. */
  private copyData(f: FrameId, from: number, n: number, to: number): void {
    const { pool } = this.ctx;
    const { buf } = pool;
    const linear = pool.len[f]!;
    if (from < linear) {
      const piece = Math.min(n, linear - from);
      const at = pool.off[f]! + from;
      buf.copyWithin(to, at, at + piece);
      from += piece;
      to += piece;
      n -= piece;
    }
    if (n === 0) return;
    const at = pool.fragOff[f]! + from - linear;
    buf.copyWithin(to, at, at + n);
  }

  /** Fills `later` from the header at `l3`; returns its length. Options were validated when the packet came or was made. */
  private makeLaterHeader(l3: number, header: number): number {
    const { buf } = this.ctx.pool;
    const { later } = this;
    for (let i = 0; i < ip.IPV4_LEN; i++) later[i] = buf[l3 + i]!;
    let n = ip.IPV4_LEN;
    const end = l3 + header;
    for (let at = l3 + ip.IPV4_LEN; at < end; ) {
      const type = buf[at]!;
      if (type === OPT_END) break;
      const length = type === OPT_NOP ? 1 : buf[at + 1]!;
      // A list that was let through broken is cut where it breaks, rather than walked beyond the header.
      if (length === 0 || at + length > end) break;
      if ((type & OPT_COPIED) !== 0) for (let i = 0; i < length; i++) later[n++] = buf[at + i]!;
      at += length;
    }
    while ((n & 3) !== 0) later[n++] = OPT_END;
    later[0] = 0x40 | (n >> 2);
    return n;
  }
}

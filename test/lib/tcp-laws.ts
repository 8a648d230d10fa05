/**
 * What must hold of a TCP while it works, in simulations and against the kernel: the counters of every control block agree
 * with its queues, frames are conserved, no connection stands still.
 */
import * as assert from 'uvu/assert';
import type { Host } from '../../stack/host.ts';
import { STATE_NAMES } from '../../stack/tcp/state.ts';
import type { Tcb } from '../../stack/tcp/tcb.ts';
import { outstanding, type SimHost } from './sim.ts';

/** What must hold of every control block whenever its host rests. */
export function checkBlock(host: Host, tcb: Tcb): void {
  const { segments } = host.tcp;
  const { pool } = host.ctx;
  let sacked = 0;
  let lost = 0;
  let retrans = 0;
  let queued = 0;
  let sentBytes = 0;
  let seq = -1;
  let passed = false;
  let last = 0;
  for (let s = tcb.sndHead; s !== 0; s = segments.next[s]!) {
    if (s === tcb.sndNext) passed = true;
    const flags = segments.flags[s]!;
    const size = segments.len[s]! + (flags & 1);
    if (seq !== -1) assert.is(segments.seq[s], seq, 'descriptors are contiguous');
    seq = segments.end(s);
    queued += segments.len[s]!;
    if (!passed) sentBytes += size;
    assert.is((flags & 4) !== 0, !passed, 'sent before sndNext, unsent from there');
    if (flags & 8) sacked += size;
    if (flags & 16) lost += size;
    if (flags & 32) retrans += size;
    assert.ok(!(flags & 8 && flags & 48), 'sacked is neither lost nor sent again');
    assert.ok(!(flags & 32) || flags & 16, 'sent again only if lost');
    last = s;
  }
  assert.is(tcb.sndTail, last, 'tail');
  assert.is(tcb.sndQueued, queued, 'sndQueued');
  assert.is(tcb.sackedOut, sacked, 'sackedOut');
  assert.is(tcb.lostOut, lost, 'lostOut');
  assert.is(tcb.retransOut, retrans, 'retransOut');
  if (tcb.sndHead !== 0) {
    assert.is(segments.seq[tcb.sndHead], tcb.sndUna, 'the queue begins at SND.UNA');
    assert.is(seq, tcb.sndEnd, 'and ends at sndEnd');
    assert.is((tcb.sndUna + sentBytes) | 0, tcb.sndNxt, 'SND.NXT');
  }
  let unread = 0;
  for (let f = tcb.rcvHead; f !== 0; f = pool.next[f]!) unread += pool.len[f]!;
  assert.is(tcb.rcvQueued, unread, 'rcvQueued');
  let ofo = 0;
  let count = 0;
  let edge = tcb.rcvNxt;
  for (let f = tcb.ofoHead; f !== 0; f = pool.next[f]!) {
    const gap = (pool.seq[f]! - edge) | 0;
    assert.ok(count === 0 ? gap > 0 : gap >= 0, 'out-of-order frames are sorted, disjoint and beyond RCV.NXT');
    edge = (pool.seq[f]! + pool.len[f]!) | 0;
    ofo += pool.len[f]!;
    count++;
  }
  assert.is(tcb.ofoBytes, ofo, 'ofoBytes');
  assert.is(tcb.ofoCount, count, 'ofoCount');
  if (tcb.state >= 3) assert.ok(((tcb.rcvAdv - tcb.rcvNxt) | 0) >= -1, 'RCV.ADV is not behind RCV.NXT');
}

/** Conservation of one host's frames; `resting` = its devices hold none. */
export function checkFrames(h: SimHost, resting: boolean): void {
  const held = Object.values(h.host.held()).reduce((a, b) => a + b, 0);
  assert.is(outstanding(h.ctx), h.ctx.pool.inUse, 'received + created = sent + delivered + dropped + in use');
  if (resting) assert.is(held, h.ctx.pool.inUse, `in use = held: ${JSON.stringify(h.host.held())}`);
  else assert.ok(held <= h.ctx.pool.inUse, `held <= in use: ${JSON.stringify(h.host.held())}`);
}

/**
 * Watches for connections that stand still. Progress is a move of SND.UNA, of RCV.NXT, of the state, or the peer's window shutting
 * or opening (what a slow reader delays is not the transfer's fault, but the probe's answer is). A connection with
 * anything unacknowledged or unsent must make some within twice its retransmission time-out. The time-out that counts is
 * the present one, backed off: when the retransmission is lost, too, it has doubled, and the sum of all time-outs before
 * stays below twice the last (r + 2r + ... + 2^k r < 2 * 2^k r). `slackMs` is the granularity of timers and steps.
 */
export class StallDetector {
  /** Longest stand, as a fraction of what is allowed, and in ms. */
  worst = 0;
  worstMs = 0;
  private readonly since = new Map<Tcb, { mark: string; at: number }>();
  private readonly slackMs: number;

  constructor(slackMs = 20) {
    this.slackMs = slackMs;
  }

  look(host: Host, nowMs: number): void {
    for (const tcb of host.tcp.blocks) {
      if (tcb === null) continue;
      // One that waits for a frame or descriptor others hold, with nothing of its own under way, does not stand still.
      const starved = tcb.starved !== 0 && tcb.sndUna === tcb.sndNxt;
      const pending = tcb.state !== 0 && tcb.sndUna !== tcb.sndEnd && !starved;
      if (!pending) {
        this.since.delete(tcb);
        continue;
      }
      const mark = `${tcb.rport} ${tcb.lport} ${tcb.state} ${tcb.sndUna} ${tcb.rcvNxt} ${tcb.sndWnd === 0}`;
      const last = this.since.get(tcb);
      if (last === undefined || last.mark !== mark) {
        this.since.set(tcb, { mark, at: nowMs });
        continue;
      }
      const stood = nowMs - last.at;
      const allowed = 2 * tcb.rtoMs + this.slackMs;
      this.worst = Math.max(this.worst, stood / allowed);
      this.worstMs = Math.max(this.worstMs, stood);
      if (stood > allowed) {
        assert.unreachable(
          `stalled for ${stood} ms, time-out ${tcb.rtoMs} ms, ${STATE_NAMES[tcb.state]}: ${JSON.stringify({ ...tcb, owner: 0 })}`,
        );
      }
    }
  }
}

/**
 * The receive side against a naive receiver that keeps one byte per sequence number: overlaps, holes, duplicates and
 * FINs of every kind, numbers that wrap.
 */
import fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { pattern, TcpRig } from '../../../lib/tcp-peer.ts';

/** What a receiver must know: which bytes it has, and where the stream ends. */
class NaiveReceiver {
  private readonly have = new Map<number, number>();
  next = 0;
  fin = -1;

  take(seq: number, data: Uint8Array, fin: boolean, window: number): void {
    const edge = this.next + window;
    for (let i = 0; i < data.length; i++) {
      const at = seq + i;
      // The first copy of a byte counts; nothing counts beyond the window or the FIN.
      if (at >= this.next && at < edge && !this.have.has(at) && (this.fin < 0 || at < this.fin))
        this.have.set(at, data[i]!);
    }
    const finAt = seq + data.length;
    if (fin && this.fin < 0 && finAt >= this.next && finAt <= edge) this.fin = finAt;
    while (this.have.has(this.next) && this.next !== this.fin) this.next++;
  }

  /** Bytes beyond a hole. */
  get beyond(): number {
    let n = 0;
    for (const at of this.have.keys()) if (at >= this.next && (this.fin < 0 || at < this.fin)) n++;
    return n;
  }

  holds(from: number, to: number): boolean {
    for (let at = from; at < to; at++) if (!this.have.has(at)) return false;
    return true;
  }

  bytes(): number[] {
    return Array.from({ length: this.next }, (_, i) => this.have.get(i)!);
  }
}

const STREAM = 400;
/** Every byte of the stream has one value, so any order gives the same text. */
const stream = pattern(STREAM + 64);

const segment = fc.record({
  seq: fc.integer({ min: 0, max: STREAM - 1 }),
  len: fc.oneof(fc.integer({ min: 0, max: 12 }), fc.integer({ min: 0, max: 120 })),
  burst: fc.boolean(),
});

for (const iss of [1000, 0x7fffffff - 100, -1 - 100])
  test(`any sequence of segments leaves what a byte map leaves (peer's numbers from ${iss})`, () => {
    fc.assert(
      fc.property(fc.array(segment, { minLength: 1, maxLength: 60 }), fc.boolean(), (segments, sack) => {
        const rig = SHARED;
        const port = nextPort++;
        const recorder = rig.listen(port);
        const c = rig.talk(port, 40000, iss);
        c.open(sack ? { mss: 1460, sackOk: true } : { mss: 1460 });
        const naive = new NaiveReceiver();
        for (const s of segments) {
          const data = stream.subarray(s.seq, Math.min(s.seq + s.len, STREAM));
          const fin = s.seq + data.length === STREAM && s.len > 0;
          const wasOver = naive.next === naive.fin;
          if (!wasOver) naive.take(s.seq, data, fin, 65535);
          const frame = { flags: fin ? 'FA' : 'A', seq: 1 + s.seq, data };
          if (s.burst) c.put(frame);
          else c.send(frame);
        }
        rig.pump();
        rig.advance(50);
        assert.equal(recorder.bytes, naive.bytes());
        assert.is(recorder.log.includes('fin'), naive.next === naive.fin);
        const tcb = recorder.tcb!;
        assert.is((tcb.rcvNxt - tcb.irs) | 0, 1 + naive.next + (naive.next === naive.fin ? 1 : 0));
        assert.is(tcb.ofoBytes, naive.next === naive.fin ? 0 : naive.beyond);
        // The last acknowledgment says so, and its SACK blocks name only what is held.
        const last = c.take().at(-1);
        if (last !== undefined) {
          assert.is((last.ack - iss) | 0, 1 + naive.next + (naive.next === naive.fin ? 1 : 0));
          (last.sack ?? []).forEach(([l, r], i) => {
            assert.ok(((r - l) | 0) > 0);
            // The first may be a duplicate (RFC 2883).
            assert.ok(i === 0 || ((l - last.ack) | 0) > 0);
            assert.ok(naive.holds((l - iss - 1) | 0, (r - iss - 1) | 0), 'SACK and D-SACK name what is held');
          });
        }
        recorder.abort();
        c.take();
        assert.is(rig.ctx.pool.inUse, 0);
      }),
      { numRuns: 300, seed: 20260 + iss },
    );
  });

const SHARED = new TcpRig({ tcp: { maxConnections: 64 } });
let nextPort = 1;

test('what lies beyond the window is cut off, whatever the overlap', () => {
  fc.assert(
    fc.property(
      fc.array(fc.record({ seq: fc.integer({ min: 0, max: 1500 }), len: fc.integer({ min: 1, max: 900 }) }), {
        minLength: 1,
        maxLength: 20,
      }),
      (segments) => {
        const rig = SMALL;
        const port = nextPort++;
        const recorder = rig.listen(port);
        recorder.autoRead = false;
        const c = rig.talk(port, 40000, -500);
        c.open({ mss: 1460 });
        for (const s of segments) c.send({ flags: 'A', seq: 1 + s.seq, data: pattern(s.len, s.seq) });
        const tcb = recorder.tcb!;
        const got = (tcb.rcvNxt - tcb.irs - 1) | 0;
        assert.ok(got <= 1000 && got + tcb.ofoBytes <= 1000, `${got} + ${tcb.ofoBytes} bytes in a window of 1000`);
        if (got > 0)
          assert.equal(
            [...recorder.read()].map((x) => x.charCodeAt(0)),
            [...pattern(got)],
          );
        recorder.abort();
        c.take();
      },
    ),
    { numRuns: 300, seed: 7 },
  );
});

const SMALL = new TcpRig({ tcp: { rcvBuf: 1000 } });

test.run();

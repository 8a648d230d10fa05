/** CUBIC against the formulas of RFC 9438, HyStart++ against the rounds of RFC 9406; the registry. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { cubic } from '../../../../stack/tcp/congestion/cubic.ts';
import { CONGESTION_CONTROLS, congestionControl } from '../../../../stack/tcp/congestion/registry.ts';
import { reno } from '../../../../stack/tcp/congestion/reno.ts';
import { Tcb } from '../../../../stack/tcp/tcb.ts';

const MSS = 1000;
const C = 0.4;
const BETA = 0.7;

/** A sender that fills its window all the time. */
class Sender {
  readonly tcb = new Tcb(1);
  nowMs = 5000;
  readonly rttMs: number;

  constructor(rttMs: number) {
    this.rttMs = rttMs;
    const { tcb } = this;
    tcb.mss = MSS;
    tcb.sndBuf = 1 << 30;
    tcb.ssthresh = 0x7fffffff;
    tcb.cwndLimited = 1;
    tcb.srtt = rttMs * 1000;
    cubic.init(tcb);
  }

  /** One round trip: the window is acknowledged, two segments at a time. */
  round(rttMs = this.rttMs): void {
    const { tcb } = this;
    const acks = Math.max(Math.floor(tcb.cwnd / (2 * MSS)), 1);
    const began = this.nowMs;
    tcb.sndNxt = (tcb.sndNxt + tcb.cwnd) | 0;
    for (let i = 0; i < acks; i++) {
      this.nowMs = began + Math.floor((rttMs * (i + 1)) / acks);
      tcb.sndUna = (tcb.sndUna + 2 * MSS) | 0;
      cubic.onAck(tcb, 2 * MSS, this.nowMs, rttMs * 1000);
    }
    tcb.sndUna = tcb.sndNxt;
    this.nowMs = began + rttMs;
  }

  lose(timeout = false): void {
    const { tcb } = this;
    tcb.ssthresh = cubic.ssthresh(tcb, tcb.cwnd, timeout);
    tcb.cwnd = timeout ? MSS : tcb.ssthresh;
  }
}

test('after a loss the window follows C (t - K)^3 + W_max, through the plateau and beyond', () => {
  for (const segments of [500, 2000]) {
    const s = new Sender(100);
    s.tcb.cwnd = segments * MSS;
    s.lose();
    assert.is(s.tcb.cwnd, segments * BETA * MSS);
    const k = Math.cbrt((segments * (1 - BETA)) / C);
    const began = s.nowMs;
    let worst = 0;
    for (let i = 0; i < 3 * k * 10; i++) {
      s.round();
      const t = (s.nowMs - began) / 1000;
      // At the end of a round the window is where the curve is now, up to what it adds within the next.
      const low = C * (t - k) ** 3 + segments;
      const high = C * (t + 0.1 - k) ** 3 + segments;
      const w = s.tcb.cwnd / MSS;
      worst = Math.max(worst, low - w, w - high);
    }
    assert.ok(worst < 0.02 * segments, `${segments} segments: off the curve by ${worst.toFixed(2)}`);
    assert.ok(s.tcb.cwnd > 1.2 * segments * MSS);
  }
});

test('growth does not depend on the round-trip time', () => {
  const after = (rttMs: number): number => {
    const s = new Sender(rttMs);
    s.tcb.cwnd = 3000 * MSS;
    s.lose();
    while (s.nowMs < 5000 + 8000) s.round();
    return s.tcb.cwnd;
  };
  assert.ok(Math.abs(after(50) / after(200) - 1) < 0.02, `${after(50)} and ${after(200)}`);
});

test('small windows grow at least as Reno with the same average would: 0.53 segments per round, then one (§4.3)', () => {
  const s = new Sender(10);
  s.tcb.cwnd = 20 * MSS;
  s.lose();
  assert.is(s.tcb.cwnd, 14 * MSS);
  for (let i = 0; i < 10; i++) s.round();
  assert.is(s.tcb.cwnd, 19 * MSS, '10 x 0.53 = 5');
  for (let i = 0; i < 12; i++) s.round();
  assert.ok(s.tcb.cwnd >= 27 * MSS && s.tcb.cwnd <= 31 * MSS, `beyond the old maximum: ${s.tcb.cwnd}`);
});

test('fast convergence: a loss below the last maximum aims lower (§4.7)', () => {
  const s = new Sender(100);
  s.tcb.cwnd = 1000 * MSS;
  s.lose();
  assert.is(s.tcb.cubicMax, 1000 * MSS);
  s.lose();
  assert.ok(Math.abs(s.tcb.cwnd - 490 * MSS) <= 1);
  assert.is(s.tcb.cubicMax, 700 * MSS * 0.85);
});

test('two segments at least', () => {
  const s = new Sender(100);
  s.tcb.cwnd = 2 * MSS;
  s.lose();
  assert.is(s.tcb.ssthresh, 2 * MSS);
});

test('after a time-out slow start leads to ssthresh, and the curve begins at its plateau there (§4.8)', () => {
  const s = new Sender(100);
  s.tcb.cwnd = 100 * MSS;
  s.lose(true);
  assert.is(s.tcb.ssthresh, 70 * MSS);
  for (let i = 0; i < 7; i++) s.round();
  assert.is(s.tcb.cubicK, 0);
  assert.ok(s.tcb.cubicMax >= 70 * MSS && s.tcb.cubicMax < 75 * MSS);
});

test('undo restores the curve (§4.9)', () => {
  const s = new Sender(100);
  s.tcb.cwnd = 1000 * MSS;
  s.lose();
  for (let i = 0; i < 20; i++) s.round();
  const { cubicMax, cubicK, cubicEpoch, cubicEpochMs, cubicReno, cubicPrior } = s.tcb;
  s.lose(true);
  cubic.undo(s.tcb);
  assert.equal(
    [s.tcb.cubicMax, s.tcb.cubicK, s.tcb.cubicEpoch, s.tcb.cubicEpochMs, s.tcb.cubicReno, s.tcb.cubicPrior],
    [cubicMax, cubicK, cubicEpoch, cubicEpochMs, cubicReno, cubicPrior],
  );
});

test('a window that is not used does not grow, and the time does not count', () => {
  const s = new Sender(100);
  s.tcb.cwnd = 1000 * MSS;
  s.lose();
  for (let i = 0; i < 10; i++) s.round();
  const { cwnd } = s.tcb;
  s.tcb.cwndLimited = 0;
  for (let i = 0; i < 100; i++) s.round();
  assert.is(s.tcb.cwnd, cwnd);
  s.tcb.cwndLimited = 1;
  s.round();
  const other = new Sender(100);
  other.tcb.cwnd = 1000 * MSS;
  other.lose();
  for (let i = 0; i < 11; i++) other.round();
  assert.ok(Math.abs(s.tcb.cwnd - other.tcb.cwnd) < 3 * MSS, `${s.tcb.cwnd} and ${other.tcb.cwnd}`);
});

test('everything kept is an int32', () => {
  const s = new Sender(33);
  s.tcb.cwnd = 777 * 999;
  s.lose();
  for (let i = 0; i < 300; i++) {
    s.round();
    for (const [name, v] of Object.entries(s.tcb)) {
      if (name !== 'owner' && name !== 'keep') assert.is(v, (v as number) | 0, name);
    }
  }
});

// HyStart++

test('HyStart++: while the RTT stands still slow start doubles; no threshold is set', () => {
  const s = new Sender(40);
  for (let i = 0; i < 5; i++) s.round();
  assert.is(s.tcb.cwnd, 320 * MSS);
  assert.is(s.tcb.ssthresh, 0x7fffffff);
});

test('HyStart++: a round an eighth slower begins five rounds at a quarter of the growth, then avoidance', () => {
  const s = new Sender(40);
  for (let i = 0; i < 3; i++) s.round();
  assert.is(s.tcb.hyPhase, 0);
  s.round(44);
  assert.is(s.tcb.hyPhase, 0, 'less than an eighth');
  s.round(50);
  assert.is(s.tcb.hyPhase, 1);
  const { cwnd } = s.tcb;
  s.round(50);
  assert.ok(Math.abs(s.tcb.cwnd / cwnd - 1.25) < 0.01);
  for (let i = 0; i < 3; i++) s.round(50);
  // The round in which it began counts, too (§4.2).
  assert.is(s.tcb.ssthresh, 0x7fffffff);
  s.round(50);
  assert.ok(s.tcb.ssthresh <= s.tcb.cwnd, 'slow start is over');
  const at = s.tcb.cwnd;
  s.round(50);
  assert.ok(s.tcb.cwnd < at + 5 * MSS);
});

test('HyStart++: slow start goes on when the RTT falls again', () => {
  const s = new Sender(40);
  for (let i = 0; i < 3; i++) s.round();
  s.round(50);
  assert.is(s.tcb.hyPhase, 1);
  s.round(40);
  assert.is(s.tcb.hyPhase, 0);
  const { cwnd } = s.tcb;
  s.round(40);
  assert.is(s.tcb.cwnd, 2 * cwnd);
});

test('HyStart++: the threshold is 4 ms at least and 16 ms at most', () => {
  for (const [rtt, below, above] of [
    [8, 11, 12],
    [400, 415, 416],
  ] as const) {
    for (const grown of [below, above]) {
      const s = new Sender(rtt);
      for (let i = 0; i < 3; i++) s.round();
      s.round(grown);
      assert.is(s.tcb.hyPhase, grown === above ? 1 : 0, `${rtt} to ${grown} ms`);
    }
  }
});

test('HyStart++: a slow start after a loss is Reno’s', () => {
  const s = new Sender(40);
  s.tcb.cwnd = 100 * MSS;
  s.lose(true);
  const before = s.tcb.hySamples;
  s.round(90);
  assert.is(s.tcb.hySamples, before);
});

test('congestion controls are found by name; unknown names are none', () => {
  assert.is(congestionControl('cubic'), cubic);
  assert.is(congestionControl('reno'), reno);
  assert.is(congestionControl('vegas'), null);
  assert.equal(
    CONGESTION_CONTROLS.map((c) => c.name),
    ['cubic', 'reno'],
  );
});

test.run();

import fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { decode, encode, layout } from '../../../../stack/msg/layout.ts';
import { Channel, type Envelope, NORMAL, URGENT } from '../../../../stack/msg/msg.ts';

const SET = layout(1, { key: 'i32', value: 'i32' });
const SET_DONE = layout(2, { atUs: 'f64' });
const EMPTY = layout(3, {});
const WIDE = layout(4, { words: 14 });

function pair(capacity = 8, words = 13): [control: Channel, worker: Channel] {
  const cfg = { capacity, words };
  const sab = new SharedArrayBuffer(64 + Channel.bytes(cfg));
  return [Channel.create(sab, 64, cfg), Channel.attach(sab, 64)];
}

test('a message arrives with its fields and its envelope', () => {
  const [control, worker] = pair();
  const seen: unknown[] = [];
  worker.on(SET, (values, envelope) => seen.push({ ...values, ...envelope }));
  assert.is(control.send(SET, { key: 5, value: -6 }), 1);
  assert.is(worker.poll(10), 1);
  assert.equal(seen, [{ key: 5, value: -6, type: 1, priority: NORMAL, seq: 1, replyTo: 0 }]);
  assert.is(worker.poll(10), 0);
});

test('an answer names the message it answers', () => {
  const [control, worker] = pair();
  let answer: Envelope | null = null;
  worker.on(SET, (_, { seq }) => worker.send(SET_DONE, { atUs: 1e15 + 1 }, URGENT, seq));
  control.on(SET_DONE, ({ atUs }, envelope) => {
    assert.is(atUs, 1e15 + 1);
    answer = envelope;
  });
  control.send(EMPTY, {});
  const seq = control.send(SET, { key: 1, value: 2 });
  worker.poll(10);
  control.poll(10);
  assert.equal(answer, { type: 2, priority: URGENT, seq: 1, replyTo: seq });
});

test('urgent messages overtake normal ones, each kind keeps its order', () => {
  const [control, worker] = pair();
  const order: number[] = [];
  worker.on(SET, ({ key }) => order.push(key));
  for (const key of [1, 2, 3]) control.send(SET, { key, value: 0 });
  for (const key of [11, 12]) control.send(SET, { key, value: 0 }, URGENT);
  assert.is(worker.poll(3), 3);
  control.send(SET, { key: 13, value: 0 }, URGENT);
  worker.poll(10);
  assert.equal(order, [11, 12, 1, 13, 2, 3]);
});

test('a full ring refuses, counts, and leaves the other priority open', () => {
  const [control, worker] = pair(2);
  const sent = [1, 2, 3].map((key) => control.send(SET, { key, value: 0 }));
  assert.equal(sent, [1, 2, 0]);
  assert.is(control.refused, 1);
  assert.is(control.send(SET, { key: 4, value: 0 }, URGENT), 3);
  assert.is(worker.poll(10), 3);
  assert.is(control.send(SET, { key: 5, value: 0 }), 4);
});

test('a message nobody asked for is counted', () => {
  const [control, worker] = pair();
  control.send(EMPTY, {});
  assert.is(worker.poll(10), 1);
  assert.is(worker.unknown, 1);
});

test('a message too long for the channel and a second handler are refused', () => {
  const [control] = pair();
  assert.throws(() => control.send(WIDE, { words: new Int32Array(14) }), /needs 14 words, the channel has 13/);
  assert.throws(() => control.on(WIDE, () => {}), /needs 14 words/);
  control.on(SET, () => {});
  assert.throws(() => control.on(SET, () => {}), /already/);
  assert.throws(() => layout(0, {}), /message type/);
  assert.throws(() => layout(65536, {}), /message type/);
});

test('fields come back as they went in, wherever they stand', () => {
  const ALL = layout(9, { a: 'i32', b: 'f64', c: 4, d: 'f64', e: 'i32' });
  assert.is(ALL.words, 10);
  const int = fc.integer();
  const values = fc.record({
    a: int,
    b: fc.double({ noNaN: true }),
    c: fc.array(int, { minLength: 4, maxLength: 4 }).map((w) => Int32Array.from(w)),
    d: fc.maxSafeInteger(),
    e: int,
  });
  fc.assert(
    fc.property(values, fc.nat(3), (v, off) => {
      const rec = new Int32Array(16);
      encode(ALL, v, rec, off);
      assert.equal(decode(ALL, rec, off), { ...v });
      assert.is(rec[off + 10], 0);
    }),
  );
  const wrong = { a: 0, b: 0, c: new Int32Array(3), d: 0, e: 0 };
  assert.throws(() => encode(ALL, wrong, new Int32Array(16), 0), /field c has 3 words, not 4/);
});

test.run();

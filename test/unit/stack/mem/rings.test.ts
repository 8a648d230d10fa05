/** One behaviour suite for both rings, in one thread; what needs two threads is in test/ring. */
import fc from 'fast-check';
import { suite } from 'uvu';
import * as assert from 'uvu/assert';
import { LINE_WORDS } from '../../../../stack/mem/block.ts';
import { MpmcRing } from '../../../../stack/mem/mpmc-ring.ts';
import { type RingConfig, SpscRing } from '../../../../stack/mem/spsc-ring.ts';

type Fifo = { push(src: Int32Array, off: number): boolean; pop(dst: Int32Array, off: number): boolean };

const spsc = (r: SpscRing): Fifo => ({
  push: (src, off) => r.push(src, off, 1) === 1,
  pop: (dst, off) => r.pop(dst, off, 1) === 1,
});

/** `counter` presets the free-running positions, to test their wrap. Record p of the MPMC ring needs its turn numbers moved along. */
const kinds: Record<string, (cfg: RingConfig, counter?: number) => Fifo> = {
  'SPSC ring': (cfg, counter = 0) => {
    const sab = new SharedArrayBuffer(SpscRing.bytes(cfg));
    SpscRing.create(sab, 0, cfg);
    new Int32Array(sab).fill(counter, LINE_WORDS, 3 * LINE_WORDS);
    return spsc(SpscRing.attach(sab, 0));
  },
  'MPMC ring': (cfg, counter = 0) => {
    const sab = new SharedArrayBuffer(MpmcRing.bytes(cfg));
    const ring = MpmcRing.create(sab, 0, cfg);
    const mem = new Int32Array(sab);
    mem.fill(counter, LINE_WORDS, 3 * LINE_WORDS);
    for (let i = 0; i < cfg.capacity; i++) mem[3 * LINE_WORDS + i * (1 + cfg.words)] += counter;
    return ring;
  },
};

for (const [name, make] of Object.entries(kinds)) {
  const test = suite(name);

  test('gives records back whole and in order', () => {
    const ring = make({ capacity: 4, words: 3 });
    const src = Int32Array.of(9, 1, 2, 3, 4, 5, -6);
    assert.ok(ring.push(src, 1));
    assert.ok(ring.push(src, 4));
    const dst = new Int32Array(4);
    assert.ok(ring.pop(dst, 1));
    assert.equal([...dst], [0, 1, 2, 3]);
    assert.ok(ring.pop(dst, 0));
    assert.equal([...dst], [4, 5, -6, 3]);
    assert.not(ring.pop(dst, 0));
    assert.equal([...dst], [4, 5, -6, 3]);
  });

  test('refuses when full and accepts again after a record left', () => {
    const ring = make({ capacity: 2, words: 1 });
    const word = Int32Array.of(1);
    assert.equal([ring.push(word, 0), ring.push(word, 0), ring.push(word, 0)], [true, true, false]);
    assert.ok(ring.pop(word, 0));
    assert.equal([ring.push(word, 0), ring.push(word, 0)], [true, false]);
  });

  for (const counter of [0, 0x7ffffff8, -8]) {
    test(`is a bounded queue under random use, positions starting at ${counter}`, () => {
      const arbitrary = fc.record({
        log: fc.integer({ min: 1, max: 3 }),
        words: fc.integer({ min: 1, max: 5 }),
        ops: fc.array(fc.boolean(), { maxLength: 120 }),
      });
      fc.assert(
        fc.property(arbitrary, ({ log, words, ops }) => {
          const ring = make({ capacity: 1 << log, words }, counter);
          const queue: number[] = [];
          const rec = new Int32Array(words);
          let next = 1;
          for (const isPush of ops) {
            if (isPush) {
              for (let i = 0; i < words; i++) rec[i] = next * 10 + i;
              const went = ring.push(rec, 0);
              assert.is(went, queue.length < 1 << log);
              if (went) queue.push(next);
              next++;
            } else {
              const want = queue.shift();
              assert.is(ring.pop(rec, 0), want !== undefined);
              if (want !== undefined) for (let i = 0; i < words; i++) assert.is(rec[i], want * 10 + i);
            }
          }
        }),
      );
    });
  }

  test('refuses a capacity that is not a power of two and a record without words', () => {
    assert.throws(() => make({ capacity: 3, words: 1 }), /power of two/);
    assert.throws(() => make({ capacity: 4, words: 0 }), /words/);
  });

  test.run();
}

const test = suite('SPSC ring, batches');
const pair = (cfg: RingConfig): [producer: SpscRing, consumer: SpscRing] => {
  const sab = new SharedArrayBuffer(SpscRing.bytes(cfg));
  return [SpscRing.create(sab, 0, cfg), SpscRing.attach(sab, 0)];
};

test('inserted records are unseen until published', () => {
  const [producer, consumer] = pair({ capacity: 4, words: 1 });
  producer.insertWord(5);
  producer.insertWord(6);
  assert.is(consumer.observe(), 0);
  assert.is(producer.length(), 0);
  producer.publish();
  assert.is(consumer.observe(), 2);
  assert.equal([consumer.removeWord(), consumer.removeWord()], [5, 6]);
});

test('removed records keep their slots until released', () => {
  const [producer, consumer] = pair({ capacity: 2, words: 1 });
  assert.is(producer.push(Int32Array.of(1, 2, 3), 0, 3), 2);
  consumer.observe();
  consumer.removeWord();
  assert.is(producer.free(1), 0);
  assert.not(producer.insertWord(3));
  assert.not(producer.insert(Int32Array.of(3), 0));
  consumer.release();
  assert.is(producer.free(1), 1);
  assert.ok(producer.insertWord(3));
});

test('a batch goes in as far as there is room and comes out as far as asked', () => {
  const [producer, consumer] = pair({ capacity: 4, words: 2 });
  assert.is(producer.push(Int32Array.of(1, 2, 3, 4, 5, 6, 7, 8, 9, 10), 0, 5), 4);
  assert.is(producer.push(Int32Array.of(1, 2), 0, 1), 0);
  const dst = new Int32Array(10);
  assert.is(consumer.pop(dst, 0, 3), 3);
  assert.is(consumer.pop(dst, 6, 3), 1);
  assert.equal([...dst], [1, 2, 3, 4, 5, 6, 7, 8, 0, 0]);
  assert.is(consumer.pop(dst, 0, 3), 0);
  assert.is(consumer.length(), 0);
});

test.run();

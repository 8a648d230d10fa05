/** Frames of several workers come out by time, none before it is sure that no older one can come, and no more than are wanted. */
import * as fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import * as r from '../../../../lb/capture/record.ts';
import { CaptureBlocks, CapturedFrames } from '../../../../src/capture/blocks.ts';

const get32le = (b: Uint8Array, at: number): number => new DataView(b.buffer, b.byteOffset).getInt32(at, true);
const NAMES = { serviceName: String, serverName: String };
const ALL = Number.POSITIVE_INFINITY;

/** A worker's ring with frames of these times, and what reads it. */
function worker(times: readonly number[], epoch = 0): CapturedFrames {
  const { ring } = r.attachCapture(r.captureMemory());
  for (const time of times) put(ring, time);
  return new CapturedFrames(ring, NAMES, epoch);
}

function put(ring: r.CaptureEnds['ring'], time: number, bytes = 20): void {
  const record = new Int32Array(r.piecesFor(bytes) * r.PIECE_WORDS);
  record[r.CAPTURED] = bytes;
  record[r.ORIGINAL] = bytes;
  record[r.TIME_HIGH] = Math.floor(time / 0x1_0000_0000);
  record[r.TIME_LOW] = time | 0;
  for (let i = 0; i < r.piecesFor(bytes); i++) assert.ok(ring.insert(record, i * r.PIECE_WORDS));
  ring.publish();
}

/** Times of the packets in blocks of pcapng. */
function timesIn(bytes: Uint8Array | null): number[] {
  const times: number[] = [];
  for (let at = 0; bytes !== null && at < bytes.length; at += get32le(bytes, at + 4)) {
    times.push((get32le(bytes, at + 12) >>> 0) * 0x1_0000_0000 + (get32le(bytes, at + 16) >>> 0));
  }
  return times;
}

test('what has come of all workers comes out by time', () => {
  const times = fc.array(fc.nat(1_000_000), { maxLength: 30 }).map((list) => list.sort((a, b) => a - b));
  fc.assert(
    fc.property(fc.array(times, { minLength: 1, maxLength: 4 }), (lists) => {
      const blocks = new CaptureBlocks(lists.map((list) => worker(list)));
      const sorted = lists.flat().sort((a, b) => a - b);
      assert.equal(timesIn(blocks.take(ALL)), sorted);
      assert.is(blocks.taken, sorted.length);
      assert.is(blocks.take(ALL), null);
    }),
    { numRuns: 50 },
  );
});

test('while nothing has come of one worker, frames of the others wait until they are old enough', () => {
  const late = r.attachCapture(r.captureMemory());
  const blocks = new CaptureBlocks([worker([10, 20, 30]), new CapturedFrames(late.ring, NAMES, 0)]);
  assert.equal(timesIn(blocks.take(15)), [10]);
  put(late.ring, 17);
  assert.equal(timesIn(blocks.take(15)), [17], 'older than what waited; then nothing is known of it again');
  assert.equal(timesIn(blocks.take(25)), [20]);
});

test('one worker alone never waits; frames of several pieces are whole', () => {
  const { ring } = r.attachCapture(r.captureMemory());
  put(ring, 5, 5000);
  put(ring, 6, 60_000);
  const bytes = new CaptureBlocks([new CapturedFrames(ring, NAMES, 0)]).take(0)!;
  assert.equal(timesIn(bytes), [5, 6]);
  assert.is(get32le(bytes, 20), 5000);
});

test('clocks of workers with other zeros are brought together', () => {
  const blocks = new CaptureBlocks([worker([10, 30], 1000), worker([15, 20], 990)]);
  assert.equal(timesIn(blocks.take(ALL)), [1005, 1010, 1010, 1030]);
});

test('no more are given than are wanted', () => {
  const blocks = new CaptureBlocks([worker([1, 3, 5]), worker([2, 4])]);
  assert.equal(timesIn(blocks.take(ALL, 2)), [1, 2]);
  assert.equal(timesIn(blocks.take(ALL, 2)), [3, 4]);
  assert.is(blocks.take(ALL, 0), null);
  assert.is(blocks.taken, 4);
});

test.run();

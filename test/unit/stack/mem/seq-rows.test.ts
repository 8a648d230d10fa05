import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { SeqRows } from '../../../../stack/mem/seq-rows.ts';

const AT = 64;

function pair(rows: number, words: number): [writer: SeqRows, reader: SeqRows] {
  const cfg = { rows, words };
  const sab = new SharedArrayBuffer(AT + SeqRows.bytes(cfg));
  new Int32Array(sab).fill(-1);
  return [SeqRows.create(sab, AT, cfg), SeqRows.attach(sab, AT)];
}

function write(rows: SeqRows, row: number, words: readonly number[]): void {
  rows.beginWrite(row);
  for (const [i, word] of words.entries()) rows.set(row, i, word);
  rows.endWrite(row);
}

test('rows begin as zeros and hold what was written, each for itself', () => {
  const [writer, reader] = pair(3, 15);
  const out = new Int32Array(15).fill(7);
  assert.ok(reader.read(1, out));
  assert.equal([...out], new Array(15).fill(0));
  const words = Array.from({ length: 15 }, (_, i) => i * -3);
  write(writer, 2, words);
  assert.ok(reader.read(2, out));
  assert.equal([...out], words);
  for (const row of [1, 3]) {
    assert.ok(reader.read(row, out));
    assert.equal([...out], new Array(15).fill(0));
  }
});

test('a row that outgrows a line does not run into the next', () => {
  const [writer, reader] = pair(2, 16);
  write(writer, 1, new Array(16).fill(1));
  write(writer, 2, new Array(16).fill(2));
  const out = new Int32Array(16);
  reader.read(1, out);
  assert.equal([...out], new Array(16).fill(1));
});

test('a row being written cannot be read, the others can', () => {
  const [writer, reader] = pair(2, 2);
  const out = new Int32Array(2);
  writer.beginWrite(1);
  assert.not(reader.read(1, out));
  assert.ok(reader.read(2, out));
  writer.set(1, 0, 5);
  writer.endWrite(1);
  assert.ok(reader.read(1, out));
  assert.equal([...out], [5, 0]);
});

test('words that are not set keep their value', () => {
  const [writer, reader] = pair(1, 3);
  write(writer, 1, [1, 2, 3]);
  writer.beginWrite(1);
  writer.set(1, 1, 9);
  writer.endWrite(1);
  const out = new Int32Array(3);
  reader.read(1, out);
  assert.equal([...out], [1, 9, 3]);
});

test('version changes with its row, generation with any row', () => {
  const [writer, reader] = pair(2, 1);
  const before = [reader.version(1), reader.version(2), reader.generation()];
  write(writer, 1, [1]);
  assert.is.not(reader.version(1), before[0]);
  assert.is(reader.version(2), before[1]);
  const generation = reader.generation();
  assert.is.not(generation, before[2]);
  writer.beginWrite(2);
  assert.is(reader.version(2) & 1, 1);
  writer.endWrite(2);
  assert.is.not(reader.generation(), generation);
});

test('writes that are not paired are a broken writer', () => {
  const [writer] = pair(1, 1);
  assert.throws(() => writer.endWrite(1), /not being written/);
  writer.beginWrite(1);
  assert.throws(() => writer.beginWrite(1), /already/);
});

test.run();

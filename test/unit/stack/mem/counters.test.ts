import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Counters } from '../../../../stack/mem/counters.ts';

function pair(names: readonly string[]): [writer: Counters, reader: Counters] {
  const sab = new SharedArrayBuffer(64 + Counters.bytes(names));
  new Int32Array(sab).fill(-1);
  return [Counters.create(sab, 64, names), Counters.attach(sab, 64)];
}

test('a reader finds names and values without being told', () => {
  const [writer, reader] = pair(['rx.frames', 'rx.bytes', 'drop{reason="no_route"}']);
  assert.equal(reader.names, ['rx.frames', 'rx.bytes', 'drop{reason="no_route"}']);
  assert.equal(reader.snapshot(), { 'rx.frames': 0, 'rx.bytes': 0, 'drop{reason="no_route"}': 0 });
  writer.add(writer.index('rx.bytes'), 60);
  writer.add(writer.index('rx.bytes'), 40);
  assert.is(reader.snapshot()['rx.bytes'], 100);
});

test('counts beyond 2^32 exactly', () => {
  const [writer, reader] = pair(['n']);
  for (let i = 0; i < 3; i++) writer.add(0, 2 ** 32 - 1);
  writer.add(0, 2 ** 52);
  assert.is(reader.snapshot()['n'], 2 ** 52 + 3 * (2 ** 32 - 1));
});

test('a module may be given its range of values', () => {
  const [writer, reader] = pair(['a', 'b', 'c']);
  const mine = writer.values.subarray(1, 3);
  mine[1] += 4;
  assert.equal(reader.snapshot(), { a: 0, b: 0, c: 4 });
});

test('no counters are counters too', () => {
  const [, reader] = pair([]);
  assert.equal(reader.names, []);
  assert.equal(reader.snapshot(), {});
});

test('an unknown, a doubled and an unprintable name are refused', () => {
  const [writer] = pair(['a']);
  assert.throws(() => writer.index('b'), /no counter b/);
  assert.throws(() => Counters.bytes(['a', 'a']), /two counters/);
  for (const name of ['', 'a b', 'a\n', 'é']) assert.throws(() => Counters.bytes([name]), /ASCII/);
});

test.run();

import * as fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { listNeighbours } from '../../../../stack/neigh/snapshot.ts';
import { FAILED, INCOMPLETE, NONE, STALE } from '../../../../stack/neigh/state.ts';
import { NeighTable } from '../../../../stack/neigh/table.ts';

const table = (max: number, bits = 0x2545f491): NeighTable =>
  NeighTable.create(new SharedArrayBuffer(NeighTable.bytes(max)), 0, { next: () => bits }, max);

test('finds what a map finds, through insertions, removals and evictions', () => {
  const op = fc.record({
    kind: fc.constantFrom('insert', 'remove', 'idle', 'busy', 'find'),
    // Spread over all bits, so that entries of different home slots stand side by side in the index.
    ip: fc.nat(40).map((n) => Math.imul(n, 0x9e3779b1)),
    port: fc.integer({ min: 1, max: 3 }),
  });
  fc.assert(
    fc.property(fc.array(op, { maxLength: 300, size: 'max' }), fc.integer(), (ops, bits) => {
      const t = table(16, bits);
      const model = new Map<string, number>();
      const idle: string[] = [];
      const parts = (key: string): [number, number] => key.split(' ').map(Number) as [number, number];
      for (const { kind, ip, port } of ops) {
        const key = `${ip} ${port}`;
        const i = t.find(ip, port);
        assert.is(i, model.get(key) ?? 0);
        if (kind === 'insert' && i === 0) {
          const got = t.insert(ip, port);
          assert.is(got === 0, model.size === 16);
          if (got !== 0) model.set(key, got);
        } else if (i !== 0 && kind !== 'find' && kind !== 'insert') {
          if (idle.includes(key)) idle.splice(idle.indexOf(key), 1);
          t.putState(i, kind === 'idle' ? STALE : kind === 'busy' ? INCOMPLETE : NONE);
          if (kind === 'idle') idle.push(key);
          if (kind === 'remove') {
            t.remove(i);
            model.delete(key);
          }
        }
        for (const [known, id] of model) assert.is(t.find(...parts(known)), id);
        assert.is(t.count, model.size);
        const victim = t.leastUseful();
        if (idle.length > 0) assert.is(victim, model.get(idle[0]!));
        else if (victim !== 0) assert.is(t.state(victim), INCOMPLETE);
      }
    }),
    { seed: 826, numRuns: 300 },
  );
});

test('failed entries are given up before stale ones', () => {
  const t = table(4);
  const [a, b, c] = [1, 2, 3].map((ip) => t.insert(ip, 1));
  t.putState(a!, STALE);
  t.putState(b!, FAILED);
  t.putState(c!, STALE);
  const order: number[] = [];
  for (let i = t.leastUseful(); i !== 0; i = t.leastUseful()) {
    order.push(i);
    t.putState(i, NONE);
    t.remove(i);
  }
  assert.equal(order, [b, a, c]);
});

test('another thread reads the rows through the shared memory', () => {
  const sab = new SharedArrayBuffer(NeighTable.bytes(8) + 64);
  const t = NeighTable.create(sab, 64, { next: () => 1 }, 8);
  const i = t.insert(0x0a000001, 2);
  t.putMac(i, 0x0200, 0x11223344);
  t.putState(i, STALE);
  const [row, ...more] = listNeighbours(NeighTable.open(sab, 64));
  assert.is(more.length, 0);
  assert.is(row!.ip, 0x0a000001);
  assert.is(row!.port, 2);
  assert.is(row!.state, STALE);
  assert.is(row!.macHi, 0x0200);
  assert.is(row!.macLo, 0x11223344);
});

test('a row that is being written is left out, not read half', () => {
  const t = table(2);
  t.putState(t.insert(1, 1), STALE);
  Atomics.add(t.words, 16, 1);
  assert.equal(listNeighbours(t.words), []);
  Atomics.add(t.words, 16, 1);
  assert.is(listNeighbours(t.words).length, 1);
});

test('memory that holds no table is refused', () => {
  assert.throws(() => NeighTable.open(new SharedArrayBuffer(4096), 0), /neighbour table/);
  assert.throws(() => NeighTable.bytes(0), /neighbour table/);
});

test.run();

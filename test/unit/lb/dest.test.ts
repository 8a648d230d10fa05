import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { AVAILABLE, DestTable, INHIBITED, OVERLOAD, usable } from '../../../lb/dest.ts';

const make = (capacity = 4, byteOffset = 0) => {
  const buffer = new SharedArrayBuffer(byteOffset + DestTable.bytes(capacity));
  return { buffer, dests: DestTable.create(buffer, byteOffset, capacity) };
};
const spec = (i: number, more = {}) => ({ addr: i, port: 80, weight: 1, ...more });

test('a new server is usable, with zero counters; ids run from 1', () => {
  const { dests } = make();
  const id = dests.add(1, spec(10, { name: 'a', mac: Uint8Array.of(2, 0, 0, 0, 0, 1) }));
  assert.is(id, 1);
  assert.ok(usable(dests, id));
  assert.is(dests.flags[id], AVAILABLE);
  assert.is(dests.name[id], 'a');
  assert.equal(dests.mac[id], Uint8Array.of(2, 0, 0, 0, 0, 1));
  assert.is(dests.conns[id], 0);
  assert.is(usable(dests, 0), false, 'row 0 is no server');
});

test('another thread reads the live numbers', () => {
  const { buffer, dests } = make(5, 128);
  const id = dests.add(1, spec(-5, { weight: 7 }));
  const reader = DestTable.attach(buffer, 128);
  assert.is(reader.capacity, 5);
  dests.connOpen(id);
  dests.inBytes[id]! += 2 ** 40;
  assert.equal(
    [reader.addr[id], reader.weight[id], reader.inactConns[id], reader.conns[id], reader.inBytes[id]],
    [-5, 7, 1, 1, 2 ** 40],
  );
});

test('attaching to something else, or creating where there is no room, throws', () => {
  assert.throws(() => DestTable.attach(new SharedArrayBuffer(4096), 0), /no table/);
  assert.throws(() => DestTable.create(new SharedArrayBuffer(100), 0, 4), RangeError);
  assert.throws(() => DestTable.create(new SharedArrayBuffer(DestTable.bytes(4) + 4), 4, 4), RangeError);
});

test('no column overlaps another', () => {
  const { buffer, dests } = make(3);
  const columns = Object.values(dests).filter((c) => c instanceof Int32Array || c instanceof Float64Array);
  columns.forEach((column, i) => {
    column.fill(i + 1);
  });
  columns.forEach((column, i) => {
    assert.ok(
      column.every((v: number) => v === i + 1),
      `column ${i}`,
    );
  });
  assert.is(DestTable.attach(buffer, 0).capacity, 3);
});

test('a connection moves through inactive, active and gone', () => {
  const { dests } = make();
  const id = dests.add(1, spec(10));
  const state = () => [dests.inactConns[id], dests.activeConns[id], dests.refs[id], dests.conns[id]];
  dests.connOpen(id);
  assert.equal(state(), [1, 0, 1, 1]);
  dests.connActive(id);
  assert.equal(state(), [0, 1, 1, 1]);
  dests.connInactive(id);
  assert.equal(state(), [1, 0, 1, 1]);
  dests.connClose(id, false);
  assert.equal(state(), [0, 0, 0, 1]);
  dests.connOpen(id);
  dests.connActive(id);
  dests.connClose(id, true);
  assert.equal(state(), [0, 0, 0, 2]);
});

/** The loads 0..max and back to 0 at which OVERLOAD is on. */
function overloadedAt(thresholds: { upper?: number; lower?: number }, max: number): { up: number[]; down: number[] } {
  const { dests } = make();
  const id = dests.add(1, spec(10, thresholds));
  const up: number[] = [];
  const down: number[] = [];
  for (let n = 1; n <= max; n++) {
    dests.connOpen(id);
    if ((dests.flags[id]! & OVERLOAD) !== 0) up.push(n);
  }
  for (let n = max - 1; n >= 0; n--) {
    dests.connClose(id, false);
    if ((dests.flags[id]! & OVERLOAD) !== 0) down.push(n);
  }
  return { up, down };
}

test('overload begins at the upper threshold and ends below the lower one', () => {
  assert.equal(overloadedAt({ upper: 8, lower: 3 }, 9), { up: [8, 9], down: [8, 7, 6, 5, 4, 3] });
});

test('without a lower threshold overload ends below three quarters of the upper one', () => {
  assert.equal(overloadedAt({ upper: 8 }, 8), { up: [8], down: [7, 6] });
});

test('without an upper threshold there is no overload', () => {
  assert.equal(overloadedAt({ lower: 3 }, 8), { up: [], down: [] });
});

test('new thresholds are judged at once', () => {
  const { dests } = make();
  const id = dests.add(1, spec(10, { upper: 2 }));
  dests.connOpen(id);
  dests.connOpen(id);
  assert.is(usable(dests, id), false);
  dests.edit(id, spec(10, { upper: 3 }));
  assert.ok(usable(dests, id));
  dests.edit(id, spec(10, { upper: 1 }));
  assert.is(usable(dests, id), false);
  dests.edit(id, spec(10));
  assert.ok(usable(dests, id));
});

test('an edit leaves a health verdict, a removal forgets it', () => {
  const { dests } = make();
  const id = dests.add(1, spec(10));
  dests.inhibit(id, true);
  dests.edit(id, spec(10, { weight: 5 }));
  assert.is(dests.flags[id], AVAILABLE | INHIBITED);
  assert.is(dests.weight[id], 5);
  dests.remove(id);
  assert.is(dests.add(1, spec(10)), id);
  assert.ok(usable(dests, id));
});

test('a removed server that is held keeps its row, however full the table gets', () => {
  const { dests } = make(3);
  const held = dests.add(1, spec(10));
  const idle = dests.add(1, spec(11));
  dests.connOpen(held);
  dests.remove(held);
  dests.remove(idle);
  assert.is(dests.add(1, spec(12)), 3, 'free rows go first');
  assert.is(dests.add(1, spec(13)), idle, 'then removed ones that nobody holds');
  assert.is(dests.add(1, spec(14)), 0, 'then there is no room');
  assert.is(dests.addr[held], 10);
  dests.connClose(held, false);
  assert.is(dests.add(1, spec(14)), held);
  assert.is(dests.conns[held], 0, 'counters of the one before are gone');
});

test('re-adding the same address and port revives the row with its counters, in its own service only', () => {
  const { dests } = make(4);
  const id = dests.add(1, spec(10));
  dests.connOpen(id);
  dests.remove(id);
  assert.is.not(dests.add(2, spec(10)), id);
  assert.is.not(dests.add(1, spec(10, { port: 81 })), id);
  assert.is(dests.add(1, spec(10, { weight: 9 })), id);
  assert.equal([dests.conns[id], dests.refs[id], dests.weight[id]], [1, 1, 9]);
});

test.run();

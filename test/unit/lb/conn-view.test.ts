/** Connections seen from another thread: what is there is read as it is, what is not there or does not keep still is left out. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { ConnSpec, ConnTable } from '../../../lb/conn.ts';
import { CADDR, DUE, END_FLUSHED, META, NAT, ROW_SHIFT } from '../../../lb/conn-row.ts';
import { ConnView } from '../../../lb/conn-view.ts';
import { ESTABLISHED, TCP } from '../../../lb/proto/tcp.ts';
import { Timers } from '../../../stack/timer/timers.ts';

const MAX = 64;
const clock = { now: 5e6, nowMs: 5000, random: { next: () => 77 } };

function rig() {
  const memory = new SharedArrayBuffer(ConnTable.bytes(MAX));
  const timers = new Timers(MAX, clock.nowMs);
  const table = new ConnTable(memory, 0, { max: MAX, activeStates: 2 }, clock, timers, { onEnd() {} });
  const open = (client: number): number => {
    const spec = new ConnSpec();
    const ends = { caddr: client, cport: 40000, vaddr: 0x0a000064, vport: 80, raddr: 0x0a00000b, rport: 80 };
    return table.open(Object.assign(spec, ends, { laddr: client, lport: 40000, mode: NAT, dest: 3, service: 9 }));
  };
  return { table, open, view: new ConnView(memory, 0, MAX, TCP) };
}

function clients(view: ConnView): number[] {
  const found: number[] = [];
  for (let id = view.next(0); id !== 0; id = view.next(id)) if (view.read(id)) found.push(view.row[CADDR]!);
  return found;
}

test('what is opened is seen, with state, counts, expiry and owners; what is closed is gone', () => {
  const { table, open, view } = rig();
  const [first, second] = [open(1), open(2)];
  table.step(second, ESTABLISHED, 90_000);
  table.cold.count(second, 0, 3, 400);
  table.cold.count(second, 1, 2, 5000);
  assert.equal([view.size, clients(view)], [2, [1, 2]]);
  assert.ok(view.read(second));
  assert.equal([view.state, view.mode, view.service, view.dest], ['ESTABLISHED', 'NAT', 9, 3]);
  assert.equal([view.packetsIn, view.bytesIn, view.packetsOut, view.bytesOut], [3, 400, 2, 5000]);
  assert.is(view.dueIn(clock.nowMs + 1000), 89_000);
  assert.is(view.dueIn(clock.nowMs + 100_000), 0);
  table.close(first, END_FLUSHED);
  assert.equal([view.size, clients(view), view.read(first)], [1, [2], false]);
});

test('a row that changes while it is read is read again, and left out when it never comes to rest', () => {
  const { table, open, view } = rig();
  const row = open(1);
  const at = row << ROW_SHIFT;
  const load = Atomics.load;
  // The worker, between two loads.
  let disturbances = 0;
  const disturb = (times: number): void => {
    disturbances = times;
    (Atomics as { load: typeof Atomics.load }).load = ((words: Int32Array, i: number) => {
      const value = load(words, i);
      if (i === at + META && disturbances-- > 0) table.rows[at + CADDR]!++;
      return value;
    }) as typeof Atomics.load;
  };
  try {
    disturb(1);
    assert.ok(view.read(row));
    assert.is(view.row[CADDR], 2, 'as it is at last');
    disturb(1000);
    assert.not(view.read(row));
  } finally {
    (Atomics as { load: typeof Atomics.load }).load = load;
  }
  table.rows[at + DUE] = 1;
  assert.ok(view.read(row));
});

test.run();

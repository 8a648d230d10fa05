import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  ACTIVATED,
  type ConnSpec,
  ConnTable,
  DEACTIVATED,
  INIT_TIMEOUT_MS,
  REFUSED_FULL,
  REFUSED_IN,
  REFUSED_OUT,
} from '../../../lb/conn.ts';
import * as c from '../../../lb/conn-row.ts';
import { ConnRig, ports, specOf } from '../../lib/conn-rig.ts';

const findIn = (t: ConnTable, s: ConnSpec): number => t.find(s.caddr, s.vaddr, ports(s.cport, s.vport));
const findOut = (t: ConnTable, s: ConnSpec): number => t.find(s.raddr, s.laddr, ports(s.rport, s.lport));

/** A second at most is added to every timer. */
const JITTER = 1000;

test('a connection is found by both its tuples, each telling the direction', () => {
  const { conns } = new ConnRig(8);
  const spec = specOf(5);
  const row = conns.open(spec);
  assert.is(row, 1);
  assert.equal([c.rowOf(findIn(conns, spec)), c.dirOf(findIn(conns, spec))], [row, c.IN]);
  assert.equal([c.rowOf(findOut(conns, spec)), c.dirOf(findOut(conns, spec))], [row, c.OUT]);
  assert.is(conns.find(spec.caddr, spec.vaddr, ports(spec.vport, spec.cport)), 0);
  assert.is(conns.find(spec.vaddr, spec.caddr, ports(spec.cport, spec.vport)), 0);
  assert.is(conns.size(), 1);
});

test('the row holds what the layout says', () => {
  const rig = new ConnRig(8);
  const { conns } = rig;
  const spec = specOf(3, {
    mode: c.SNAT,
    flags: c.F_OPENED_OUT | c.F_LOCAL_PORT,
    service: 0xfffe,
    dest: 70_000,
    state: 3,
  });
  const at = conns.open(spec) << c.ROW_SHIFT;
  const word = (i: number): number => conns.rows[at + i]!;
  assert.equal([c.CADDR, c.VADDR, c.RADDR, c.LADDR].map(word), [spec.caddr, spec.vaddr, spec.raddr, spec.laddr]);
  assert.equal([word(c.CVPORTS), word(c.RLPORTS)], [ports(spec.cport, 80), ports(8080, spec.lport)]);
  assert.is(word(c.META), c.F_OPENED_OUT | c.F_LOCAL_PORT | (c.SNAT << c.MODE_SHIFT) | 3);
  assert.is((word(c.META) & c.MODE_MASK) >> c.MODE_SHIFT, c.SNAT);
  assert.equal([word(c.DEST), word(c.SERVICE_HOP) >>> 16, word(c.SERVICE_HOP) & 0xffff], [70_000, 0xfffe, 0]);
  assert.is(conns.service(1), 0xfffe);
  assert.is(word(c.DUE), rig.nowMs + INIT_TIMEOUT_MS);
  for (let i = c.SEQ_DELTA; i < c.ROW_WORDS; i++) assert.is(word(i), 0);
  assert.is(conns.cold.openedS[1], 5);
});

test('flags, modes and words of the row do not overlap', () => {
  const words = [c.CADDR, c.VADDR, c.CVPORTS, c.RADDR, c.LADDR, c.RLPORTS, c.META, c.DEST, c.SERVICE_HOP, c.DUE];
  words.push(c.SEQ_DELTA, c.OUT_DELTA, c.SERVER_SEQ, c.SERVER_ACK, c.IN_COUNT, c.OUT_COUNT);
  assert.equal(
    [...new Set(words)].sort((a, b) => a - b),
    [...Array(c.ROW_WORDS).keys()],
  );
  let all = c.STATE_MASK | c.MODE_MASK;
  for (const [name, flag] of Object.entries(c)) {
    if (!name.startsWith('F_') || typeof flag !== 'number') continue;
    assert.is(all & flag, 0, name);
    all |= flag;
  }
});

test('what the modes mean: whose replies are seen, whose ends are reset', () => {
  const named = (is: (mode: number) => boolean): string[] => c.MODE_NAMES.filter((_, mode) => mode > 0 && is(mode));
  assert.equal(named(c.seesReplies), ['FNAT', 'NAT', 'SNAT', 'SPLICE']);
  assert.equal(named(c.resetsEnds), ['FNAT', 'NAT', 'SNAT']);
});

test('with DR and TUN only the client is looked for', () => {
  for (const mode of [c.DR, c.TUN]) {
    const { conns } = new ConnRig(8);
    const spec = specOf(5, { mode, laddr: 0x0a000000, lport: 10005 });
    const row = conns.open(spec);
    assert.is(c.rowOf(findIn(conns, spec)), row);
    assert.is(findOut(conns, spec), 0);
    conns.close(row, c.END_FLUSHED);
    assert.is(findIn(conns, spec), 0);
    assert.is(conns.open(spec), row);
  }
});

test('a row used again knows nothing of the connection before', () => {
  const rig = new ConnRig(8);
  const { conns } = rig;
  const row = conns.open(specOf(1));
  conns.rows.fill(-1, (row << c.ROW_SHIFT) + c.SEQ_DELTA, (row << c.ROW_SHIFT) + c.ROW_WORDS);
  conns.rows[(row << c.ROW_SHIFT) + c.META]! |= c.F_SEQ_SHIFTED | c.F_SERVER_SEEN;
  conns.cold.count(row, c.IN, 1, 2_000_000);
  conns.step(row, 1, 90_000);
  conns.close(row, c.END_FLUSHED);
  assert.is(conns.open(specOf(2)), row, 'last in, first out');
  for (let i = c.SEQ_DELTA; i < c.ROW_WORDS; i++) assert.is(conns.rows[(row << c.ROW_SHIFT) + i], 0);
  assert.is(conns.rows[(row << c.ROW_SHIFT) + c.META], c.FNAT << c.MODE_SHIFT);
  assert.equal([conns.cold.packets(row, c.IN), conns.cold.bytes(row, c.IN)], [0, 0]);
});

test('no tuple is given to two connections; the one in the way is named', () => {
  const { conns } = new ConnRig(8);
  const a = specOf(1);
  const row = conns.open(a);
  assert.is(conns.open(specOf(2, { caddr: a.caddr, cport: a.cport })), 0);
  assert.equal([conns.refusal, conns.rival], [REFUSED_IN, findIn(conns, a)]);
  assert.is(conns.open(specOf(2, { raddr: a.raddr, laddr: a.laddr, lport: a.lport })), 0);
  assert.equal([conns.refusal, conns.rival], [REFUSED_OUT, findOut(conns, a)]);
  // The packets of one connection's client would be those of another one's server.
  const hairpin = specOf(3, { caddr: a.raddr, cport: a.rport, vaddr: a.laddr, vport: a.lport });
  assert.is(conns.open(hairpin), 0);
  assert.equal([conns.refusal, c.rowOf(conns.rival), c.dirOf(conns.rival)], [REFUSED_IN, row, c.OUT]);
  assert.is(
    conns.open(specOf(4, { raddr: 1, rport: 2, laddr: 3, lport: 4, caddr: 1, cport: 2, vaddr: 3, vport: 4 })),
    0,
  );
  assert.is(conns.refusal, REFUSED_OUT, 'its own two tuples are one');
  assert.is(conns.size(), 1);
  assert.is(conns.open(specOf(2)), 2);
  assert.equal([conns.refusal, conns.rival], [0, 0]);
});

test('a full table refuses, and takes again what has become free', () => {
  const { conns } = new ConnRig(4);
  for (let i = 1; i <= 4; i++) assert.is(conns.open(specOf(i)), i);
  assert.is(conns.open(specOf(5)), 0);
  assert.is(conns.refusal, REFUSED_FULL);
  assert.is(findIn(conns, specOf(5)), 0);
  conns.close(2, c.END_FLUSHED);
  assert.is(conns.open(specOf(5)), 2);
  assert.is(c.rowOf(findOut(conns, specOf(5))), 2);
});

test('a change of state says when the server is to count it as active, and when no longer', () => {
  const { conns } = new ConnRig(4, 0b0110);
  const row = conns.open(specOf(1));
  assert.not(conns.isActive(row));
  assert.is(conns.step(row, 3, 1000), 0);
  assert.is(conns.step(row, 1, 1000), ACTIVATED);
  assert.is(conns.step(row, 1, 1000), 0);
  assert.is(conns.step(row, 2, 1000), 0, 'from active to active');
  assert.ok(conns.isActive(row));
  assert.is(conns.state(row), 2);
  assert.is(conns.step(row, 4, 1000), DEACTIVATED);
  assert.is(conns.step(row, 5, 1000), 0);
  assert.is(conns.step(row, 1, 1000), ACTIVATED);
  assert.is(conns.rows[(row << c.ROW_SHIFT) + c.META]! >> c.MODE_SHIFT, (c.F_ACTIVE >> c.MODE_SHIFT) | c.FNAT);
});

test('a connection that gets nothing ends 3 s after it was opened, and up to a second later', () => {
  const rig = new ConnRig(200);
  for (let i = 1; i <= 200; i++) rig.conns.open(specOf(i));
  rig.pass(INIT_TIMEOUT_MS - 1);
  assert.is(rig.conns.size(), 200);
  rig.pass(JITTER / 2 + 1);
  const half = rig.conns.size();
  assert.ok(half > 50 && half < 150, `${half} of 200 after half a second of chance`);
  rig.pass(JITTER / 2);
  assert.is(rig.conns.size(), 0);
  assert.is(rig.ended.length, 200);
  assert.ok(rig.ended.every((line) => line.endsWith(' expired')));
  for (let i = 1; i <= 200; i++) assert.is(findIn(rig.conns, specOf(i)) + findOut(rig.conns, specOf(i)), 0);
});

test('every packet puts the end off', () => {
  const rig = new ConnRig(4);
  const row = rig.conns.open(specOf(1));
  for (let i = 0; i < 40; i++) {
    rig.pass(800);
    rig.conns.step(row, 3, 1000);
    assert.is(rig.conns.dueIn(row), 1000);
  }
  rig.pass(999);
  assert.is(rig.conns.size(), 1);
  rig.pass(1 + JITTER);
  assert.equal(rig.ended, ['1 expired']);
});

test('a state with a shorter timeout brings the end forward', () => {
  const rig = new ConnRig(4);
  const row = rig.conns.open(specOf(1));
  rig.conns.step(row, 1, 900_000);
  rig.pass(10_000);
  assert.is(rig.conns.size(), 1);
  rig.conns.step(row, 6, 2000);
  rig.pass(1999);
  assert.is(rig.conns.size(), 1);
  rig.pass(1 + JITTER);
  assert.equal(rig.ended, ['1 expired']);
});

test('ticks wrap in the middle of a connection', () => {
  const rig = new ConnRig(4, 0b10, 0x7fffffff - 1500);
  const row = rig.conns.open(specOf(1));
  rig.pass(1000);
  rig.conns.step(row, 3, 2000);
  rig.pass(1999);
  assert.is(rig.conns.size(), 1);
  rig.pass(1 + JITTER);
  assert.is(rig.conns.size(), 0);
});

test('the owner is told while the connection is whole; then it is gone and its timer with it', () => {
  const rig = new ConnRig(4);
  const { conns } = rig;
  const spec = specOf(1);
  const row = conns.open(spec);
  conns.step(row, 1, 5000);
  let seen = 0;
  rig.onEndProbe = (ending) => {
    seen++;
    assert.is(c.rowOf(findIn(conns, spec)), ending);
    assert.ok(conns.isActive(ending));
    assert.is(conns.rows[(ending << c.ROW_SHIFT) + c.LADDR], spec.laddr);
  };
  conns.close(row, c.END_QUIESCED);
  assert.equal([seen, rig.ended], [1, ['1 quiesced']]);
  assert.throws(() => conns.close(row, c.END_FLUSHED), /not in use/);
  conns.open(specOf(2, { timeoutMs: 60_000 }));
  rig.onEndProbe = () => {};
  rig.pass(20_000);
  assert.is(conns.size(), 1, 'the old timer does not end the new connection');
});

test('a fresh SYN takes a connection in TIME_WAIT over at once', () => {
  const rig = new ConnRig(4);
  const { conns } = rig;
  const spec = specOf(1);
  const row = conns.open(spec);
  conns.step(row, 5, 120_000);
  assert.is(conns.open(spec), 0);
  conns.close(c.rowOf(conns.rival), c.END_REUSED);
  const again = conns.open(specOf(1, { raddr: 0x0ac80009, dest: 9 }));
  assert.is(again, row);
  assert.equal(rig.ended, ['1 reused']);
  assert.equal([conns.state(again), conns.isActive(again), conns.dueIn(again)], [0, false, INIT_TIMEOUT_MS]);
});

test('a one-packet connection is in no index and has no timer', () => {
  const rig = new ConnRig(4);
  const { conns } = rig;
  const spec = specOf(1, { flags: c.F_ONE_PACKET });
  const row = conns.open(spec);
  assert.is(conns.open(spec), 2, 'any number of them');
  assert.is(findIn(conns, spec) + findOut(conns, spec), 0);
  rig.pass(10_000);
  assert.is(conns.size(), 2);
  conns.close(row, c.END_DONE);
  assert.equal([conns.size(), rig.ended], [1, ['1 done']]);
});

test('an invalidated connection is not found any more and still ends in its time', () => {
  const rig = new ConnRig(4);
  const { conns } = rig;
  const spec = specOf(1);
  const row = conns.open(spec);
  conns.invalidate(row);
  conns.invalidate(row);
  assert.is(findIn(conns, spec) + findOut(conns, spec), 0);
  assert.is(conns.open(spec), 2, 'its tuples are free');
  rig.pass(INIT_TIMEOUT_MS + JITTER);
  assert.equal(rig.ended.sort(), ['1 expired', '2 expired']);
  assert.is(findIn(conns, spec), 0);
});

test('rows can be listed a few at a time while they come and go', () => {
  const { conns } = new ConnRig(8);
  for (let i = 1; i <= 6; i++) conns.open(specOf(i));
  conns.close(2, c.END_FLUSHED);
  const seen: number[] = [];
  for (let row = conns.next(0); row !== 0; row = conns.next(row)) {
    seen.push(row);
    if (row === 3) {
      conns.close(3, c.END_FLUSHED);
      conns.close(4, c.END_FLUSHED);
    }
  }
  assert.equal(seen, [1, 3, 5, 6]);
});

test('a burst is touched, guessed and confirmed, and comes to what a search finds', () => {
  const { conns } = new ConnRig(8);
  const spec = specOf(1);
  const row = conns.open(spec);
  const key = [spec.caddr, spec.vaddr, ports(spec.cport, spec.vport)] as const;
  const known = conns.hash(...key);
  const unknown = conns.hash(1, 2, 3);
  const hashes = Int32Array.of(known, unknown, known);
  const hits = new Int32Array(3);
  assert.type(conns.touchAll(hashes, 3), 'number');
  assert.is(conns.guessAll(hashes, hits, 2), spec.caddr, 'an unknown packet touches row 0');
  assert.equal([...hits], [row << 1, 0, 0]);
  assert.is(conns.confirm(hits[0]!, known, ...key), row << 1);
  assert.is(conns.confirm(hits[1]!, unknown, 1, 2, 3), 0);
  assert.is(conns.confirm(0, conns.hash(0, 0, 0), 0, 0, 0), 0, 'row 0 is nobody');
  assert.is(conns.confirm(0, known, ...key), row << 1, 'opened since the guess');
  assert.is(conns.confirm(hits[0]!, unknown, 1, 2, 3), 0, 'a guess that is wrong');
});

test('a guess is no longer believed when its connection has ended', () => {
  const { conns } = new ConnRig(8);
  const spec = specOf(1);
  const key = [spec.caddr, spec.vaddr, ports(spec.cport, spec.vport)] as const;
  const h = conns.hash(...key);
  const guess = conns.open(spec) << 1;
  conns.close(guess >> 1, c.END_REUSED);
  assert.is(conns.confirm(guess, h, ...key), 0);
  conns.open(specOf(2));
  assert.is(conns.confirm(guess, h, ...key), 0, 'the row is another one now');
  const again = conns.open(spec);
  assert.is(conns.confirm(guess, h, ...key), again << 1);
  conns.invalidate(again);
  assert.is(conns.confirm(again << 1, h, ...key), 0);
});

test('packets and bytes are counted whatever their number', () => {
  const { conns } = new ConnRig(4);
  const row = conns.open(specOf(1));
  const { cold } = conns;
  let bytes = 0;
  for (let i = 0; i < 10_000; i++) {
    const size = (i * 7919) % 65_000;
    bytes += size;
    cold.count(row, c.IN, 1 + (i % 45), size);
    if (i % 3 === 0) cold.count(row, c.OUT, 1, 64);
  }
  let pkts = 0;
  for (let i = 0; i < 10_000; i++) pkts += 1 + (i % 45);
  assert.equal([cold.packets(row, c.IN), cold.bytes(row, c.IN)], [pkts, bytes]);
  assert.equal([cold.packets(row, c.OUT), cold.bytes(row, c.OUT)], [3334, 3334 * 64]);
});

test('the hash is keyed: two tables differ', () => {
  assert.is.not(new ConnRig(4, 2, 0, 1).conns.hash(1, 2, 3), new ConnRig(4, 2, 0, 2).conns.hash(1, 2, 3));
});

test('a connection of a million takes at most 200 bytes', () => {
  assert.ok(ConnTable.bytes(1_000_000) < 160e6, `${ConnTable.bytes(1_000_000)}`);
});

test.run();

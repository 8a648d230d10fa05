import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { AckShift } from '../../../../src/replay/ack-shift.ts';
import { ethernet, ipv4, quad, type Segment, tcp } from '../../../lib/frames.ts';
import { naiveSum } from '../../../lib/naive-checksum.ts';

const [SYN, ACK] = [2, 16];
const CLIENT = '10.0.0.1';
const VIP = '10.0.0.2';
const IN = { src: CLIENT, sport: 4000, dst: VIP, dport: 80 };
const OUT = { src: VIP, sport: 80, dst: CLIENT, dport: 4000 };

const frame = (s: Segment): Uint8Array =>
  ethernet('02:00:00:00:00:02', '02:00:00:00:00:01', 0x0800, ipv4({ src: s.src, dst: s.dst, proto: 6 }, tcp(s)));

const word = (bytes: Uint8Array, at: number): number => new DataView(bytes.buffer, bytes.byteOffset).getUint32(at);
const ackOf = (bytes: Uint8Array): number => word(bytes, 14 + 20 + 8);

function assertChecksum(bytes: Uint8Array): void {
  const l4 = bytes.subarray(14 + 20, 14 + (bytes[16]! << 8) + bytes[17]!);
  assert.is(naiveSum([...quad(CLIENT), ...quad(VIP), 0, 6, 0, l4.length, ...l4]), 0xffff, 'TCP checksum');
}

/** A recording in which the server's number was `recorded`, replayed where it is `ours`. */
function shift(recorded: number, ours: number): AckShift {
  const shifted = new AckShift();
  shifted.sent(frame({ ...OUT, seq: ours, ack: 1001, flags: SYN | ACK }));
  const first = shifted.received(frame({ ...IN, seq: 1001, ack: (recorded + 1) >>> 0, flags: ACK }));
  assert.is(ackOf(first), (ours + 1) >>> 0);
  assertChecksum(first);
  return shifted;
}

test('acknowledgments move by the difference of the initial numbers, across the wrap too', () => {
  for (const [recorded, ours] of [
    [100, 5000],
    [5000, 100],
    [0xfffffff0, 7],
    [7, 0xfffffff0],
    [0x7fffffff, 0x80000001],
  ] as const) {
    const s = shift(recorded, ours);
    const later = s.received(
      frame({ ...IN, seq: 1001, ack: (recorded + 1 + 3000) >>> 0, flags: ACK, data: [1, 2, 3] }),
    );
    assert.is(ackOf(later), (ours + 1 + 3000) >>> 0);
    assertChecksum(later);
  }
});

test('SACK blocks move too, wherever they stand', () => {
  const be32 = (v: number): number[] => [v >>> 24, (v >>> 16) & 255, (v >>> 8) & 255, v & 255];
  for (const options of [
    [1, 1, 5, 10, ...be32(2000), ...be32(3000)],
    [1, 5, 10, ...be32(2000), ...be32(3000), 1],
    [5, 10, ...be32(2000), ...be32(3000), 1, 1],
  ]) {
    const s = shift(100, 70_000);
    const moved = s.received(frame({ ...IN, seq: 1001, ack: 101, flags: ACK, options }));
    const at = 14 + 20 + 20 + options.indexOf(5) + 2;
    assert.equal([word(moved, at), word(moved, at + 4)], [2000 + 69_900, 3000 + 69_900]);
    assertChecksum(moved);
  }
});

test('what is no part of a connection seen from its beginning passes unchanged', () => {
  const s = shift(100, 5000);
  for (const bytes of [
    frame({ ...IN, sport: 4001, seq: 1, ack: 101, flags: ACK }),
    frame({ ...IN, seq: 1, flags: SYN }),
    frame({ ...IN, seq: 1, ack: 101, flags: ACK }).subarray(0, 14 + 20 + 19),
    ethernet(
      '02:00:00:00:00:02',
      '02:00:00:00:00:01',
      0x0800,
      ipv4({ src: CLIENT, dst: VIP, proto: 17 }, tcp({ ...IN, seq: 1, flags: ACK })),
    ),
    ethernet('02:00:00:00:00:02', '02:00:00:00:00:01', 0x0806, []),
  ]) {
    assert.is(s.received(bytes), bytes);
  }
});

test('the received bytes stay as they were recorded', () => {
  const s = shift(100, 5000);
  const plain = frame({ ...IN, seq: 1001, ack: 101, flags: ACK });
  for (const bytes of [plain.slice(), Buffer.from(plain)]) {
    assert.is(ackOf(s.received(bytes)), 5001);
    assert.is(s.movedBy, 4900);
    assert.equal([...bytes], [...plain]);
  }
});

test('a new connection on the same ports learns anew, a SYN-ACK sent again does not', () => {
  const s = shift(100, 5000);
  s.sent(frame({ ...OUT, seq: 5000, ack: 1001, flags: SYN | ACK }));
  assert.is(ackOf(s.received(frame({ ...IN, seq: 1001, ack: 201, flags: ACK }))), 5101);
  s.sent(frame({ ...OUT, seq: 9000, ack: 3001, flags: SYN | ACK }));
  assert.is(ackOf(s.received(frame({ ...IN, seq: 3001, ack: 701, flags: ACK }))), 9001);
});

test.run();

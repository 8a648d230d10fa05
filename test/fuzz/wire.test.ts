/**
 * Any bytes at all, given to the parsers of stack/wire and to ARP: `check` says yes or no without reading beyond the end,
 * and what it says agrees with a parser written the slow way over DataView. ARP neither throws nor loses a frame.
 */
import * as fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { listNeighbours } from '../../stack/neigh/snapshot.ts';
import { STALE } from '../../stack/neigh/state.ts';
import * as arp from '../../stack/wire/arp.ts';
import * as ethernet from '../../stack/wire/ethernet.ts';
import * as icmp from '../../stack/wire/icmp4.ts';
import * as ip from '../../stack/wire/ipv4.ts';
import { naiveSum } from '../lib/naive-checksum.ts';
import { ip as addr, advance, assertConserved, entry, hearBytes, rig, send } from '../lib/neigh-rig.ts';

// A failure prints its seed; given here as `seed` it repeats it.
const runs = { numRuns: 3000 };
const OFF = 18;

/** Random bytes, or those of a right packet with a few changed and some cut off: the interesting neighbourhood. */
const near = (packet: readonly number[]): fc.Arbitrary<Uint8Array> => {
  const change = fc.record({ at: fc.nat(packet.length - 1), value: fc.nat(255) });
  const mutated = fc
    .record({ changes: fc.array(change, { maxLength: 3 }), length: fc.nat(packet.length), cut: fc.boolean() })
    .map(({ changes, length, cut }) => {
      const bytes = Uint8Array.from(packet);
      for (const { at, value } of changes) bytes[at] = value;
      return cut ? bytes.subarray(0, length) : bytes;
    });
  return fc.oneof(fc.uint8Array({ maxLength: 80, size: 'max' }), mutated, mutated);
};

/** The same bytes twice, in surroundings of zeros and of ones: who reads beyond the end sees a difference. */
function twice<T>(bytes: Uint8Array, read: (buf: Uint8Array, i32: Int32Array, end: number) => T): T {
  const [first, second] = [0, 0xff].map((around) => {
    const i32 = new Int32Array(64).fill(around === 0 ? 0 : -1);
    const buf = new Uint8Array(i32.buffer);
    buf.set(bytes, OFF);
    return read(buf, i32, OFF + bytes.length);
  });
  assert.equal(first, second, 'depends on bytes beyond the end');
  return first!;
}

const view = (b: Uint8Array): DataView => new DataView(b.buffer, b.byteOffset, b.byteLength);

test('arp.check', () => {
  const packet = [0, 1, 8, 0, 6, 4, 0, 1, 2, 0, 0, 0, 0, 9, 10, 0, 0, 9, 0, 0, 0, 0, 0, 0, 10, 0, 0, 1];
  fc.assert(
    fc.property(near(packet), (bytes) => {
      const isArp =
        bytes.length >= 28 &&
        [0, 1, 8, 0, 6, 4, 0].every((b, i) => bytes[i] === b) &&
        (bytes[7] === 1 || bytes[7] === 2);
      const fields = twice(bytes, (buf, _, end) =>
        arp.check(buf, OFF, end) === 0
          ? [arp.senderIp(buf, OFF), arp.targetHi(buf, OFF), arp.targetIp(buf, OFF)]
          : null,
      );
      if (!isArp) return assert.is(fields, null);
      const v = view(bytes);
      assert.equal(fields, [v.getInt32(14), v.getUint16(18), v.getInt32(24)]);
    }),
    runs,
  );
});

test('ipv4.check', () => {
  const header = [0x46, 0, 0, 28, 0, 1, 0x20, 7, 9, 17, 0, 0, 10, 0, 0, 1, 10, 0, 0, 2, 1, 1, 1, 0, 5, 6, 7, 8];
  const right = fc.boolean();
  fc.assert(
    fc.property(near(header), right, (bytes, fix) => {
      const length = bytes.length < 20 ? 0 : (bytes[0]! & 15) * 4;
      // Half of the packets get a right checksum, or no mutation would ever come past it.
      if (fix && length >= 20 && length <= bytes.length) {
        bytes.set([0, 0], 10);
        view(bytes).setUint16(10, 0xffff - naiveSum(bytes.subarray(0, length)));
      }
      const fields = twice(bytes, (buf, i32, end) =>
        ip.check(buf, i32, OFF, end) === 0
          ? [ip.headerLength(buf, OFF), ip.totalLength(buf, OFF), ip.fragmentOffset(buf, OFF), ip.dst(buf, OFF)]
          : null,
      );
      const total = bytes.length < 20 ? 0 : view(bytes).getUint16(2);
      const isIp =
        length >= 20 &&
        bytes[0]! >> 4 === 4 &&
        total >= length &&
        total <= bytes.length &&
        naiveSum(bytes.subarray(0, length)) === 0xffff;
      if (!isIp) return assert.is(fields, null);
      assert.equal(fields, [length, total, (view(bytes).getUint16(6) % 8192) * 8, view(bytes).getInt32(16)]);
    }),
    runs,
  );
});

test('icmp4.check', () => {
  const echo = [8, 0, 0x54, 0x2f, 0x12, 0x34, 0, 7, 0x61, 0x62, 0x63, 0x64, 0x65, 0x66, 0x67, 0x68];
  fc.assert(
    fc.property(near(echo), (bytes) => {
      const ok = twice(bytes, (buf, i32, end) => icmp.check(buf, i32, OFF, end) === 0);
      assert.is(ok, bytes.length >= 8 && naiveSum(bytes) === 0xffff);
    }),
    runs,
  );
});

test('ethernet.check', () => {
  fc.assert(
    fc.property(fc.uint8Array({ maxLength: 30, size: 'max' }), (bytes) => {
      const type = twice(bytes, (buf, _, end) => (ethernet.check(OFF, end) === 0 ? ethernet.type(buf, OFF) : -1));
      assert.is(type, bytes.length < 14 ? -1 : view(bytes).getUint16(12));
    }),
    runs,
  );
});

test('ARP survives anything, loses no frame and never learns a wrong address', () => {
  const host = fc.integer({ min: 0, max: 12 }).map((n) => [10, 0, 0, n]);
  const any = fc.uint8Array({ minLength: 4, maxLength: 4 }).map((b) => [...b]);
  const mac = fc.oneof(
    fc.constantFrom([2, 0, 0, 0, 0, 1], [1, 0, 0x5e, 0, 0, 1], [255, 255, 255, 255, 255, 255], [0, 0, 0, 0, 0, 0]),
    fc.integer({ min: 0, max: 5 }).map((n) => [2, 0x10, 0, 0, 0, n]),
  );
  const address = fc.oneof(host, host, host, any);
  const packet = fc
    .tuple(fc.constantFrom(1, 1, 2, 2, 3), mac, address, mac, address)
    .map(([op, m1, a1, m2, a2]) => Uint8Array.from([0, 1, 8, 0, 6, 4, 0, op, ...m1, ...a1, ...m2, ...a2]));
  const event = fc.oneof(
    fc.record({ kind: fc.constant('hear' as const), bytes: packet, port: fc.integer({ min: 1, max: 2 }) }),
    fc.record({
      kind: fc.constant('hear' as const),
      bytes: fc.uint8Array({ maxLength: 60, size: 'max' }),
      port: fc.constant(1),
    }),
    fc.record({ kind: fc.constant('send' as const), to: fc.integer({ min: 2, max: 12 }) }),
    fc.record({ kind: fc.constant('confirm' as const), to: fc.integer({ min: 2, max: 12 }) }),
    fc.record({ kind: fc.constant('wait' as const), ms: fc.nat(20_000) }),
    fc.record({ kind: fc.constant('down' as const), port: fc.integer({ min: 1, max: 2 }) }),
  );
  fc.assert(
    fc.property(fc.array(event, { maxLength: 60, size: 'max' }), (events) => {
      const r = rig({ maxNeighbours: 6, queuePerNeighbour: 4, queueTotal: 10 });
      r.neigh.nud.setStatic(addr(10, 0, 0, 12), 1, 0x0210, 0xcafe);
      for (const e of events) {
        if (e.kind === 'hear') assert.ok(hearBytes(r, e.bytes, e.port) > 1);
        else if (e.kind === 'send') send(r, addr(10, 0, 0, e.to));
        else if (e.kind === 'confirm') r.neigh.nud.confirm(addr(10, 0, 0, e.to), 1);
        else if (e.kind === 'down') r.neigh.nud.flushPort(e.port);
        else advance(r, e.ms);
        assertConserved(r);
      }
      for (const { addr: own, port } of r.addresses.list()) assert.is(entry(r, own, port), undefined);
      assert.is(entry(r, addr(10, 0, 0, 12))!.macLo, 0xcafe);
      for (const { state, macHi, macLo } of listNeighbours(r.neigh.table.words)) {
        if (state >= STALE) assert.ok((macHi & 0x0100) === 0 && (macHi | macLo) !== 0, 'a MAC address of one host');
      }
      advance(r, 86_400_000);
      assert.is(r.ctx.pool.inUse, 0, 'nothing waits for ever');
    }),
    { numRuns: 300 },
  );
});

test.run();

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { decrementTtl, macRest, macStart, packetLength, plainWord } from '../../../../stack/ipv4/plain.ts';
import { F_CSUM_PARTIAL, F_CSUM_VALID, F_L2_MULTICAST, type FramePool } from '../../../../stack/mem/frame-pool.ts';
import { Port } from '../../../../stack/netif/port.ts';
import { ipv4Packet, makeContext, pattern } from '../../../lib/ip-bench.ts';
import { naiveChecksum } from '../../../lib/naive-checksum.ts';
import { NullDevice } from '../../../lib/null-device.ts';

const ctx = makeContext();
const { pool } = ctx;
const port = new Port(1, new NullDevice(ctx), 0x0200, 0x5e000007);

/** A frame for the port around a packet, `behind` bytes longer, as `change` makes it. */
function frame(
  packet: Uint8Array,
  behind = 0,
  change: (pool: FramePool, f: number, off: number) => void = () => {},
): number {
  const f = pool.alloc();
  const off = pool.off[f]!;
  pool.buf.set([2, 0, 0x5e, 0, 0, 7, 2, 0, 0, 0, 0, 9, 8, 0], off);
  pool.buf.set(packet, off + 14);
  pool.len[f] = 14 + packet.length + behind;
  change(pool, f, off);
  const w = plainWord(pool, f, macStart(port), macRest(port));
  pool.release(f);
  return w === 0 ? 0 : (w << 2) - off;
}

/** A header that says `length`, its checksum right. */
function saying(length: number): Uint8Array {
  const packet = ipv4Packet({ payload: pattern(6) });
  packet.set([length >> 8, length & 255], 2);
  packet.set([0, 0], 10);
  const sum = naiveChecksum(packet.subarray(0, 20));
  packet.set([sum >> 8, sum & 255], 10);
  return packet;
}

const whole = ipv4Packet({ payload: pattern(26) });

test('plain: a whole packet, padded or not, its layer-4 checksum known or not, fragments too', () => {
  assert.is(frame(whole), 14);
  assert.is(frame(ipv4Packet({ payload: pattern(6) }), 20), 14);
  assert.is(frame(ipv4Packet({})), 14);
  assert.is(frame(ipv4Packet({ mf: true, offset: 80, payload: pattern(8) })), 14);
  assert.is(
    frame(whole, 0, ({ flags }, f) => (flags[f] = F_CSUM_VALID)),
    14,
  );
});

const NOT: Record<string, () => number> = {
  'another port’s address, first bytes': () => frame(whole, 0, ({ buf }, _, off) => (buf[off] = 4)),
  'another port’s address, last bytes': () => frame(whole, 0, ({ buf }, _, off) => (buf[off + 5] = 8)),
  'a broadcast': () => frame(whole, 0, ({ buf }, _, off) => buf.fill(255, off, off + 6)),
  'another type': () => frame(whole, 0, ({ buf }, _, off) => (buf[off + 13] = 6)),
  'not on a boundary': () => frame(whole, 0, ({ off }, f) => (off[f]! += 1)),
  'a checksum to be finished': () => frame(whole, 0, ({ flags }, f) => (flags[f] = F_CSUM_PARTIAL)),
  'a group’s': () => frame(whole, 0, ({ flags }, f) => (flags[f] = F_L2_MULTICAST)),
  'to be cut': () => frame(whole, 0, ({ gsoSize }, f) => (gsoSize[f] = 1448)),
  'in two pieces': () => frame(whole, 0, ({ fragLen }, f) => (fragLen[f] = 8)),
  'another version': () => frame(whole, 0, ({ buf }, _, off) => (buf[off + 14] = 0x65)),
  options: () => frame(ipv4Packet({ options: [1, 1, 1, 0] })),
  'cut off': () => frame(whole, -1),
  'longer than the frame': () => frame(saying(27)),
  'shorter than its header': () => frame(saying(19)),
  'a checksum that is wrong': () => frame(whole, 0, ({ buf }, _, off) => (buf[off + 25]! ^= 1)),
};
for (const [what, word] of Object.entries(NOT)) test(`not plain: ${what}`, () => assert.is(word(), 0));

test('the length a header says', () => {
  for (const length of [20, 255, 256, 1500, 65535]) {
    const i32 = new Int32Array(saying(length).slice(0, 20).buffer);
    assert.is(packetLength(i32, 0), length);
  }
});

test('one hop less: the checksum is right for every identification', () => {
  for (let id = 0; id < 65536; id++) {
    const packet = ipv4Packet({ id, ttl: 2 + (id % 254) });
    decrementTtl(new Int32Array(packet.buffer), 0);
    assert.is(packet[8], 1 + (id % 254));
    assert.is(naiveChecksum(packet), 0);
  }
});

test.run();

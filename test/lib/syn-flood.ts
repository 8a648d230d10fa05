/**
 * Sends SYNs from random public addresses and ports, on an interface, as fast as is asked. Program: `syn-flood.ts INTERFACE MAC ADDRESS
 * PORT COUNT PER_MILLISECOND SEED`; runs in a namespace, for vip-net.ts.
 */
import { PacketDevice } from '../../src/links/packet.ts';
import { openPacket } from '../../src/links/packet-open.ts';
import { Context } from '../../stack/context.ts';
import { FramePool } from '../../stack/mem/frame-pool.ts';
import { mac, quad } from './frames.ts';
import { naiveSum } from './naive-checksum.ts';
import { seeded } from './random.ts';
import { segmentFrame } from './segment.ts';

const [device = '', target = '', address = '', ...numbers] = process.argv.slice(2);
const [port = 0, count = 0, perMs = 0, seed = 0] = numbers.map(Number);

const BURST = 64;
/** Where they stand in a frame: source address, IP checksum, source port, sequence number, TCP checksum. */
const [SRC, IP_SUM, SPORT, SEQ, TCP_SUM] = [26, 24, 34, 38, 50];

const random = seeded(seed);
const ctx = new Context(
  FramePool.create({ slots: 256, slotBytes: 2048, bigSlots: 1, bigSlotBytes: 69632 }),
  seeded(seed + 1),
);
const link = new PacketDevice(ctx, openPacket({ name: device, offload: false, mac: null, ring: false }));
const { pool } = ctx;

const [a = 0, b = 0, c = 0, d = 0] = quad(address);
const empty = { src: 0, sport: 0, seq: 0, ack: 0, win: 64240, data: new Uint8Array(0), flags: 'S' };
const template = segmentFrame({ ...empty, dst: (a << 24) | (b << 16) | (c << 8) | d, dport: port, mss: 1460 });
template.set(mac(target), 0);
const bytes = new DataView(template.buffer);
/** Of everything that stays, as ones' complement; what changes is 0 in the template. */
const [ipRest, tcpRest] = [0xffff - bytes.getUint16(IP_SUM), 0xffff - bytes.getUint16(TCP_SUM)];
const inverted = (...words: number[]): number => {
  const pairs = words.flatMap((word) => [(word >> 8) & 255, word & 255]);
  return 0xffff - naiveSum(Uint8Array.from(pairs));
};

function next(): number {
  const f = ctx.create();
  const hi = ((1 + ((random.next() >>> 0) % 220)) << 8) | (random.next() & 255);
  const lo = random.next() & 0xffff;
  const sport = 1024 + ((random.next() >>> 0) % 64_000);
  const seq = random.next();
  bytes.setUint16(SRC, hi);
  bytes.setUint16(SRC + 2, lo);
  bytes.setUint16(SPORT, sport);
  bytes.setInt32(SEQ, seq);
  bytes.setUint16(IP_SUM, inverted(ipRest, hi, lo));
  bytes.setUint16(TCP_SUM, inverted(tcpRest, hi, lo, sport, seq >>> 16, seq & 0xffff));
  pool.buf.set(template, pool.off[f]!);
  pool.len[f] = template.length;
  return f;
}

const frames = new Int32Array(BURST);
const began = performance.now();
for (let sent = 0; sent < count; ) {
  if (sent > (performance.now() - began) * perMs) continue;
  const n = Math.min(BURST, count - sent);
  for (let i = 0; i < n; i++) frames[i] = next();
  for (let done = 0; done < n; ) done += link.tx(frames, done, n);
  sent += n;
}
link.close();
console.log(`${count} SYNs in ${(performance.now() - began).toFixed(0)} ms, ${link.stats.txFrames} sent`);

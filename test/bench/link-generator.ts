/**
 * Sends UDP packets of 60 bytes from as many clients as asked for to one address and port, through an AF_XDP socket. Program:
 * `link-generator INTERFACE MAC ADDRESS PORT FLOWS`; runs in a namespace and on the last processor, for links.ts. The frames are made
 * once and sent again and again, so that what a packet costs here is the kernel's.
 *
 * Reads orders from standard input, one `COUNT RATE` a line (packets; packets per second, 0 = as fast as it goes), and answers each
 * with a line of JSON: Sent. Ends with its input.
 */
import { availableParallelism } from 'node:os';
import { createInterface } from 'node:readline';
import { syscalls } from '../../src/links/syscall.ts';
import { openXdp } from '../../src/links/xdp-open.ts';
import { XdpQueue } from '../../src/links/xdp-queue.ts';
import { umemOf, XDP_RING } from '../../src/links/xdp-socket.ts';
import { pinTo } from '../../src/workers/pin.ts';
import { FramePool } from '../../stack/mem/frame-pool.ts';
import { PROTO_UDP } from '../../stack/wire/ipv4.ts';
import { ethernet, ipv4 } from '../lib/frames.ts';

/** What became of an order. */
export interface Sent {
  /** Packets that the kernel took. */
  readonly sent: number;
  readonly ms: number;
}

const OUR_MAC = '02:00:00:00:99:01';
/** Packets sent with one system call. */
const BURST = 64;
/** Packets that the order may lag behind its rate: a generator that was kept from running does not make up for it all at once. */
const LAG = 1024;

const [device = '', mac = '', address = '', ...numbers] = process.argv.slice(2);
const [port = 0, flows = 0] = numbers.map(Number);

pinTo(availableParallelism() - 1);
const pool = FramePool.create({ slots: flows + 1, slotBytes: 2048, bigSlots: 1, bigSlotBytes: 69632 });
const sys = syscalls();
const memory = { umem: umemOf(sys, pool), share: -1 };
const [handle] = openXdp({ name: device, mac: null, mode: 'generic' }, [memory]);
const queue = new XdpQueue(sys, handle!.queues[0]!);

const places = new Int32Array(flows);
let frameBytes = 0;
for (let i = 0; i < flows; i++) {
  const f = pool.alloc();
  const [high, low] = [i >> 8, i & 255];
  const datagram = [0x9c, 0x40, port >> 8, port & 255, 0, 26, 0, 0, ...new Uint8Array(18)];
  const src = `64.0.${high}.${low}`;
  const frame = ethernet(
    mac,
    OUR_MAC,
    0x0800,
    ipv4({ src, dst: address, proto: PROTO_UDP, fragment: 0x4000 }, datagram),
  );
  pool.buf.set(frame, pool.off[f]!);
  places[i] = pool.off[f]!;
  frameBytes = frame.length;
}

let next = 0;
let onTheWay = 0;

/** Queues up to `n` packets as far as there is room, and has them sent; gives how many. */
function send(n: number): number {
  const done = queue.sent();
  queue.sentDone(done);
  onTheWay -= done;
  const k = Math.min(n, XDP_RING - onTheWay);
  for (let i = 0; i < k; i++) {
    queue.put(places[next]!, frameBytes);
    next = next + 1 === flows ? 0 : next + 1;
  }
  onTheWay += k;
  queue.kick();
  return k;
}

function run(count: number, rate: number): Sent {
  const perMs = rate / 1000;
  let start = performance.now();
  const began = start;
  let sent = 0;
  while (sent < count) {
    let n = Math.min(BURST, count - sent);
    if (rate > 0) {
      const now = performance.now();
      const due = (now - start) * perMs - sent;
      if (due > LAG) start += (due - LAG) / perMs;
      if (due < n) continue;
      n = Math.min(n, due | 0);
    }
    sent += send(n);
  }
  while (onTheWay > 0) send(0);
  return { sent, ms: performance.now() - began };
}

console.log('ready');
for await (const line of createInterface({ input: process.stdin })) {
  const [count = 0, rate = 0] = line.split(' ').map(Number);
  console.log(JSON.stringify(run(count, rate)));
}

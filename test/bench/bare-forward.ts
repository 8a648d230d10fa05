/**
 * What two AF_XDP sockets and the kernel cost by themselves: takes the frames that come in by one interface, writes another destination
 * MAC address into them, and sends them by the other. Sockets and rings are the product's (src/links), one memory for both as there; no
 * stack, no director. Program `bare-forward MODE IN OUT ADDRESS MAC`; takes what is sent to ADDRESS. For links.ts, beside tsvs.
 *
 * Slots go round: fill ring of IN, its receive ring, ring to send of OUT, its completion ring. It never sleeps. Answers each line of
 * standard input with a line of JSON, Passed; ends with its input.
 * @hot
 */
import { createInterface } from 'node:readline';
import type { XdpMode } from '../../src/config/model.ts';
import { Bpf } from '../../src/links/bpf.ts';
import { syscalls } from '../../src/links/syscall.ts';
import { openXdp, type XdpHandle } from '../../src/links/xdp-open.ts';
import { XdpQueue } from '../../src/links/xdp-queue.ts';
import { umemOf, XDP_RING } from '../../src/links/xdp-socket.ts';
import { XdpStatistics } from '../../src/links/xdp-statistics.ts';
import { FramePool } from '../../stack/mem/frame-pool.ts';
import { BURST } from '../../stack/netif/device.ts';
import type { Passed } from './link-subjects.ts';

const SLOT_BYTES = 2048;
/** Turns between two looks at standard input. */
const TURNS = 256;

const [mode = 'generic', nameIn = '', nameOut = '', address = '', macText = ''] = process.argv.slice(2);
const mac = Uint8Array.from(macText.split(':'), (byte) => Number.parseInt(byte, 16));

const sys = syscalls();
const pool = FramePool.create({ slots: XDP_RING + 1, slotBytes: SLOT_BYTES, bigSlots: 1, bigSlotBytes: 69632 });
const umem = umemOf(sys, pool);
const open = (name: string, share: number): XdpHandle =>
  openXdp({ name, mac: null, mode: mode as XdpMode }, [{ umem, share }])[0]!;
const handleIn = open(nameIn, -1);
const handleOut = open(nameOut, handleIn.queues[0]!.fd);
const from = new XdpQueue(sys, handleIn.queues[0]!);
const to = new XdpQueue(sys, handleOut.queues[0]!);
const losses = new XdpStatistics(sys);
// The map has addresses as they are in a packet.
new Bpf(sys).setEntry(handleIn.addresses, Buffer.from(address.split('.').map(Number)).readInt32LE(), 1);

for (let slot = 1; slot <= XDP_RING; slot++) from.fill(slot * SLOT_BYTES);
from.fillDone();

const { buf } = pool;
let received = 0;
let forwarded = 0;

function turn(): void {
  let n = Math.min(from.received(), BURST, to.txRoom());
  for (let i = 0; i < n; i++) {
    const at = from.rxAddress(i);
    for (let k = 0; k < 6; k++) buf[at + k] = mac[k]!;
    to.put(at, from.rxLength(i));
  }
  if (n > 0) from.rxDone(n);
  received += n;
  if (to.isSending()) to.kick();
  n = to.sent();
  if (n === 0) return;
  for (let i = 0; i < n; i++) from.fill(to.sentAddress(i) & -SLOT_BYTES);
  to.sentDone(n);
  from.fillDone();
  forwarded += n;
}

const input = createInterface({ input: process.stdin });
let ended = false;
input.on('close', () => {
  ended = true;
});
input.on('line', () => {
  const passed: Passed = { missed: losses.read([from]), received, dropped: received - forwarded, forwarded, own: 0 };
  console.log(JSON.stringify(passed));
});
console.log('ready');
while (!ended) {
  for (let i = 0; i < TURNS; i++) turn();
  await new Promise(setImmediate);
}

/**
 * The least that a process on a TAP can do for a ping: it sleeps in poll(2), reads a frame, turns it around and writes it.
 * What tsvs takes beyond that is its own; what this takes beyond the kernel's answer is waking a process. Answers ARP and
 * ICMP echo for anybody; the other frames are thrown away. Bundled beside main.ts, and run as a peer of the lab (lab-peers.ts).
 *
 * Usage: node mirror.mjs TAP [busy]
 * With `busy` it never sleeps.
 */

import { NativeBytes, POLLIN, syscalls } from '../../src/links/syscall.ts';
import { openTap } from '../../src/links/tap-open.ts';
import { ETHERTYPE_ARP, ETHERTYPE_IPV4 } from '../../stack/wire/ethernet.ts';
import { PROTO_ICMP } from '../../stack/wire/ipv4.ts';

const ROOM = 2048;
const MAC = [0x02, 0, 0x0a, 9, 0, 0x0a];
const ARP_REPLY = 2;
const ECHO_REQUEST = 8;
/** Offsets in the frame. */
const ARP = 14;
const IPV4 = 14;

const [tap = '', polling] = process.argv.slice(2);
const isBusy = polling === 'busy';
const sys = syscalls();
const { fd } = openTap({ name: tap, offload: false });
const native = new NativeBytes(sys, ROOM);
const frame = native.u8;
const waiting = new NativeBytes(sys, 8);
waiting.i32[0] = fd;
waiting.u16[2] = POLLIN;

/** From the sender of the frame to us becomes from us to the sender. */
function turnEthernet(): void {
  frame.copyWithin(0, 6, 12);
  frame.set(MAC, 6);
}

function turnArp(): void {
  frame[ARP + 7] = ARP_REPLY;
  const asked = frame.slice(ARP + 24, ARP + 28);
  frame.copyWithin(ARP + 18, ARP + 8, ARP + 18);
  frame.set(MAC, ARP + 8);
  frame.set(asked, ARP + 14);
}

function turnEcho(icmp: number): void {
  const from = frame.slice(IPV4 + 12, IPV4 + 16);
  frame.copyWithin(IPV4 + 12, IPV4 + 16, IPV4 + 20);
  frame.set(from, IPV4 + 16);
  frame[icmp] = 0;
  // The type has become 8 less, so the sum of the rest is 0x0800 more (RFC 1624).
  const sum = ((frame[icmp + 2]! << 8) | frame[icmp + 3]!) + (ECHO_REQUEST << 8);
  const folded = (sum & 0xffff) + (sum >>> 16);
  frame[icmp + 2] = folded >> 8;
  frame[icmp + 3] = folded;
}

/** Turns the frame around; false when it is not to be answered. */
function turn(): boolean {
  const type = (frame[12]! << 8) | frame[13]!;
  const icmp = IPV4 + (frame[IPV4]! & 15) * 4;
  if (type === ETHERTYPE_ARP && frame[ARP + 7] === 1) turnArp();
  else if (type === ETHERTYPE_IPV4 && frame[IPV4 + 9] === PROTO_ICMP && frame[icmp] === ECHO_REQUEST) turnEcho(icmp);
  else return false;
  turnEthernet();
  return true;
}

console.log('ready');
for (;;) {
  if (!isBusy) sys.poll(waiting.address, 1, -1);
  const length = sys.read(fd, native.address, ROOM);
  if (length > 0 && turn()) sys.write(fd, native.address, length);
}

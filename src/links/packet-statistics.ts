/** What the kernel had to drop of what a packet socket was to receive, because nobody had taken enough of it: packet(7). */
import { SOL_PACKET } from './packet-open.ts';
import type { NativeBytes, Syscalls } from './syscall.ts';

const PACKET_STATISTICS = 6;
/** struct tpacket_stats: packets u32, drops u32. */
const BYTES = 8;
/** Where its length stands in the memory that is lent. */
const LENGTH = 8;
export const STATISTICS_BYTES = 16;

/** Frames dropped since the last question; -1 when `fd` is no packet socket. `value`: STATISTICS_BYTES to work with. */
export function droppedSince(sys: Syscalls, fd: number, value: NativeBytes): number {
  const { address, i32 } = value;
  i32[LENGTH >> 2] = BYTES;
  const asked = sys.getsockopt(fd, SOL_PACKET, PACKET_STATISTICS, address, address + LENGTH);
  return asked < 0 ? -1 : i32[1]! >>> 0;
}

/**
 * struct mmsghdr and struct iovec, of which sendmmsg(2) and recvmmsg(2) take arrays:
 *
 * ```
 *  mmsghdr  16 iov u64   24 number of iovs u64   56 bytes transferred u32      64 bytes each
 *  iovec     0 address u64    8 length u64                                     16 bytes each
 * ```
 */
import type { NativeBytes } from './syscall.ts';

export const MMSG_BYTES = 64;
/** Where the number of transferred bytes stands. */
export const MMSG_LEN = 56;
export const IOV_BYTES = 16;

/** Points the message at byte `at` of `native` to `count` iovecs at byte `iov`. */
export function setMessage(native: NativeBytes, at: number, iov: number, count: number): void {
  native.set64(at + 16, native.address + iov);
  native.set64(at + 24, count);
}

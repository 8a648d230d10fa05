/**
 * The Internet checksum as RFC 1071 §1 defines it, one 16-bit word after the other: the oracle for stack/wire/checksum.ts.
 */

/** Ones'-complement sum of big-endian 16-bit words; an odd last byte is padded with zero. 0..65535. */
export function naiveSum(bytes: ArrayLike<number>): number {
  let sum = 0;
  for (let i = 0; i < bytes.length; i += 2) {
    sum += bytes[i]! * 256 + (bytes[i + 1] ?? 0);
    if (sum > 0xffff) sum -= 0xffff;
  }
  return sum;
}

export const naiveChecksum = (bytes: ArrayLike<number>): number => 0xffff - naiveSum(bytes);

/** Bytes to write headers into, with the word view that checksums use, as the frame pool has them. */
export interface Memory {
  readonly buf: Uint8Array;
  readonly i32: Int32Array;
}

/** `bytes` placed at `off`; everything around them is 0xa5, so that a read or write beyond them shows. */
export function memory(bytes: ArrayLike<number>, off = 16, size = 256): Memory {
  const words = Math.ceil(Math.max(size, off + bytes.length + 16) / 4);
  const i32 = new Int32Array(new SharedArrayBuffer(words * 4));
  const buf = new Uint8Array(i32.buffer);
  buf.fill(0xa5);
  buf.set(bytes, off);
  return { buf, i32 };
}

/** `hex('45 00')`: bytes as packet dumps print them. */
export const hex = (text: string): Uint8Array =>
  Uint8Array.from(text.trim().split(/\s+/), (b) => Number.parseInt(b, 16));

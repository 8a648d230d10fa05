/**
 * The header every shared-memory block starts with, so that a thread that is handed (buffer, offset) finds out what stands there
 * before it believes it. One 64-byte line: magic, version, size in bytes, then up to 13 numbers of the block's own.
 * Cold; called by `create` and `attach` of the blocks in this folder.
 *
 * The header is written with plain stores. That is enough: the thread that attaches learned (buffer, offset) from the creator through
 * postMessage or workerData, and what was stored before a message was sent is visible to whoever received it.
 */

/** Cache line, bytes. Words that different threads write never share one. */
export const LINE_BYTES = 64;
/** The same in int32 words. */
export const LINE_WORDS = 16;
/** First word of a block's own numbers inside its header line. */
export const OWN = 3;

/** A block that is not what was expected, or a configuration no block can have. */
export class BlockError extends Error {
  readonly code: 'EBLOCK_CONFIG' | 'EBLOCK_MAGIC' | 'EBLOCK_VERSION' | 'EBLOCK_RANGE';
  constructor(code: BlockError['code'], message: string) {
    super(message);
    this.name = 'BlockError';
    this.code = code;
  }
}

/** Throws EBLOCK_CONFIG unless `ok`. */
export function demand(ok: boolean, message: string): void {
  if (!ok) throw new BlockError('EBLOCK_CONFIG', message);
}

/** True for 1, 2, 4, ... 2^30. */
export function isPowerOfTwo(n: number): boolean {
  return Number.isInteger(n) && n > 0 && n <= 0x40000000 && (n & (n - 1)) === 0;
}

/** `bytes` rounded up to whole cache lines. */
export function toLines(bytes: number): number {
  return Math.ceil(bytes / LINE_BYTES) * LINE_BYTES;
}

/** What kind of block, and which revision of its layout. */
export type BlockKind = { readonly name: string; readonly magic: number; readonly version: number };

/** Writes the header of a block of `bytes` bytes at `byteOffset`, returns the whole block as words. Errors: EBLOCK_RANGE. */
export function writeBlock(
  sab: SharedArrayBuffer,
  byteOffset: number,
  kind: BlockKind,
  bytes: number,
  own: readonly number[],
): Int32Array {
  checkRange(sab, byteOffset, kind, bytes);
  const words = new Int32Array(sab, byteOffset, bytes >> 2);
  words[0] = kind.magic;
  words[1] = kind.version;
  words[2] = bytes;
  for (let i = 0; i < own.length; i++) words[OWN + i] = own[i];
  return words;
}

/** Checks the header at `byteOffset`, returns the whole block as words. Errors: EBLOCK_MAGIC, EBLOCK_VERSION, EBLOCK_RANGE. */
export function openBlock(sab: SharedArrayBuffer, byteOffset: number, kind: BlockKind): Int32Array {
  checkRange(sab, byteOffset, kind, LINE_BYTES);
  const head = new Int32Array(sab, byteOffset, LINE_WORDS);
  if (head[0] !== kind.magic) throw new BlockError('EBLOCK_MAGIC', `no ${kind.name} at byte ${byteOffset}`);
  if (head[1] !== kind.version) {
    throw new BlockError('EBLOCK_VERSION', `${kind.name} has layout ${head[1]}, this program knows ${kind.version}`);
  }
  const bytes = head[2];
  checkRange(sab, byteOffset, kind, bytes);
  return new Int32Array(sab, byteOffset, bytes >> 2);
}

function checkRange(sab: SharedArrayBuffer, byteOffset: number, kind: BlockKind, bytes: number): void {
  const fits = byteOffset >= 0 && byteOffset % LINE_BYTES === 0 && bytes >= LINE_BYTES && bytes < 0x80000000;
  if (!fits || byteOffset + bytes > sab.byteLength) {
    const where = `${bytes} bytes at ${byteOffset} of ${sab.byteLength}`;
    throw new BlockError('EBLOCK_RANGE', `${kind.name} does not fit, or is not ${LINE_BYTES}-byte aligned: ${where}`);
  }
}

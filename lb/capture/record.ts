/**
 * Captured frames on their way to another thread: a ring of pieces, and a few words beside it. A frame takes one piece or several,
 * all or none: its head, then its bytes as they are on the wire.
 *
 * | memory       | writer           | reader                 |
 * | ------------ | ---------------- | ---------------------- |
 * | ring         | worker           | control, which empties |
 * | STATE ..LOST | worker (Atomics) | control                |
 *
 * Called by capture.ts and src/capture.
 */
import { SpscRing } from '../../stack/mem/spsc-ring.ts';

/** Words of a piece. */
export const PIECE_WORDS = 128;
const PIECES = 8192;
export const CAPTURE_RING = { capacity: PIECES, words: PIECE_WORDS };

// Words of a head.
/** Bytes that are there, and that the frame had. */
export const CAPTURED = 0;
export const ORIGINAL = 1;
/** Microseconds of the worker's clock, high and low word. */
export const TIME_HIGH = 2;
export const TIME_LOW = 3;
export const STAGE = 4;
export const LINK = 5;
/** Drop reason, 0 = none. */
export const REASON = 6;
/** Row of the connection at that moment, as conn-row.ts has it; 0 = none is known. */
export const SERVICE = 7;
export const DEST = 8;
export const META = 9;
/** conn-row.ts: IN or OUT. */
export const DIRECTION = 10;
/** 1 = made here, or leaving. */
export const OUTGOING = 11;
export const PROTOCOL = 12;
export const HEAD_WORDS = 13;

export const MAX_SNAP = 65535;

/** Pieces that a frame of so many bytes takes. */
export const piecesFor = (bytes: number): number => Math.ceil((HEAD_WORDS * 4 + bytes) / (PIECE_WORDS * 4));

// Words beside the ring.
export const STATE = 0;
/** Frames put into the ring, and those that found no room. */
export const TAKEN = 1;
export const LOST = 2;
const WORDS = 16;

/** Values of STATE. */
export const OFF = 0;
export const RUNNING = 1;
/** As many as were wanted. */
export const COMPLETE = 2;

const ringAt = WORDS * 4;

/** Made by the control thread. */
export function captureMemory(): SharedArrayBuffer {
  const memory = new SharedArrayBuffer(ringAt + SpscRing.bytes(CAPTURE_RING));
  SpscRing.create(memory, ringAt, CAPTURE_RING);
  return memory;
}

export interface CaptureEnds {
  readonly words: Int32Array;
  readonly ring: SpscRing;
}

/** One end of it, for either thread. */
export function attachCapture(memory: SharedArrayBuffer): CaptureEnds {
  return { words: new Int32Array(memory, 0, WORDS), ring: SpscRing.attach(memory, ringAt) };
}

/** Where a frame can be seen. */
export const STAGES = [
  'rx',
  'tx',
  'drop',
  'delivered',
  'pre_routing',
  'local_in',
  'forward',
  'local_out',
  'post_routing',
] as const;
export type Stage = (typeof STAGES)[number];

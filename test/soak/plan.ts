/**
 * What a soak does, all of it drawn from the seed: connection number n of a seed is the same in every run, for both sides,
 * so neither has to tell the other what to expect. Read by our end, by the kernel's (in a process of its own), and by the
 * judge.
 */
import { SeededRandom } from '../../src/workers/seeded.ts';

export type Side = 'tsvs' | 'kernel';

export const otherSide = (side: Side): Side => (side === 'tsvs' ? 'kernel' : 'tsvs');

/** What one side of a connection does. Sizes are bytes, counted from the first of the stream. */
export interface SidePlan {
  readonly send: number;
  /** Each write is 1 to this many bytes. */
  readonly writeMax: number;
  /** After so many bytes the writer rests for `restMs`; 0 = never. */
  readonly restEvery: number;
  readonly restMs: number;
  /** The reader stops once it has so many bytes, for `stopMs`; -1 = never. A window may shut meanwhile. */
  readonly stopAt: number;
  readonly stopMs: number;
  /** The reader takes at most so many bytes every few milliseconds; 0 = all it can get. */
  readonly sip: number;
  readonly noDelay: boolean;
  /** Closes its half only when the peer has closed its own. Never both. */
  readonly closesSecond: boolean;
  /** Resets once it has sent and received so many bytes together; -1 = it does not. Never both. */
  readonly resetAt: number;
}

export interface ConnPlan {
  readonly n: number;
  readonly opener: Side;
  /** It is opened to a port where nobody listens. */
  readonly refused: boolean;
  readonly tsvs: SidePlan;
  readonly kernel: SidePlan;
}

/** Numbers drawn from a seed, in the shapes that plans need. */
export class Dice {
  private readonly random: SeededRandom;

  constructor(seed: number) {
    this.random = new SeededRandom(seed);
  }

  /** 0 <= x < 1 */
  fraction(): number {
    return (this.random.next() >>> 0) / 4294967296;
  }

  chance(probability: number): boolean {
    return this.fraction() < probability;
  }

  /** min..max */
  between(min: number, max: number): number {
    return min + Math.floor(this.fraction() * (max - min + 1));
  }

  /** min..max, as many below the geometric mean as above. */
  spread(min: number, max: number): number {
    return Math.min(Math.floor(min * (max / min) ** this.fraction()), max);
  }

  pick<T>(...from: readonly T[]): T {
    return from[this.between(0, from.length - 1)] as T;
  }
}

/** A seed of its own for each thing numbered `n` of a kind. */
export const mixSeed = (seed: number, kind: number, n: number): number =>
  (Math.imul(seed, 0x9e3779b1) ^ Math.imul(n + 1, 0x85ebca6b) ^ Math.imul(kind, 0xc2b2ae35)) | 0;

const OF_CONNECTION = 1;
const OF_BYTES = 2;
export const OF_CONDITIONS = 3;
export const OF_FAULTS = 4;
export const OF_END = 5;

/** The opener's stream begins with the connection's number, so that the other side knows its part. */
export const HEADER = 8;
const MAGIC = 0x74737673;

export function writeHeader(to: Uint8Array, n: number): void {
  const view = new DataView(to.buffer, to.byteOffset, HEADER);
  view.setUint32(0, MAGIC);
  view.setUint32(4, n);
}

/** The number in a header; -1 when it is none. */
export function readHeader(from: Uint8Array): number {
  const view = new DataView(from.buffer, from.byteOffset, HEADER);
  return view.getUint32(0) === MAGIC ? view.getUint32(4) : -1;
}

/** Longest stream there is, in bytes. */
export const LONGEST = 3_000_000;

function drawSide(dice: Dice, longest: number): SidePlan {
  const bulk = dice.chance(0.2);
  const send = dice.chance(0.15) ? 0 : bulk ? dice.spread(10_000, longest) : dice.spread(1, longest / 10);
  const rests = dice.chance(0.25);
  return {
    send,
    writeMax: dice.spread(16, 100_000),
    restEvery: rests ? dice.spread(100, 50_000) : 0,
    restMs: dice.spread(1, 60),
    stopAt: -1,
    stopMs: dice.spread(50, 2500),
    sip: dice.chance(0.1) ? dice.spread(2000, 30_000) : 0,
    noDelay: dice.chance(0.5),
    closesSecond: false,
    resetAt: -1,
  };
}

/** Some readers stop on the way, so that windows shut. */
function stopping(dice: Dice, plan: SidePlan, arrives: number): SidePlan {
  return dice.chance(0.2) ? { ...plan, stopAt: dice.between(0, arrives) } : plan;
}

/** Small writes with long rests in between would take for ever. */
function hurried(plan: SidePlan): SidePlan {
  const leastWrite = plan.send >> 9;
  const leastEvery = plan.send >> 4;
  return {
    ...plan,
    writeMax: Math.max(plan.writeMax, leastWrite),
    restEvery: plan.restEvery === 0 ? 0 : Math.max(plan.restEvery, leastEvery),
  };
}

/** What plans are made from, besides the number of the connection. */
export interface Plans {
  readonly seed: number;
  /** Bytes of the longest stream that the link carries in reasonable time. */
  readonly longest: number;
}

export function planOf({ seed, longest }: Plans, n: number): ConnPlan {
  const dice = new Dice(mixSeed(seed, OF_CONNECTION, n));
  const opener: Side = dice.chance(0.5) ? 'tsvs' : 'kernel';
  const drawn = { tsvs: hurried(drawSide(dice, longest)), kernel: hurried(drawSide(dice, longest)) };
  drawn[opener] = { ...drawn[opener], send: drawn[opener].send + HEADER };
  const { tsvs, kernel } = drawn;
  const sides = { tsvs: stopping(dice, tsvs, kernel.send), kernel: stopping(dice, kernel, tsvs.send) };
  const total = sides.tsvs.send + sides.kernel.send;
  const special: Side = dice.pick('tsvs', 'kernel');
  if (dice.chance(0.1)) sides[special] = { ...sides[special], resetAt: dice.between(0, total) };
  else if (dice.chance(0.5)) sides[special] = { ...sides[special], closesSecond: true };
  return { n, opener, refused: dice.chance(0.02), ...sides };
}

/** Twice the longest stream, so that no two places of one stream are alike by design. */
const NOISE_BYTES = 1 << 23;

function makeNoise(): Uint8Array {
  const random = new SeededRandom(1);
  return new Uint8Array(Int32Array.from({ length: NOISE_BYTES >> 2 }, () => random.next()).buffer);
}

let noise: Uint8Array | null = null;

/** The bytes that `from` sends on a connection: any that is wrong, missing, twice, or another connection's shows. */
export class StreamBytes {
  private readonly start: number;
  private readonly header: Uint8Array | null;
  private readonly noise: Uint8Array;

  constructor(seed: number, plan: ConnPlan, from: Side) {
    noise ??= makeNoise();
    this.noise = noise;
    const room = NOISE_BYTES - plan[from].send;
    this.start = new Dice(mixSeed(seed, OF_BYTES, plan.n * 2 + (from === 'tsvs' ? 1 : 0))).between(0, room - 1);
    this.header = from === plan.opener ? new Uint8Array(HEADER) : null;
    if (this.header !== null) writeHeader(this.header, plan.n);
  }

  /** The bytes from `at` on, `length` of them, or fewer: the header comes alone. Not to be changed. */
  slice(at: number, length: number): Uint8Array {
    if (this.header !== null && at < HEADER) return this.header.subarray(at, Math.min(at + length, HEADER));
    return this.noise.subarray(this.start + at, this.start + at + length);
  }

  /** Where `bytes`, read at position `at` of the stream, are wrong for the first time; -1 = nowhere. */
  difference(bytes: Uint8Array, at: number): number {
    for (let done = 0; done < bytes.length; ) {
      const right = this.slice(at + done, bytes.length - done);
      const got = bytes.subarray(done, done + right.length);
      if (Buffer.compare(right, got) !== 0) return at + done + got.findIndex((byte, i) => byte !== right[i]);
      done += right.length;
    }
    return -1;
  }
}

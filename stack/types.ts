/**
 * Names for the integers that travel through the stack. They are aliases: the names carry the meaning,
 * plain numbers carry the speed.
 */

/** A frame in the pool, 1..n; 0 = none. Its bytes are `pool.buf[pool.off[f] .. pool.off[f] + pool.len[f])`. */
export type FrameId = number;

/** An opened link, 1..n; 0 = none (a frame made by the stack itself). */
export type PortId = number;

/** An IPv4 address as int32 in host order: 10.0.0.1 is 0x0a000001 (RFC 791 §3.2). Print with `>>> 0`. */
export type Ipv4 = number;

/** What becomes of a frame: see verdict.ts. */
export type Verdict = number;

/** Microseconds since the clock's start: an integer held in a double. */
export type Micros = number;

/** Milliseconds as int32, wrapping every 49 days; compare with `(a - b) | 0`. */
export type Ticks = number;

/** 32 random bits per call, as int32. The real source is cryptographic, the simulator's is seeded. */
export interface Random {
  next(): number;
}

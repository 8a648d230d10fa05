/**
 * Numbers a stranger must not guess: initial sequence numbers (RFC 6528), SYN cookies (RFC 4987), timestamp offsets
 * (RFC 7323 §7.1) and the start of the ephemeral port search (RFC 6056 §3.3.3), each from a keyed hash of the addresses.
 *
 * ISN = M + F(local, remote, ports, key), M a 4 us clock: successive connections of one 4-tuple get rising numbers,
 * which TIME_WAIT reuse relies on (RFC 6191). F is HalfSipHash-2-4 with a 64-bit key drawn at start.
 */
import type { Ipv4, Micros, Random } from '../types.ts';

export class Secrets {
  private readonly k0: number;
  private readonly k1: number;

  constructor(random: Random) {
    this.k0 = random.next();
    this.k1 = random.next();
  }

  isn(now: Micros, laddr: Ipv4, lport: number, raddr: Ipv4, rport: number): number {
    const m = Math.floor(now / 4) | 0;
    return (m + this.hash(laddr, raddr, (lport << 16) | rport, 1)) | 0;
  }

  /** One offset for each pair of hosts, so that timestamps rise from one connection to the next. */
  timestampOffset(laddr: Ipv4, raddr: Ipv4): number {
    return this.hash(laddr, raddr, 0, 2);
  }

  /** Where the search for a local port begins. */
  portOffset(laddr: Ipv4, raddr: Ipv4, rport: number): number {
    return this.hash(laddr, raddr, rport, 3) & 0xffff;
  }

  /** The four-tuple as the cookies of cookie.ts have it. */
  tuple(laddr: Ipv4, lport: number, raddr: Ipv4, rport: number): number {
    return this.hash(laddr, raddr, (lport << 16) | rport, 4);
  }

  /** Keyed hash of a `tuple`, the peer's initial number and a time slot. */
  cookie(tuple: number, irs: number, slot: number): number {
    return this.hash(tuple, irs, slot, 5);
  }

  /** Where a table of hosts looks for one. */
  pathHash(addr: Ipv4): number {
    return this.hash(addr, 0, 0, 6);
  }

  /** HalfSipHash-2-4 of four words. */
  private hash(a: number, b: number, c: number, d: number): number {
    const { k0, k1 } = this;
    let v0 = k0;
    let v1 = k1;
    let v2 = k0 ^ 0x6c796765;
    let v3 = k1 ^ 0x74656462;
    for (let i = 0; i < 6; i++) {
      const m = i === 0 ? a : i === 1 ? b : i === 2 ? c : i === 3 ? d : i === 4 ? 16 << 24 : 0;
      const rounds = i === 5 ? 4 : 2;
      if (i === 5) v2 ^= 0xff;
      v3 ^= m;
      for (let r = 0; r < rounds; r++) {
        v0 = (v0 + v1) | 0;
        v1 = ((v1 << 5) | (v1 >>> 27)) ^ v0;
        v0 = (v0 << 16) | (v0 >>> 16);
        v2 = (v2 + v3) | 0;
        v3 = ((v3 << 8) | (v3 >>> 24)) ^ v2;
        v0 = (v0 + v3) | 0;
        v3 = ((v3 << 7) | (v3 >>> 25)) ^ v0;
        v2 = (v2 + v1) | 0;
        v1 = ((v1 << 13) | (v1 >>> 19)) ^ v2;
        v2 = (v2 << 16) | (v2 >>> 16);
      }
      v0 ^= m;
    }
    return v1 ^ v3;
  }
}

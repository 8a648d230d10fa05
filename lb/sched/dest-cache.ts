/**
 * What lblc and lblcr remember: destination address -> a number of theirs, above 0. 16384 addresses at most, in 2048
 * sets of eight. What has not been used for 24 hours counts as forgotten; a full set gives up the address
 * idle longest, so there is nothing to sweep. (LVS sweeps once a minute, and grows beyond its 16384 meanwhile.)
 *
 * Times are whole seconds as int32. @hot except `forEach`: nothing is allocated after construction.
 */

import type { Ipv4, Micros } from '../../stack/types.ts';
import { fmix } from '../hash/murmur3.ts';
import type { FlowKey } from './contract.ts';

const SETS = 2048;
const WAYS = 8;

export const EXPIRE_S = 24 * 3600;

export function seconds(now: Micros): number {
  return Math.floor(now / 1e6) | 0;
}

export class DestCache {
  static readonly CAPACITY = SETS * WAYS;
  private readonly dst = new Int32Array(SETS * WAYS);
  private readonly lastUse = new Int32Array(SETS * WAYS);
  /** By entry; 0 = the entry is free. The user of the cache may write what is above 0. */
  readonly value = new Int32Array(SETS * WAYS);

  /** The entry of an address, marked as used now; -1 = not known. */
  find(dst: Ipv4, nowS: number): number {
    const first = firstOf(dst);
    for (let at = first; at < first + WAYS; at++) {
      if (this.value[at] === 0 || this.dst[at] !== dst) continue;
      if (nowS - this.lastUse[at]! > EXPIRE_S) return -1;
      this.lastUse[at] = nowS;
      return at;
    }
    return -1;
  }

  /** Whether `find` would know the address; nothing is marked. Cold. */
  has(dst: Ipv4, nowS: number): boolean {
    const first = firstOf(dst);
    for (let at = first; at < first + WAYS; at++) {
      if (this.value[at] !== 0 && this.dst[at] === dst) return nowS - this.lastUse[at]! <= EXPIRE_S;
    }
    return false;
  }

  /**
   * An entry for an address that `find` did not know: its own expired one, a free one, or the one of its set idle longest. What is in
   * `value` then belongs to whoever had it before; the caller disposes of it and writes its own.
   */
  claim(dst: Ipv4, nowS: number): number {
    const first = firstOf(dst);
    let best = first;
    for (let at = first; at < first + WAYS; at++) {
      if (this.value[at] !== 0 && this.dst[at] === dst) {
        best = at;
        break;
      }
      if (this.value[best] === 0) continue;
      if (this.value[at] === 0 || this.lastUse[at]! < this.lastUse[best]!) best = at;
    }
    this.dst[best] = dst;
    this.lastUse[best] = nowS;
    return best;
  }

  /** Notes everything; what it gives puts that back. Cold. */
  keep(): () => void {
    const columns = [this.dst, this.lastUse, this.value] as const;
    const kept = columns.map((column) => column.slice());
    return () => columns.forEach((column, i) => void column.set(kept[i]!));
  }

  /** Every entry in use. Cold. */
  forEach(visit: (entry: number) => void): void {
    for (let at = 0; at < this.value.length; at++) if (this.value[at] !== 0) visit(at);
  }
}

/** For `explain`: whether an address has been asked for before. */
export function known(cache: DestCache, flow: FlowKey): string {
  const before = cache.has(flow.dst, seconds(flow.now));
  return before ? 'the address has been asked for before' : 'nobody has asked for the address yet: as wlc';
}

function firstOf(dst: Ipv4): number {
  return (fmix(dst) & (SETS - 1)) * WAYS;
}

/**
 * Ports of local addresses for connections we open: which <address, port> a connection to a server comes from. @hot
 * (`acquire`, `release`, per connection)
 *
 * A port may serve many connections at once as long as they go to different servers. So an address has buckets, 16 by default,
 * chosen by the server's address and port, and each bucket has every port from 1025 on: 16 x 64511 connections at most, and two
 * of them never share <local address, local port, server address, server port>, whatever their protocols.
 *
 * Workers share an address by dividing its ports anew for each server: a worker has those whose replies are steered to it
 * (stack/steer/flow.ts), a group of the ports that follows from the server. So nothing has to be agreed on between workers, and what
 * comes back from a server comes home.
 *
 * A bucket gives the port that has been idle longest, so that a server in TIME_WAIT is met again as late as possible: first those
 * never used, by chance, so that nobody guesses the next one (RFC 6056 §3.3.1), then those given back, in that order. Memory is taken
 * when a bucket needs it: two bits per port at its first use, two bytes per port given back, in pages: no step is a long one.
 *
 * An address that is removed gives no more ports and is forgotten when the last one has come back; added again before
 * that, it goes on where it was. Called by lb/laddr.ts and by whoever opens connections from a local address.
 */
import { homeGroup, ofPort } from '../steer/flow.ts';
import type { Ipv4, Random } from '../types.ts';

export const FIRST_PORT = 1025;
export const LAST_PORT = 65535;

export interface SaPoolConfig {
  /** This worker, 0 .. workers - 1. */
  readonly worker: number;
  readonly workers: number;
  /** Buckets per address, 1 to 128. */
  readonly buckets: number;
  readonly random: Random;
  /** The lowest port to give; absent: FIRST_PORT. */
  readonly firstPort?: number;
  /**
   * A bucket has come to 80 % of its ports (again only after it was below 70 %). Servers of other buckets are not affected.
   * Cold: once per crossing.
   */
  readonly onScarce: (addr: Ipv4, used: number, size: number) => void;
}

export const DEFAULT_BUCKETS = 16;

/**
 * Pages of ports given back, 8 KB each: what V8 keeps of a page besides is then 5 KB per million packets while new ones are still
 * needed. There is room for twice as many ports as there are, so that no page is filled and emptied at once.
 */
const PAGE_SHIFT = 12;
const PAGE_MASK = (1 << PAGE_SHIFT) - 1;
const QUEUE_MASK = 0x1ffff;

/** The ports from `first` on, in groups by whose replies are steered where. One per worker. */
class PortGroups {
  readonly total: number;
  private readonly first: number;
  private readonly groups: readonly Uint16Array[];
  /** By port: its place in its group. */
  private readonly places = new Uint16Array(LAST_PORT + 1);

  constructor(first: number, workers: number) {
    const groups: number[][] = Array.from({ length: workers }, () => []);
    for (let port = first; port <= LAST_PORT; port++) {
      const group = groups[ofPort(port) % workers]!;
      this.places[port] = group.length;
      group.push(port);
    }
    this.first = first;
    this.groups = groups.map((group) => Uint16Array.from(group));
    this.total = LAST_PORT - first + 1;
  }

  size(group: number): number {
    return this.groups[group]!.length;
  }

  port(group: number, place: number): number {
    // One group has them all, in their order: nothing has to be loaded.
    return this.groups.length === 1 ? this.first + place : this.groups[group]![place];
  }

  /** -1 = the port is none of the group. */
  place(group: number, port: number): number {
    if (port < this.first || port > LAST_PORT) return -1;
    if (this.groups.length === 1) return port - this.first;
    const place = this.places[port];
    return this.groups[group]![place] === port ? place : -1;
  }
}

/** Ports in the order in which they were given back, in pages that come and go with them. */
class Queue {
  count = 0;
  private head = 0;
  private readonly pages: (Uint16Array | null)[] = new Array((QUEUE_MASK + 1) >> PAGE_SHIFT).fill(null);
  /** The page that was emptied last. */
  private spare: Uint16Array | null = null;

  push(i: number): void {
    const at = (this.head + this.count++) & QUEUE_MASK;
    const p = at >> PAGE_SHIFT;
    const page = this.pages[p] ?? this.turn(p);
    page[at & PAGE_MASK] = i;
  }

  /** The first, -1 when there is none. */
  peek(): number {
    return this.count > 0 ? this.pages[this.head >> PAGE_SHIFT]![this.head & PAGE_MASK] : -1;
  }

  /** Takes the first out. Precondition: there is one. */
  shift(): number {
    const { head, pages } = this;
    const page = pages[head >> PAGE_SHIFT]!;
    this.count--;
    this.head = (head + 1) & QUEUE_MASK;
    if ((this.head & PAGE_MASK) === 0) {
      this.spare = page;
      pages[head >> PAGE_SHIFT] = null;
    }
    return page[head & PAGE_MASK];
  }

  private turn(p: number): Uint16Array {
    const page = this.spare ?? new Uint16Array(PAGE_MASK + 1);
    this.spare = null;
    return (this.pages[p] = page);
  }
}

/** The ports of one group of one address towards the servers of one bucket. Ports are numbered 0..size-1 here. */
class Bucket {
  /** 1 = `onScarce` was called and it has not recovered since. */
  scarce = 0;
  /** In use now. */
  used = 0;
  readonly size: number;
  private readonly random: Random;
  /** Ports never given yet. */
  private fresh: number;
  /**
   * Pairs of words, a bit per port in each: those that are none of the never given (beyond the last port all), those in use. Side
   * by side, because a port needs both, and chance makes it a line that is in no cache.
   */
  private readonly bits: Int32Array;
  private readonly back = new Queue();

  constructor(size: number, random: Random) {
    this.size = size;
    this.random = random;
    this.fresh = size;
    this.bits = new Int32Array(((size + 31) >> 5) * 2);
    if ((size & 31) !== 0) this.bits[(size >> 5) * 2] = -1 << size;
  }

  /** -1 = all are in use. */
  take(): number {
    if (this.fresh > 0) return this.takeFresh();
    if (this.back.count === 0) return -1;
    const i = this.back.shift();
    this.bits[(i >> 5) * 2 + 1] |= 1 << i;
    this.used++;
    return i;
  }

  /** The first port never given, from one on that chance chooses. Precondition: there is one. */
  private takeFresh(): number {
    const { bits } = this;
    const from = (this.random.next() >>> 0) % this.size;
    let at = (from >> 5) * 2;
    // Of the first word those from `from` on; it comes around again when no other has one.
    let free = ~bits[at] & (-1 << from);
    while (free === 0) {
      at = at + 2 === bits.length ? 0 : at + 2;
      free = ~bits[at];
    }
    const bit = free & -free;
    bits[at] |= bit;
    bits[at + 1] |= bit;
    this.fresh--;
    this.used++;
    return (at << 4) + 31 - Math.clz32(bit);
  }

  /** Whether chance decides what `take` gives. */
  get isByChance(): boolean {
    return this.fresh > 0;
  }

  /** What `take` would give otherwise. */
  next(): number {
    return this.back.peek();
  }

  /** False when it was not in use. */
  give(i: number): boolean {
    const { bits } = this;
    const at = (i >> 5) * 2 + 1;
    if ((bits[at] & (1 << i)) === 0) return false;
    bits[at] &= ~(1 << i);
    this.used--;
    this.back.push(i);
    return true;
  }
}

/** The ports of one local address, as far as this worker has them. */
export class SaPool {
  readonly addr: Ipv4;
  /** Times a bucket had no port to give. */
  misses = 0;
  /** Ports in use over all buckets. */
  used = 0;
  /** How many have added the address and not removed it. */
  users = 0;

  private readonly config: SaPoolConfig;
  private readonly ports: PortGroups;
  /** A row of groups for each bucket. */
  private readonly buckets: (Bucket | null)[];

  /** Made by SaPools. */
  constructor(addr: Ipv4, config: SaPoolConfig, ports: PortGroups) {
    this.addr = addr;
    this.config = config;
    this.ports = ports;
    this.buckets = new Array(config.buckets * config.workers).fill(null);
  }

  /** Ports of one bucket, those that only other servers can be met from included. */
  get bucketSize(): number {
    return this.ports.total;
  }

  /** Ports not in use, over all buckets. */
  get free(): number {
    return this.config.buckets * this.ports.total - this.used;
  }

  /** A port for a connection to the server; 0, which is counted, when there is none. */
  acquire(raddr: Ipv4, rport: number): number {
    const group = this.groupOf(raddr, rport);
    const b = this.bucketOf(raddr, rport, group);
    const bucket = this.buckets[b] ?? this.build(b, group);
    const i = bucket.take();
    if (i < 0) {
      this.misses++;
      return 0;
    }
    this.used++;
    if (bucket.used * 10 >= bucket.size * 8 && bucket.scarce === 0) this.warn(bucket);
    return this.ports.port(group, i);
  }

  /** What `acquire` would give, nothing being taken: -1 = there is none, 0 = chance will decide. Cold. */
  foresee(raddr: Ipv4, rport: number): number {
    const group = this.groupOf(raddr, rport);
    const bucket = this.buckets[this.bucketOf(raddr, rport, group)];
    if (bucket === null || bucket === undefined || bucket.isByChance) return 0;
    const i = bucket.next();
    return i < 0 ? -1 : this.ports.port(group, i);
  }

  /** Takes the port of a connection to the server back. False when none had it: nothing is changed then. */
  release(port: number, raddr: Ipv4, rport: number): boolean {
    const group = this.groupOf(raddr, rport);
    const bucket = this.buckets[this.bucketOf(raddr, rport, group)];
    const place = this.ports.place(group, port);
    if (bucket === null || bucket === undefined || place < 0 || !bucket.give(place)) return false;
    this.used--;
    if (bucket.scarce !== 0 && bucket.used * 10 < bucket.size * 7) bucket.scarce = 0;
    return true;
  }

  private groupOf(raddr: Ipv4, rport: number): number {
    const { worker, workers } = this.config;
    return workers === 1 ? 0 : homeGroup(worker, workers, this.addr, raddr, rport);
  }

  private bucketOf(raddr: Ipv4, rport: number, group: number): number {
    return (((raddr & 0xffff) + rport) % this.config.buckets) * this.config.workers + group;
  }

  private build(b: number, group: number): Bucket {
    return (this.buckets[b] = new Bucket(this.ports.size(group), this.config.random));
  }

  private warn(bucket: Bucket): void {
    bucket.scarce = 1;
    this.config.onScarce(this.addr, bucket.used, bucket.size);
  }
}

/** All local addresses of a worker that have port pools. */
export class SaPools {
  private readonly config: SaPoolConfig;
  private readonly ports: PortGroups;
  private readonly pools = new Map<Ipv4, SaPool>();

  /** Throws RangeError when the configuration makes no sense. */
  constructor(config: SaPoolConfig) {
    const { worker, workers, buckets } = config;
    if (!(worker >= 0 && worker < workers && workers <= 1024)) throw new RangeError(`worker ${worker} of ${workers}`);
    if (!(Number.isInteger(buckets) && buckets >= 1 && buckets <= 128)) throw new RangeError(`${buckets} buckets`);
    this.config = config;
    this.ports = new PortGroups(config.firstPort ?? FIRST_PORT, workers);
  }

  /** One more wants ports of the address. */
  add(addr: Ipv4): SaPool {
    let pool = this.pools.get(addr);
    if (pool === undefined) {
      pool = new SaPool(addr, this.config, this.ports);
      this.pools.set(addr, pool);
    }
    pool.users++;
    return pool;
  }

  /** One less does. With the last one the address gives no more ports; those in use still come back. */
  remove(addr: Ipv4): void {
    const pool = this.pools.get(addr);
    if (pool === undefined || pool.users === 0) return;
    pool.users--;
    this.forget(pool);
  }

  /** The address's pool, null when nobody wants it. */
  find(addr: Ipv4): SaPool | null {
    const pool = this.pools.get(addr);
    return pool !== undefined && pool.users > 0 ? pool : null;
  }

  /** As `SaPool.release`, also after the address was removed. */
  release(addr: Ipv4, port: number, raddr: Ipv4, rport: number): boolean {
    const pool = this.pools.get(addr);
    if (pool === undefined || !pool.release(port, raddr, rport)) return false;
    this.forget(pool);
    return true;
  }

  /** All pools, removed ones that still have ports out included. */
  list(): SaPool[] {
    return [...this.pools.values()];
  }

  private forget(pool: SaPool): void {
    if (pool.users === 0 && pool.used === 0) this.pools.delete(pool.addr);
  }
}

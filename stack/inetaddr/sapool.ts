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
 * when a bucket needs it: two bits per port at its first use, two bytes per port given back.
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

/** Ports given back that a bucket has room for at first; it doubles. */
const FIRST_RING = 64;

/** The ports from `first` on, in groups by whose replies are steered where. One per worker. */
class PortGroups {
  readonly groups: readonly Uint16Array[];
  /** By port: its place in its group. */
  readonly place = new Uint16Array(LAST_PORT + 1);
  readonly total: number;

  constructor(first: number, workers: number) {
    const groups: number[][] = Array.from({ length: workers }, () => []);
    for (let port = first; port <= LAST_PORT; port++) {
      const group = groups[ofPort(port) % workers]!;
      this.place[port] = group.length;
      group.push(port);
    }
    this.groups = groups.map((group) => Uint16Array.from(group));
    this.total = LAST_PORT - first + 1;
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
  /** Ports never given yet, and a bit for each port that is none of them; those beyond the last port count as given. */
  private fresh: number;
  private readonly touched: Int32Array;
  /** A bit per port that is in use. */
  private readonly inUse: Int32Array;
  /** Ports given back: `count` of them from `head` on, around, longest idle first. */
  private ring = new Uint16Array(FIRST_RING);
  private head = 0;
  private count = 0;

  constructor(size: number, random: Random) {
    this.size = size;
    this.random = random;
    this.fresh = size;
    this.inUse = new Int32Array((size + 31) >> 5);
    this.touched = new Int32Array(this.inUse.length);
    if ((size & 31) !== 0) this.touched[size >> 5] = -1 << size;
  }

  /** -1 = all are in use. */
  take(): number {
    let i: number;
    if (this.fresh > 0) i = this.takeFresh();
    else if (this.count > 0) {
      i = this.ring[this.head];
      this.head = (this.head + 1) & (this.ring.length - 1);
      this.count--;
    } else return -1;
    this.inUse[i >> 5] |= 1 << i;
    this.used++;
    return i;
  }

  /** The first port never given, from one on that chance chooses. Precondition: there is one. */
  private takeFresh(): number {
    const { touched } = this;
    const from = (this.random.next() >>> 0) % this.size;
    let at = from >> 5;
    // Of the first word those from `from` on; it comes around again when no other has one.
    let free = ~touched[at] & (-1 << from);
    while (free === 0) {
      at = at + 1 === touched.length ? 0 : at + 1;
      free = ~touched[at];
    }
    const bit = free & -free;
    touched[at] |= bit;
    this.fresh--;
    return (at << 5) + 31 - Math.clz32(bit);
  }

  /** Whether chance decides what `take` gives. */
  get isByChance(): boolean {
    return this.fresh > 0;
  }

  /** What `take` would give otherwise. */
  next(): number {
    return this.count > 0 ? this.ring[this.head] : -1;
  }

  /** False when it was not in use. */
  give(i: number): boolean {
    if ((this.inUse[i >> 5] & (1 << i)) === 0) return false;
    this.inUse[i >> 5] &= ~(1 << i);
    this.used--;
    if (this.count === this.ring.length) this.widen();
    this.ring[(this.head + this.count++) & (this.ring.length - 1)] = i;
    return true;
  }

  private widen(): void {
    const { ring, head } = this;
    const wide = new Uint16Array(ring.length * 2);
    wide.set(ring.subarray(head));
    wide.set(ring.subarray(0, head), ring.length - head);
    this.ring = wide;
    this.head = 0;
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
    return this.ports.groups[group]![i];
  }

  /** What `acquire` would give, nothing being taken: -1 = there is none, 0 = chance will decide. Cold. */
  foresee(raddr: Ipv4, rport: number): number {
    const group = this.groupOf(raddr, rport);
    const bucket = this.buckets[this.bucketOf(raddr, rport, group)];
    if (bucket === null || bucket === undefined || bucket.isByChance) return 0;
    const i = bucket.next();
    return i < 0 ? -1 : this.ports.groups[group]![i];
  }

  /** Takes the port of a connection to the server back. False when none had it: nothing is changed then. */
  release(port: number, raddr: Ipv4, rport: number): boolean {
    const group = this.groupOf(raddr, rport);
    const bucket = this.buckets[this.bucketOf(raddr, rport, group)];
    if (bucket === null || bucket === undefined || port < 0 || port > LAST_PORT) return false;
    const at = this.ports.place[port];
    if (this.ports.groups[group]![at] !== port || !bucket.give(at)) return false;
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
    return (this.buckets[b] = new Bucket(this.ports.groups[group]!.length, this.config.random));
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

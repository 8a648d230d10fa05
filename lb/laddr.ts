/**
 * Local addresses of services: from which <address, port> FullNAT connections go to the servers, and SNAT ones out. @hot
 * (`acquire`, `acquireOf`, `release`, per connection)
 *
 * With SNAT the scheduler has chosen the address. With FullNAT a service has a list of addresses, used in turn. A scheduler that goes in turn as well (rr, wrr) would then tie each server to
 * a few addresses; for such services one pick in twenty, at random, skips an address. When an address has no port left for
 * the server, the next ones are tried, up to sixteen, before the connection is refused, which is counted.
 *
 * The ports themselves are in stack/inetaddr/sapool.ts; an address may serve many services. Called by lb/core.ts at opening
 * and by the owner of connections at their end.
 */
import type { SaPool, SaPools } from '../stack/inetaddr/sapool.ts';
import type { Ipv4, Random } from '../stack/types.ts';

/** Addresses tried for one connection. */
const MAX_TRIES = 16;
/** Percent of the picks that skip an address. */
const SKIPS = 5;

/** The addresses of one service. */
class LocalList {
  readonly pools: readonly SaPool[];
  /** The scheduler goes in turn. */
  readonly inTurn: boolean;
  next = 0;

  constructor(pools: readonly SaPool[], inTurn: boolean) {
    this.pools = pools;
    this.inTurn = inTurn;
  }
}

export class LocalAddrs {
  /** What the last successful `acquire` gave. */
  addr: Ipv4 = 0;
  port = 0;
  /** Connections refused for want of a port, by service. */
  readonly refused: Float64Array;

  private readonly pools: SaPools;
  private readonly random: Random;
  private readonly lists: (LocalList | null)[];

  constructor(pools: SaPools, random: Random, maxServices: number) {
    this.pools = pools;
    this.random = random;
    this.refused = new Float64Array(maxServices + 1);
    this.lists = new Array(maxServices + 1).fill(null);
  }

  /** Makes these the service's addresses, in this order; none = the service has no more. Connections keep what they have. */
  set(service: number, addrs: readonly Ipv4[], inTurn: boolean): void {
    const before = this.lists[service]?.pools ?? [];
    const pools = addrs.map((addr) => this.pools.add(addr));
    for (const pool of before) this.pools.remove(pool.addr);
    this.lists[service] = pools.length === 0 ? null : new LocalList(pools, inTurn);
  }

  /** In order. */
  addresses(service: number): Ipv4[] {
    return (this.lists[service]?.pools ?? []).map((pool) => pool.addr);
  }

  /** Takes a port for a connection to the server: `addr`, `port`. False when there is none. */
  acquire(service: number, raddr: Ipv4, rport: number): boolean {
    const list = this.lists[service];
    if (list !== null && list !== undefined) {
      const { pools } = list;
      const n = pools.length;
      let at = list.next;
      if (list.inTurn && (this.random.next() >>> 0) % 100 < SKIPS) at = at + 1 < n ? at + 1 : 0;
      for (let tries = Math.min(n, MAX_TRIES); tries > 0; tries--) {
        const pool = pools[at]!;
        at = at + 1 < n ? at + 1 : 0;
        const port = pool.acquire(raddr, rport);
        if (port === 0) continue;
        list.next = at;
        this.addr = pool.addr;
        this.port = port;
        return true;
      }
      list.next = at;
    }
    this.refuse(service);
    return false;
  }

  /** Takes a port of this one address. False when it has none, or is nobody's. */
  acquireOf(addr: Ipv4, raddr: Ipv4, rport: number): boolean {
    const pool = this.pools.find(addr);
    const port = pool === null ? 0 : pool.acquire(raddr, rport);
    if (port === 0) return false;
    this.addr = addr;
    this.port = port;
    return true;
  }

  /** No address has a port for a connection of the service. */
  refuse(service: number): void {
    this.refused[service] += 1;
  }

  /**
   * What `acquire` would give next, nothing being taken: `port` 0 = one that chance chooses. Null when there is none. One
   * pick in twenty may skip an address. Cold.
   */
  foresee(service: number, raddr: Ipv4, rport: number): { readonly addr: Ipv4; readonly port: number } | null {
    const list = this.lists[service];
    if (list === null || list === undefined) return null;
    const { pools, next } = list;
    for (let i = 0; i < Math.min(pools.length, MAX_TRIES); i++) {
      const pool = pools[(next + i) % pools.length]!;
      const port = pool.foresee(raddr, rport);
      if (port >= 0) return { addr: pool.addr, port };
    }
    return null;
  }

  /** The same for one address: `port`, -1 when it has none. Cold. */
  foreseeOf(addr: Ipv4, raddr: Ipv4, rport: number): number {
    return this.pools.find(addr)?.foresee(raddr, rport) ?? -1;
  }

  /** Takes back what a connection to the server had; its service may be gone, or have other addresses by now. */
  release(addr: Ipv4, port: number, raddr: Ipv4, rport: number): boolean {
    return this.pools.release(addr, port, raddr, rport);
  }
}

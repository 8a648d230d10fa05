/**
 * IPv4 routes: longest prefix, then lowest metric, then first added (RFC 1812 §5.2.4.3). `lookup` is called per packet
 * by ip output and forwarding; everything else by the control plane.
 *
 * A plain list is the truth. What `lookup` searches is compiled from it at every change: for each prefix the one route
 * that wins, without those whose port is down, so that no question remains for the packet. The trie (mem/lpm.ts) yields
 * the winner's row in the table beside it.
 * Host routes to our own addresses (SCOPE_HOST) are in it like any other: being /32 they win, and as they lead to no
 * link they stay when the port is down.
 *
 * `lookup` leaves its answer in the `out` fields: it allocates nothing. They are valid until the next call.
 * @hot
 */
import { maskOf } from '../inetaddr/addr.ts';
import { Lpm } from '../mem/lpm.ts';
import type { Ipv4, PortId } from '../types.ts';
import { IPV4_MAX_LEN } from '../wire/ipv4.ts';

/** How far the destination is: through a gateway, on the port's link, or ourselves. */
export const SCOPE_GLOBAL = 0;
export const SCOPE_LINK = 1;
export const SCOPE_HOST = 2;

export interface Route4 {
  /** Bits behind `len` are zero. */
  readonly prefix: Ipv4;
  /** 0..32. */
  readonly len: number;
  /** Next hop; 0 = the destination itself is on the link. */
  readonly gateway: Ipv4;
  readonly port: PortId;
  /** Lower is preferred. */
  readonly metric: number;
  /** Source for connections that choose none; 0 = by LocalAddresses.sourceFor. */
  readonly src: Ipv4;
  /** Largest packet in bytes; 0 = the port's MTU. */
  readonly mtu: number;
  readonly scope: number;
}

/** What the table asks of the ports; netif fulfils it. */
export interface PortStatus {
  isUp(port: PortId): boolean;
  mtu(port: PortId): number;
  /** Whether TCP segments may be left to it to cut. */
  tso(port: PortId): boolean;
}

/** Trie nodes: one, and one for each /8, /16 and /24 with longer prefixes in it; 2 KB each. */
export const DEFAULT_ROUTE_NODES = 1024;

/** Words of a winner's row. */
const ROW = 8;
const PORT = 0;
const GATEWAY = 1;
const MTU = 2;
const SRC = 3;
const SCOPE = 4;
const TSO = 5;

export class Routes4 {
  /** Answer of the last successful `lookup`. */
  outPort: PortId = 0;
  /** The gateway, or the destination where there is none. */
  outNextHop: Ipv4 = 0;
  /** Bytes: the smaller of the route's and the port's. */
  outMtu = 0;
  /** 0 = the route does not say. */
  outSrc: Ipv4 = 0;
  outScope = 0;
  /** 1: the port cuts TCP segments. */
  outTso = 0;

  /** Counts the changes to what `lookup` may say: whoever keeps an answer asks again when this has moved. */
  changes = 0;

  private readonly ports: PortStatus;
  private routes: readonly Route4[] = [];
  private readonly lpm: Lpm;
  /** One row per winner; the trie's value is where it starts. Row 0 is unused. */
  private rows: Int32Array = new Int32Array(ROW);

  /** `nodes` bounds the memory for prefixes: `add` throws when they need more. */
  constructor(ports: PortStatus, nodes = DEFAULT_ROUTE_NODES) {
    const config = { nodes, readers: 0 };
    this.ports = ports;
    this.lpm = Lpm.create(new SharedArrayBuffer(Lpm.bytes(config)), 0, config);
  }

  /**
   * Adds routes, all or none. Throws RangeError for one that cannot be, Error for one that is there already or when the
   * memory for prefixes is exhausted.
   */
  add(...routes: readonly Route4[]): void {
    const next = [...this.routes];
    for (const route of routes) {
      validate(route);
      if (next.some((r) => sameRoute(r, route))) throw new Error('this route exists already');
      next.push(route);
    }
    this.commit(next);
  }

  /** Adds a route in place of all others of the same prefix and metric, as `ip route replace` does. Throws like `add`. */
  replace(route: Route4): void {
    validate(route);
    this.commit([...this.routes.filter((r) => !samePrefix(r, route) || r.metric !== route.metric), route]);
  }

  /** Removes the route with the same prefix, gateway, port and metric. Returns false when there was none. */
  delete(route: Identity): boolean {
    const next = this.routes.filter((r) => !sameRoute(r, route));
    if (next.length === this.routes.length) return false;
    this.commit(next);
    return true;
  }

  /** Those of a port that is down included; most specific first. */
  list(): readonly Route4[] {
    return [...this.routes].sort((a, b) => b.len - a.len || a.prefix - b.prefix || a.metric - b.metric);
  }

  /** Finds the way to `dst` and leaves it in the `out` fields. False when there is none: they are as before. */
  lookup(dst: Ipv4): boolean {
    const at = this.lpm.lookup(dst);
    if (at === 0) return false;
    const { rows } = this;
    const gateway = rows[at + GATEWAY]!;
    this.outPort = rows[at + PORT]!;
    this.outNextHop = gateway === 0 ? dst : gateway;
    this.outMtu = rows[at + MTU]!;
    this.outSrc = rows[at + SRC]!;
    this.outScope = rows[at + SCOPE]!;
    this.outTso = rows[at + TSO]!;
    return true;
  }

  /** The route that `lookup` goes by, null = there is none. Cold. */
  routeTo(dst: Ipv4): Route4 | null {
    const leads = this.list().filter(({ scope, port }) => scope === SCOPE_HOST || this.ports.isUp(port));
    return leads.find(({ prefix, len }) => (dst & maskOf(len)) === prefix) ?? null;
  }

  /** To be called when a port went up or down or changed its MTU. Throws like `add`. */
  refresh(): void {
    this.commit(this.routes);
  }

  private commit(routes: readonly Route4[]): void {
    const winners = this.winnersOf(routes);
    const rows = new Int32Array((winners.length + 1) * ROW);
    const entries = winners.map(({ prefix, len, port, gateway, mtu, src, scope }, i) => {
      const value = (i + 1) * ROW;
      const bytes = Math.min(mtu || IPV4_MAX_LEN, this.ports.mtu(port));
      rows.set([port, gateway, bytes, src, scope, this.ports.tso(port) ? 1 : 0], value);
      return { prefix, len, value };
    });
    if (this.lpm.build(entries) !== 'built') throw new Error(`no room for ${winners.length} prefixes`);
    this.rows = rows;
    this.routes = routes;
    this.changes += 1;
  }

  /** The best route of each prefix among those that lead somewhere now. */
  private winnersOf(routes: readonly Route4[]): Route4[] {
    const best = new Map<string, Route4>();
    for (const route of routes) {
      if (route.scope !== SCOPE_HOST && !this.ports.isUp(route.port)) continue;
      const key = `${route.prefix}/${route.len}`;
      const other = best.get(key);
      if (other === undefined || route.metric < other.metric) best.set(key, route);
    }
    return [...best.values()];
  }
}

type Prefix = Pick<Route4, 'prefix' | 'len'>;
type Identity = Pick<Route4, 'prefix' | 'len' | 'gateway' | 'port' | 'metric'>;

const samePrefix = (a: Prefix, b: Prefix): boolean => a.prefix === b.prefix && a.len === b.len;

const sameRoute = (a: Identity, b: Identity): boolean =>
  samePrefix(a, b) && a.gateway === b.gateway && a.port === b.port && a.metric === b.metric;

function validate(route: Route4): void {
  const { prefix, len, port, metric, mtu } = route;
  if (!Number.isInteger(len) || len < 0 || len > 32) throw new RangeError(`prefix length ${len} is not 0..32`);
  if ((prefix & ~maskOf(len)) !== 0) throw new RangeError(`prefix ${prefix >>> 0} has bits behind its length ${len}`);
  if (port === 0) throw new RangeError('a route needs a port');
  if (metric < 0) throw new RangeError(`metric ${metric} is negative`);
  // RFC 791 §3.1: every link carries 68 bytes.
  if (mtu !== 0 && (mtu < 68 || mtu > IPV4_MAX_LEN)) throw new RangeError(`route MTU ${mtu} is not 68..65535`);
}

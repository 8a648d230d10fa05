/**
 * IPv4 routes: longest prefix, then lowest metric, then first added (RFC 1812 §5.2.4.3). `lookup` is called per packet
 * by ip output and forwarding; everything else by the control plane.
 *
 * A plain list is the truth. What `lookup` searches is compiled from it by the first packet after a change: for each
 * prefix the one route that wins, without those whose port is down, so that no question remains for the packet.
 * Host routes to our own addresses (SCOPE_HOST) are in it like any other: being /32 they win, and as they lead to no
 * link they stay when the port is down.
 *
 * `lookup` leaves its answer in the `out` fields: it allocates nothing. They are valid until the next call.
 * @hot
 */
import { maskOf } from '../inetaddr/addr.ts';
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
  /** Source for connections that choose none; 0 = by AddressTable.sourceFor. */
  readonly src: Ipv4;
  /** Largest packet in bytes; 0 = the port's MTU. */
  readonly mtu: number;
  readonly scope: number;
}

/** What the table asks of the ports; netif fulfils it. */
export interface PortStatus {
  isUp(port: PortId): boolean;
  mtu(port: PortId): number;
}

const NO_ROUTES: Int32Array = new Int32Array(0);

export class RouteTable4 {
  /** Answer of the last successful `lookup`. */
  outPort: PortId = 0;
  /** The gateway, or the destination where there is none. */
  outNextHop: Ipv4 = 0;
  /** Bytes: the smaller of the route's and the port's. */
  outMtu = 0;
  /** 0 = the route does not say. */
  outSrc: Ipv4 = 0;
  outScope = 0;

  private readonly ports: PortStatus;
  private readonly routes: Route4[] = [];
  private isStale = false;
  /** The winners, longest prefix first. */
  private prefix = NO_ROUTES;
  private mask = NO_ROUTES;
  private port = NO_ROUTES;
  private gateway = NO_ROUTES;
  private mtu = NO_ROUTES;
  private src = NO_ROUTES;
  private scope = NO_ROUTES;

  constructor(ports: PortStatus) {
    this.ports = ports;
  }

  /** Throws RangeError for a route that cannot be, Error for one that is there already. */
  add(route: Route4): void {
    validate(route);
    if (this.routes.some((r) => sameRoute(r, route))) throw new Error('this route exists already');
    this.routes.push(route);
    this.refresh();
  }

  /** Adds a route in place of all others of the same prefix and metric, as `ip route replace` does. */
  replace(route: Route4): void {
    validate(route);
    this.drop((r) => samePrefix(r, route) && r.metric === route.metric);
    this.routes.push(route);
    this.refresh();
  }

  /** Removes the route with the same prefix, gateway, port and metric. Returns false when there was none. */
  delete(route: Pick<Route4, 'prefix' | 'len' | 'gateway' | 'port' | 'metric'>): boolean {
    if (!this.drop((r) => sameRoute(r, route))) return false;
    this.refresh();
    return true;
  }

  /** Those of a port that is down included; most specific first. */
  list(): readonly Route4[] {
    return [...this.routes].sort((a, b) => b.len - a.len || a.prefix - b.prefix || a.metric - b.metric);
  }

  /** Finds the way to `dst` and leaves it in the `out` fields. False when there is none: they are as before. */
  lookup(dst: Ipv4): boolean {
    if (this.isStale) this.compile();
    const i = this.find(dst);
    if (i < 0) return false;
    const gateway = this.gateway[i]!;
    this.outPort = this.port[i]!;
    this.outNextHop = gateway === 0 ? dst : gateway;
    this.outMtu = this.mtu[i]!;
    this.outSrc = this.src[i]!;
    this.outScope = this.scope[i]!;
    return true;
  }

  /** To be called when a port went up or down or changed its MTU. */
  refresh(): void {
    this.isStale = true;
  }

  private find(dst: Ipv4): number {
    const { prefix, mask } = this;
    for (let i = 0; i < prefix.length; i++) if (((dst ^ prefix[i]!) & mask[i]!) === 0) return i;
    return -1;
  }

  private compile(): void {
    const winners = this.winners().sort((a, b) => b.len - a.len);
    this.prefix = Int32Array.from(winners, (r) => r.prefix);
    this.mask = Int32Array.from(winners, (r) => maskOf(r.len));
    this.port = Int32Array.from(winners, (r) => r.port);
    this.gateway = Int32Array.from(winners, (r) => r.gateway);
    this.mtu = Int32Array.from(winners, (r) => Math.min(r.mtu || IPV4_MAX_LEN, this.ports.mtu(r.port)));
    this.src = Int32Array.from(winners, (r) => r.src);
    this.scope = Int32Array.from(winners, (r) => r.scope);
    this.isStale = false;
  }

  private winners(): Route4[] {
    const best = new Map<string, Route4>();
    for (const route of this.routes) {
      if (route.scope !== SCOPE_HOST && !this.ports.isUp(route.port)) continue;
      const key = `${route.prefix}/${route.len}`;
      const other = best.get(key);
      if (other === undefined || route.metric < other.metric) best.set(key, route);
    }
    return [...best.values()];
  }

  private drop(matches: (r: Route4) => boolean): boolean {
    const before = this.routes.length;
    for (let i = before - 1; i >= 0; i--) if (matches(this.routes[i]!)) this.routes.splice(i, 1);
    return this.routes.length < before;
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

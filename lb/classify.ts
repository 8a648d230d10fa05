/**
 * Which service the first packet of a connection is for. Rules are asked in this order, and the first answer counts:
 *
 *   1. a firewall mark: rules give marks to packets, and a service takes all that has its mark
 *   2. protocol, address and port
 *   3. protocol and address, for services of all ports (port 0)
 *   4. services that match ranges of addresses, ports and interfaces, for packets that are not for us (SNAT, and what is
 *      routed here to be balanced)
 *
 * A mark no service has, or that nobody gave, leads on to 2. Rules of one list are asked in the order of the list.
 * Where there is none, as in most configurations, asking costs a comparison. Called by lb/core.ts, never for a packet
 * of a known connection.
 * @hot
 */
import type { Context } from '../stack/context.ts';
import type { LocalAddresses } from '../stack/inetaddr/addr.ts';
import { isUnicast } from '../stack/ipv4/input.ts';
import type { Routes4 } from '../stack/route/route4.ts';
import type { FrameId, Ipv4, PortId } from '../stack/types.ts';
import { PROTO_TCP, PROTO_UDP } from '../stack/wire/ipv4.ts';
import type { ServiceTable } from './service.ts';

/** Both ends belong to it; ports say nothing of protocols that have none. */
export interface Range {
  readonly low: Ipv4;
  readonly high: Ipv4;
  readonly lowPort: number;
  readonly highPort: number;
}

/** What packets a rule is for; null and 0 = any. */
export interface Match {
  /** IP protocol number. */
  readonly proto: number;
  readonly from: Range | null;
  readonly to: Range | null;
  /** Where the packet came in, and where it would go out. */
  readonly iif: PortId;
  readonly oif: PortId;
}

/** What is needed of the stack. */
export interface ClassifierStack {
  readonly ctx: Context;
  readonly addresses: LocalAddresses;
  readonly routes: Routes4;
}

// Words of a rule.
const VALUE = 0;
const PROTO = 1;
const IIF = 2;
const OIF = 3;
const FROM = 4;
const TO = 8;
const WORDS = 12;

/** Rules with a value each: a mark, or a service. */
class Rules {
  count = 0;
  private words = new Int32Array(0);

  set(rules: readonly (readonly [value: number, match: Match])[]): void {
    this.count = rules.length;
    this.words = Int32Array.from(
      rules.flatMap(([value, { proto, iif, oif, from, to }]) => [value, proto, iif, oif, ...range(from), ...range(to)]),
    );
  }

  /** The value of the first rule that fits, 0 = none. */
  find(proto: number, src: Ipv4, dst: Ipv4, ports: number, iif: PortId, routes: Routes4): number {
    const { words, count } = this;
    for (let i = 0, at = 0; i < count; i++, at += WORDS) {
      if (words[at + PROTO] !== 0 && words[at + PROTO] !== proto) continue;
      if (words[at + IIF] !== 0 && words[at + IIF] !== iif) continue;
      if (!isWithin(words, at + FROM, src, ports >>> 16) || !isWithin(words, at + TO, dst, ports & 0xffff)) continue;
      const oif = words[at + OIF];
      if (oif !== 0 && !(routes.lookup(dst) && routes.outPort === oif)) continue;
      return words[at + VALUE];
    }
    return 0;
  }

  /** Whether a rule may fit a packet between these, whatever its ports. */
  concerns(proto: number, src: Ipv4, dst: Ipv4): boolean {
    const { words, count } = this;
    for (let i = 0, at = 0; i < count; i++, at += WORDS) {
      if (words[at + PROTO] !== 0 && words[at + PROTO] !== proto) continue;
      if (isBetween(words, at + FROM, src) && isBetween(words, at + TO, dst)) return true;
    }
    return false;
  }
}

const ANY = [0, -1, 0, 0xffff];
const range = (r: Range | null): readonly number[] => (r === null ? ANY : [r.low, r.high, r.lowPort, r.highPort]);

const isBetween = (words: Int32Array, at: number, addr: Ipv4): boolean =>
  addr >>> 0 >= words[at] >>> 0 && addr >>> 0 <= words[at + 1] >>> 0;

const isWithin = (words: Int32Array, at: number, addr: Ipv4, port: number): boolean =>
  isBetween(words, at, addr) && port >= words[at + 2] && port <= words[at + 3];

/** ICMP's pseudo ports (proto/icmp.ts) fit every rule that wants any port. */
const hasPorts = (proto: number): boolean => proto === PROTO_TCP || proto === PROTO_UDP;

export class Classifier {
  private readonly ctx: Context;
  private readonly addresses: LocalAddresses;
  private readonly routes: Routes4;
  private readonly services: ServiceTable;
  private readonly marks = new Rules();
  private readonly matches = new Rules();
  /** Service by mark. */
  private readonly marked = new Map<number, number>();

  constructor(stack: ClassifierStack, services: ServiceTable) {
    this.ctx = stack.ctx;
    this.addresses = stack.addresses;
    this.routes = stack.routes;
    this.services = services;
  }

  /** Rules that give marks, in order. Cold, as all that follows but `find` and `concerns`. */
  setMarks(rules: readonly (readonly [mark: number, match: Match])[]): void {
    this.marks.set(rules);
  }

  /** Which service takes packets of a mark. */
  setMarked(services: Iterable<readonly [mark: number, service: number]>): void {
    this.marked.clear();
    for (const [mark, service] of services) this.marked.set(mark, service);
  }

  /** Services that match ranges, in order. */
  setMatches(rules: readonly (readonly [service: number, match: Match])[]): void {
    this.matches.set(rules);
  }

  /** The service of a packet, 0 = none. */
  find(f: FrameId, proto: number, src: Ipv4, dst: Ipv4, ports: number): number {
    return this.findFrom(this.ctx.pool.port[f], proto, src, dst, ports);
  }

  /** `find` for a packet that comes in by the port `iif`. */
  findFrom(iif: PortId, proto: number, src: Ipv4, dst: Ipv4, ports: number): number {
    const { marks, matches, services } = this;
    if (marks.count !== 0) {
      const mark = marks.find(proto, src, dst, hasPorts(proto) ? ports : 0, iif, this.routes);
      const service = mark === 0 ? undefined : this.marked.get(mark);
      if (service !== undefined) return service;
    }
    const service = services.lookup(proto, dst, ports & 0xffff);
    if (service !== 0 || matches.count === 0 || !this.mayPassThrough(iif, dst)) return service;
    return matches.find(proto, src, dst, hasPorts(proto) ? ports : 0, iif, this.routes);
  }

  /** Whether a packet between these that is not for us may have a service, as far as can be told without ports. */
  concerns(f: FrameId, proto: number, src: Ipv4, dst: Ipv4): boolean {
    return (
      this.matches.count !== 0 &&
      this.matches.concerns(proto, src, dst) &&
      this.mayPassThrough(this.ctx.pool.port[f], dst)
    );
  }

  private mayPassThrough(iif: PortId, dst: Ipv4): boolean {
    const { addresses } = this;
    return isUnicast(dst) && !addresses.isLocal(dst) && !addresses.isBroadcast(dst, iif);
  }
}

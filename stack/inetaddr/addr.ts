/**
 * The local addresses of a host: address, prefix length, port and flags. Called per packet (`isLocal`, `isLocalOn`,
 * `isBroadcast`), per connection (`sourceFor`) and by the control plane (add, remove, list).
 *
 * A short plain list is the truth; an index of (address, port) pairs is compiled from it at every change, which is rare.
 * The index holds the addresses themselves and the directed broadcast addresses of their subnets (RFC 1122 §3.3.6), so
 * that each question of the hot path is one probe. Subnets of /31 and /32 have no broadcast address (RFC 3021 §2.2).
 *
 * The host follows the weak model (RFC 1122 §3.3.4.2): a packet to any of its addresses is its own, whichever port it
 * came through; ARP asks `isLocalOn` and speaks for a port's own addresses only.
 * @hot
 */
import type { Ipv4, PortId } from '../types.ts';

/** First choice as a source among the addresses of its port. */
export const PRIMARY = 1;
/** A service address: the last choice as a source. */
export const VIP = 2;

export interface LocalAddress {
  readonly addr: Ipv4;
  /** 1..32. */
  readonly prefixLen: number;
  readonly port: PortId;
  /** PRIMARY, VIP. */
  readonly flags: number;
}

/** Who must know of a change: routes (connected.ts), ARP announcements. Called after the table has changed. */
export interface AddressListener {
  added(address: LocalAddress): void;
  removed(address: LocalAddress): void;
}

export const LIMITED_BROADCAST: Ipv4 = -1;

/** Network mask of a prefix length 0..32. */
export const maskOf = (prefixLen: number): number => (prefixLen === 0 ? 0 : -1 << (32 - prefixLen));

/** An address a single host can have: neither 0/8, loopback, multicast nor reserved (RFC 6890 §2.2.2, RFC 1112 §4). */
export function isHostAddress(addr: Ipv4): boolean {
  const net = addr >>> 24;
  return net !== 0 && net !== 127 && net < 224;
}

/** Kinds of index slots. */
const LOCAL = 1;
const BROADCAST = 2;

/** Words of an index slot. */
const SLOT = 3;
const ADDR = 0;
const PORT = 1;
/** 0 = the slot is free. */
const KIND = 2;

const EMPTY = new Int32Array(2 * SLOT);

export class LocalAddresses {
  private readonly addresses: LocalAddress[] = [];
  private readonly listeners: AddressListener[] = [];
  private index: Int32Array = EMPTY;
  private mask = 1;

  listen(listener: AddressListener): void {
    this.listeners.push(listener);
  }

  /** Throws RangeError when the address cannot be a host's, and Error when the port has it already. */
  add(address: LocalAddress): void {
    const { addr, prefixLen, port } = address;
    if (!isHostAddress(addr)) throw new RangeError(`not a host address: ${addr >>> 0}`);
    if (!Number.isInteger(prefixLen) || prefixLen < 1 || prefixLen > 32) {
      throw new RangeError(`prefix length ${prefixLen} is not 1..32`);
    }
    if (this.isLocalOn(addr, port)) throw new Error(`port ${port} has this address already`);
    this.addresses.push(address);
    this.compile();
    for (const listener of this.listeners) listener.added(address);
  }

  /** Returns false when the port had no such address. */
  remove(addr: Ipv4, port: PortId): boolean {
    const i = this.addresses.findIndex((a) => a.addr === addr && a.port === port);
    if (i < 0) return false;
    const [address] = this.addresses.splice(i, 1);
    this.compile();
    for (const listener of this.listeners) listener.removed(address!);
    return true;
  }

  /** In the order in which they were added. */
  list(): readonly LocalAddress[] {
    return this.addresses;
  }

  /** One of our addresses, on any port. */
  isLocal(addr: Ipv4): boolean {
    const { index, mask } = this;
    for (let slot = home(addr, mask); ; slot = (slot + 1) & mask) {
      const at = slot * SLOT;
      const kind = index[at + KIND]!;
      if (kind === 0) return false;
      if (index[at + ADDR] === addr && kind === LOCAL) return true;
    }
  }

  /** One of this port's addresses. */
  isLocalOn(addr: Ipv4, port: PortId): boolean {
    return this.has(addr, port, LOCAL);
  }

  /** The limited broadcast address, or the directed one of a subnet connected to this port. */
  isBroadcast(addr: Ipv4, port: PortId): boolean {
    return addr === LIMITED_BROADCAST || this.has(addr, port, BROADCAST);
  }

  /** `isLocal` or a directed broadcast of this port's subnets, in one probe: no packet between others has such an address. */
  isOurs(addr: Ipv4, port: PortId): boolean {
    const { index, mask } = this;
    for (let slot = home(addr, mask); ; slot = (slot + 1) & mask) {
      const at = slot * SLOT;
      const kind = index[at + KIND]!;
      if (kind === 0) return false;
      if (index[at + ADDR] === addr && (kind === LOCAL || index[at + PORT] === port)) return true;
    }
  }

  /**
   * The source for packets to `dst` that leave through `port` (RFC 1122 §3.3.4.3): an address of the port whose subnet
   * has `dst` in it, else another of the port, else any of the host; among equals no VIP, then PRIMARY, then the first
   * added. 0 when the host has no address.
   */
  sourceFor(dst: Ipv4, port: PortId): Ipv4 {
    let best = 0;
    let bestRank = -1;
    for (let i = 0; i < this.addresses.length; i++) {
      const a = this.addresses[i]!;
      const onLink = a.port === port && ((a.addr ^ dst) & maskOf(a.prefixLen)) === 0;
      const rank = (a.port === port ? 8 : 0) | (onLink ? 4 : 0) | ((a.flags & VIP) === 0 ? 2 : 0) | (a.flags & PRIMARY);
      if (rank > bestRank) {
        best = a.addr;
        bestRank = rank;
      }
    }
    return best;
  }

  private has(addr: Ipv4, port: PortId, kind: number): boolean {
    const { index, mask } = this;
    for (let slot = home(addr, mask); ; slot = (slot + 1) & mask) {
      const at = slot * SLOT;
      const found = index[at + KIND]!;
      if (found === 0) return false;
      if (index[at + ADDR] === addr && index[at + PORT] === port && found === kind) return true;
    }
  }

  /** At most a quarter full: most addresses asked for are not ours, and a miss should end at the first slot. */
  private compile(): void {
    let slots = 8;
    while (slots < this.addresses.length * 8) slots *= 2;
    this.mask = slots - 1;
    this.index = new Int32Array(slots * SLOT);
    for (const a of this.addresses) {
      this.enter(a.addr, a.port, LOCAL);
      if (a.prefixLen > 30) continue;
      const broadcast = a.addr | ~maskOf(a.prefixLen);
      if (!this.has(broadcast, a.port, BROADCAST)) this.enter(broadcast, a.port, BROADCAST);
    }
  }

  private enter(addr: Ipv4, port: PortId, kind: number): void {
    const { index, mask } = this;
    let slot = home(addr, mask);
    while (index[slot * SLOT + KIND] !== 0) slot = (slot + 1) & mask;
    index.set([addr, port, kind], slot * SLOT);
  }
}

/** Our addresses are few and our own choice: a plain mix spreads them. */
const home = (addr: Ipv4, mask: number): number => (Math.imul(addr, 0x9e3779b1) >>> 8) & mask;

/**
 * What is known of the servers of mode NAT besides their connections. Their answers are addressed to clients, so that nobody but the
 * director would put fragments together; and with one-packet scheduling there is no connection that an answer could belong to: it
 * is translated by the server's address and port alone.
 *
 * That takes a server whose address and port stand for one VIP. One of a firewall mark stands for any, and one that two one-packet
 * services share for two: the second service, as that of a mark, keeps its connections (opener.ts).
 *
 * Set by lb/l4.ts, asked by lb/core.ts and lb/opener.ts.
 * @hot
 */
import type { Ipv4 } from '../stack/types.ts';
import type { DestTable } from './dest.ts';

export class NatServers {
  /** Addresses, those of removed servers with connections included. */
  readonly addresses = new Set<Ipv4>();
  private readonly dests: DestTable;
  /** Servers of one-packet services by address and port: their rows. */
  private readonly answering = new Map<number, number>();

  constructor(dests: DestTable) {
    this.dests = dests;
  }

  /** The row of the server that answers without connections from here, 0 = none. */
  answerer(addr: Ipv4, port: number): number {
    return this.answering.size === 0 ? 0 : (this.answering.get(keyOf(addr, port)) ?? 0);
  }

  /** These are the servers of a service in mode NAT; `answering`: it forgets its connections. Cold, as all that follows. */
  set(service: number, servers: readonly number[], answering: boolean): void {
    this.remove(service);
    const { addr, port } = this.dests;
    for (const dest of servers) {
      this.addresses.add(addr[dest]!);
      const key = keyOf(addr[dest]!, port[dest]!);
      if (answering && !this.answering.has(key)) this.answering.set(key, dest);
    }
  }

  /** The service has none. Addresses stay while somebody's connection may need them. */
  remove(service: number): void {
    for (const [key, dest] of this.answering) if (this.dests.service[dest] === service) this.answering.delete(key);
    if (this.addresses.size === 0) return;
    const held = this.dests.addressesInUse();
    for (const addr of this.addresses) if (!held.has(addr)) this.addresses.delete(addr);
  }
}

const keyOf = (addr: Ipv4, port: number): number => (addr >>> 0) * 0x10000 + port;

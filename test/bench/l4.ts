/**
 * The layer-4 director in numbers: 64-byte frames in, rewritten, out, through netif, ethernet, IPv4, the hook, the
 * connection table, route, neighbour and netif again. Flows are visited in an order without pattern, so that with a million of
 * them every packet finds its connection in memory, not in the cache.
 */
import * as c from '../../lb/conn-row.ts';
import * as ipv4 from '../../stack/wire/ipv4.ts';
import * as tcp from '../../stack/wire/tcp.ts';
import { Conversations } from './conversations.ts';
import { address, L4_AT, type Source } from './generator.ts';
import { clientOf, VIP, World } from './l4-world.ts';

export const LAYER4 = [
  { name: 'FullNAT', mode: c.FNAT, proto: ipv4.PROTO_TCP },
  { name: 'FullNAT, UDP', mode: c.FNAT, proto: ipv4.PROTO_UDP },
  { name: 'direct routing', mode: c.DR, proto: ipv4.PROTO_TCP },
  { name: 'IPIP tunnel', mode: c.TUN, proto: ipv4.PROTO_TCP },
] as const;

/** A body that passes n packets of `flows` established connections, a power of two, from the clients on. */
export function passing(mode: number, flows: number, proto: number = ipv4.PROTO_TCP): (n: number) => void {
  const world = new World(mode, flows, proto);
  const { device, l4 } = world;
  const begin = (flags: number): Source => {
    return ({ buf, i32, off }, frames, n, first) => {
      for (let i = 0; i < n; i++) {
        const at = off[frames[i]!]!;
        address(i32, at, clientOf(first + i), VIP);
        if (proto === ipv4.PROTO_TCP) buf[at + L4_AT + 13] = flags;
      }
    };
  };
  for (const flags of [tcp.SYN, tcp.ACK]) {
    device.restart();
    device.source = begin(flags);
    world.run(flows, 10);
  }
  if (l4.open !== flows) throw new Error(`l4: ${l4.open} of ${flows} connections`);
  // A full-period generator: every flow once per round, neighbours far apart.
  let x = 1;
  const mask = flows - 1;
  device.source = ({ i32, off }, frames, n) => {
    for (let i = 0; i < n; i++) {
      x = (Math.imul(x, 1664525) + 1013904223) & mask;
      address(i32, off[frames[i]!]!, clientOf(Math.imul(x, 0x9e3779b1) & mask), VIP);
    }
  };
  device.sink = null;
  return (n) => {
    device.restart();
    world.run(n, 5);
    if (device.sent < n) throw new Error(`l4: ${device.sent} of ${n} packets went on`);
  };
}

/** Packets of a connection that is opened and closed. */
export const PACKETS_EACH = 9;

/**
 * A body that opens and closes n FullNAT connections, PACKETS_EACH packets each. A second passes every 8192 connections, so that ended
 * ones are forgotten while others begin.
 */
export function opening(): (n: number) => void {
  const world = new World(c.FNAT, 1 << 17);
  const talk = new Conversations(world);
  return (n) => {
    const before = world.l4.core.stats.opened;
    for (let done = 0; done < n; done += talk.size) {
      talk.open();
      talk.exchange();
      talk.close();
      // Seven seconds of TIME_WAIT are 57,000 connections.
      world.now += 7800;
    }
    if (world.l4.core.stats.opened - before < n) throw new Error('l4: connections are missing');
  };
}

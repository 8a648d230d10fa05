/**
 * The layer-4 director in numbers: 64-byte frames in, rewritten, out, through netif, ethernet, IPv4, the hook, the
 * connection table, route, neighbour and netif again. Flows are visited in an order without pattern, so that with a million of
 * them every packet finds its connection in memory, not in the cache.
 */
import * as c from '../../lb/conn-row.ts';
import { set16 } from '../../stack/wire/bytes.ts';
import { finish, pseudo4, sum } from '../../stack/wire/checksum.ts';
import * as ipv4 from '../../stack/wire/ipv4.ts';
import * as tcp from '../../stack/wire/tcp.ts';
import { Conversations } from './conversations.ts';
import { address, CPORT, L3, L4_AT, type Source } from './generator.ts';
import { clientOf, VIP, World } from './l4-world.ts';

export const LAYER4 = [
  { name: 'FullNAT', mode: c.FNAT, proto: ipv4.PROTO_TCP },
  { name: 'FullNAT, UDP', mode: c.FNAT, proto: ipv4.PROTO_UDP },
  { name: 'direct routing', mode: c.DR, proto: ipv4.PROTO_TCP },
  { name: 'IPIP tunnel', mode: c.TUN, proto: ipv4.PROTO_TCP },
] as const;

/** Opens a connection of each of the clients. */
function establish(world: World, flows: number, proto: number): void {
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
}

/** A body that passes n packets of `flows` established connections, a power of two, from the clients on. */
export function passing(mode: number, flows: number, proto: number = ipv4.PROTO_TCP): (n: number) => void {
  const world = new World(mode, flows, proto);
  const { device } = world;
  establish(world, flows, proto);
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

/** Bytes of payload in each segment of bulk, and of the segment. */
export const BULK = 1448;
const SEGMENT = tcp.TCP_LEN + BULK;

/**
 * A body that passes n segments of FullNAT connections by a port that cuts, a burst of each connection in turn: each burst leaves as two
 * frames. The payload is zeros, as slots have them that nobody has written to, so checksums are those of the headers.
 */
export function merging(): (n: number) => void {
  const flows = 1 << 10;
  const world = new World(c.FNAT, flows, ipv4.PROTO_TCP, true);
  const { device, host } = world;
  establish(world, flows, ipv4.PROTO_TCP);
  let burst = 0;
  device.source = ({ buf, i32, off, len }, frames, n) => {
    const client = clientOf(burst++ & (flows - 1));
    for (let i = 0; i < n; i++) {
      const at = off[frames[i]!]!;
      const l4 = at + L4_AT;
      len[frames[i]!] = L4_AT + SEGMENT;
      ipv4.emit(buf, at + L3, 0, ipv4.IPV4_LEN + SEGMENT, i, ipv4.DF, 64, ipv4.PROTO_TCP, client, VIP);
      ipv4.fillChecksum(buf, i32, at + L3);
      tcp.emit(buf, l4, CPORT, 80, 1000 + i * BULK, 2000, tcp.TCP_LEN, tcp.ACK, 500, 0);
      const pseudo = pseudo4(client, VIP, ipv4.PROTO_TCP, SEGMENT);
      set16(buf, l4 + 16, finish(sum(buf, i32, l4, tcp.TCP_LEN, pseudo)));
    }
  };
  return (n) => {
    device.restart();
    const before = host.netif.merged;
    world.run(n, 5);
    // The last burst may be a short one.
    if (host.netif.merged - before + device.sent < n || device.sent > n / 16 + 2)
      throw new Error(`l4: ${n} segments left as ${device.sent} frames`);
  };
}

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

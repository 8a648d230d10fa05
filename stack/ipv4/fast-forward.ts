/**
 * The short cut of IPv4 forwarding (RFC 1812 §5.2): what forward.ts does with plain packets between ports whose next hops are known, a burst
 * at a time, in loops each of which touches one thing (as lb/fast, which sees each burst before). Whatever else there is stays as it
 * came, for the long way: options, packets for us, time to live at its end, packets too long, no route, unknown neighbours,
 * broadcasts. While somebody wants to look at packets on their way (hook.ts), everything goes that way.
 *
 * Called by netif with each burst. Ownership: a frame whose verdict becomes STOLEN is taken.
 * @hot
 */
import type { Context } from '../context.ts';
import { FORWARD, type Hooks, POST_ROUTING, PRE_ROUTING } from '../hook.ts';
import type { LocalAddresses } from '../inetaddr/addr.ts';
import { type Adjacencies, KEY, PORT, putHeader } from '../neigh/adjacency.ts';
import { BURST } from '../netif/device.ts';
import type { BurstInput, Netif, Port } from '../netif/port.ts';
import type { Routes4 } from '../route/route4.ts';
import { PASS, STOLEN } from '../verdict.ts';
import { swap32 } from '../wire/bytes.ts';
import { PROTO_TCP } from '../wire/ipv4.ts';
import { isUnicast } from './input.ts';
import { DST, decrementTtl, macRest, macStart, packetLength, plainWord, SRC, TTL_SUM } from './plain.ts';

const ON_THE_WAY = (1 << PRE_ROUTING) | (1 << FORWARD) | (1 << POST_ROUTING);

/** What is needed of the stack; a Host has it all. */
export interface FastForwardStack {
  readonly ctx: Context;
  readonly netif: Netif;
  readonly addresses: LocalAddresses;
  readonly routes: Routes4;
  readonly hooks: Hooks;
}

export class FastForward implements BurstInput {
  /** Packets that took the short cut. */
  packets = 0;

  private readonly ctx: Context;
  private readonly netif: Netif;
  private readonly addresses: LocalAddresses;
  private readonly routes: Routes4;
  private readonly hooks: Hooks;
  private readonly adjacencies: Adjacencies;
  /** Of packets that may go: place in the burst, word of the header, bytes, next hop, its port, its adjacency. */
  private readonly index = new Int32Array(BURST);
  private readonly word = new Int32Array(BURST);
  private readonly length = new Int32Array(BURST);
  private readonly nextHop = new Int32Array(BURST);
  private readonly out = new Int32Array(BURST);
  private readonly hop = new Int32Array(BURST);

  constructor(stack: FastForwardStack, adjacencies: Adjacencies) {
    this.ctx = stack.ctx;
    this.netif = stack.netif;
    this.addresses = stack.addresses;
    this.routes = stack.routes;
    this.hooks = stack.hooks;
    this.adjacencies = adjacencies;
  }

  burst(port: Port, frames: Int32Array, verdicts: Int32Array, n: number): number {
    if ((this.hooks.used & ON_THE_WAY) !== 0) return 0;
    const plain = this.sort(port, frames, verdicts, n);
    const routed = this.route(port, plain);
    this.adjacencies.findHops(this.nextHop, this.out, this.hop, routed);
    const taken = this.send(frames, verdicts, routed);
    this.packets += taken;
    return taken;
  }

  /** Plain packets, to the front of the columns; returns how many. */
  private sort(port: Port, frames: Int32Array, verdicts: Int32Array, n: number): number {
    const { index, word } = this;
    const { pool } = this.ctx;
    const start = macStart(port);
    const rest = macRest(port);
    let k = 0;
    for (let i = 0; i < n; i++) {
      const w = plainWord(pool, frames[i], start, rest);
      if (w === 0 || verdicts[i] !== PASS) continue;
      index[k] = i;
      word[k++] = w;
    }
    return k;
  }

  /** Of those, the ones with a way on. */
  private route(port: Port, n: number): number {
    const { addresses, routes, index, word, length, nextHop, out } = this;
    const { i32 } = this.ctx.pool;
    const { id } = port;
    let k = 0;
    for (let i = 0; i < n; i++) {
      const w = word[i];
      const src = swap32(i32[w + SRC]);
      const dst = swap32(i32[w + DST]);
      if ((i32[w + TTL_SUM] & 0xff) <= 1 || !isUnicast(src) || !isUnicast(dst)) continue;
      if (addresses.isOurs(src, id) || addresses.isOurs(dst, id) || !routes.lookup(dst)) continue;
      const len = packetLength(i32, w);
      if (len > routes.outMtu) continue;
      index[k] = index[i];
      word[k] = w;
      length[k] = len;
      nextHop[k] = routes.outNextHop;
      out[k++] = routes.outPort;
    }
    return k;
  }

  /** Rewrites and queues those whose next hop is known; returns how many. */
  private send(frames: Int32Array, verdicts: Int32Array, n: number): number {
    const { netif, index, word, length, nextHop, out, hop: hops } = this;
    const { words } = this.adjacencies;
    const { pool } = this.ctx;
    let taken = 0;
    for (let k = 0; k < n; k++) {
      const hop = hops[k];
      // None, or another packet of the burst has taken its place.
      if (words[hop + KEY] !== nextHop[k] || words[hop + PORT] !== out[k]) continue;
      const f = frames[index[k]];
      const w = word[k];
      decrementTtl(pool.i32, w);
      putHeader(pool, words, hop, f, w, length[k]);
      const isTcp = ((pool.i32[w + TTL_SUM] >>> 8) & 0xff) === PROTO_TCP;
      const verdict = isTcp ? netif.transmitSegment(f, w, length[k], out[k]) : netif.transmitPlain(f, out[k]);
      if (verdict !== STOLEN) this.ctx.settle(f, verdict);
      verdicts[index[k]] = STOLEN;
      taken += 1;
    }
    return taken;
  }
}

/**
 * What becomes of fragments for services of layer 4, by protocol and address: only the first fragment of a datagram has
 * ports, so all services of one address and protocol are of one mind. Services by mark or match have a policy each, under their own
 * number (lb/service.ts): the first fragment tells the service, and what becomes of it becomes of those behind it. One that comes
 * before the first is put together in vain.
 *
 * REASSEMBLE leaves them to the stack, which puts datagrams together before anyone looks at their ports. DROP_ALL drops them.
 * FORWARD, for servers that see packets as clients sent them (DR, TUN), costs no memory of frames: the first fragment opens or
 * finds its connection, and the others go the same way, told by address and identification (RFC 791 §3.2). A fragment that comes
 * before the first of its datagram is dropped; its sender sends the datagram again.
 *
 * The ways are a table of fixed size: a new one takes the place of an older one with the same hash. Called by lb/core.ts.
 * @hot
 */
import { hsiphash3 } from '../stack/mem/hsiphash.ts';
import type { Ipv4, Random, Ticks } from '../stack/types.ts';
import { PROTO_MARK, PROTO_MATCH } from './service.ts';

export const REASSEMBLE = 0;
export const FORWARD = 1;
export const DROP_ALL = 2;

/** In the place of a way's mode: the datagram is dropped. */
const NOWHERE = -1;

const WAYS = 1024;
/** As long as a reassembler at the other end waits. */
const LIFETIME_MS = 30_000;

// Words of a way.
const SRC = 0;
const DST = 1;
/** Identification << 16 | protocol. */
const WORD = 2;
const RADDR = 3;
const DEST = 4;
const MODE = 5;
const UNTIL = 6;
const WORDS = 8;

export class FragmentRules {
  /** What `find` found: server, its row, forwarding mode. */
  raddr: Ipv4 = 0;
  dest = 0;
  mode = 0;
  /** Services by mark or match that have a policy of their own. */
  byRule = 0;
  private readonly policies = new Map<number, number>();
  private readonly ways = new Int32Array(WAYS * WORDS);
  private readonly k0: number;
  private readonly k1: number;

  constructor(random: Random) {
    this.k0 = random.next() | 0;
    this.k1 = random.next() | 0;
  }

  /** REASSEMBLE when nothing was said. */
  policy(proto: number, vip: Ipv4): number {
    return this.policies.size === 0 ? REASSEMBLE : (this.policies.get(keyOf(proto, vip)) ?? REASSEMBLE);
  }

  /** Of all services of this protocol and address. Cold. */
  setPolicy(proto: number, vip: Ipv4, policy: number): void {
    const key = keyOf(proto, vip);
    const isRule = proto === PROTO_MARK || proto === PROTO_MATCH;
    if (isRule && this.policies.has(key) !== (policy !== REASSEMBLE)) this.byRule += policy === REASSEMBLE ? -1 : 1;
    if (policy === REASSEMBLE) this.policies.delete(key);
    else this.policies.set(key, policy);
  }

  /** The first fragment of a datagram is dropped, and so are the others. */
  noteDropped(src: Ipv4, dst: Ipv4, word: number, nowMs: Ticks): void {
    this.note(src, dst, word, 0, 0, NOWHERE, nowMs);
  }

  /** What became of the first fragment of a datagram: FORWARD, DROP_ALL, or `otherwise` when nothing is known of it. */
  followed(src: Ipv4, dst: Ipv4, word: number, nowMs: Ticks, otherwise: number): number {
    if (!this.find(src, dst, word, nowMs)) return otherwise;
    return this.mode === NOWHERE ? DROP_ALL : FORWARD;
  }

  /** The first fragment of a datagram went to this server. */
  note(src: Ipv4, dst: Ipv4, word: number, raddr: Ipv4, dest: number, mode: number, nowMs: Ticks): void {
    const { ways } = this;
    const at = this.slot(src, dst, word);
    ways[at + SRC] = src;
    ways[at + DST] = dst;
    ways[at + WORD] = word;
    ways[at + RADDR] = raddr;
    ways[at + DEST] = dest;
    ways[at + MODE] = mode;
    ways[at + UNTIL] = (nowMs + LIFETIME_MS) | 0;
  }

  /** Where the other fragments of a datagram go: `raddr`, `dest`, `mode`. False when its first one was not seen. */
  find(src: Ipv4, dst: Ipv4, word: number, nowMs: Ticks): boolean {
    const { ways } = this;
    const at = this.slot(src, dst, word);
    if (ways[at + SRC] !== src || ways[at + DST] !== dst || ways[at + WORD] !== word) return false;
    if (ways[at + MODE] === 0 || ((ways[at + UNTIL] - nowMs) | 0) < 0) return false;
    this.raddr = ways[at + RADDR];
    this.dest = ways[at + DEST];
    this.mode = ways[at + MODE];
    return true;
  }

  private slot(src: Ipv4, dst: Ipv4, word: number): number {
    return (hsiphash3(this.k0, this.k1, src, dst, word) & (WAYS - 1)) * WORDS;
  }
}

const keyOf = (proto: number, vip: Ipv4): number => proto * 0x1_0000_0000 + (vip >>> 0);

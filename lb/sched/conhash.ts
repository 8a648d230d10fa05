/**
 * Consistent hashing on a ring (Karger et al. 1997) with MurmurHash3. A key belongs to the first virtual node at or
 * after it, or to the first of all. Each flow has two keys and takes the one whose node is nearer
 * (multi-probe hashing, Appleton and O'Reilly 2015): long arcs gain less than their length, which brings the
 * fullest of 20 equal servers from up to 1.35 times the mean (one key, a bad set of addresses) below 1.2.
 *
 * Every server has 160 virtual nodes times weight / gcd(weights), none at weight 0. A virtual node's place depends on
 * the server's address and port and its own index, on nothing else: the mapping is the same on every machine, whatever
 * the order of adding, and a server that comes back gets back exactly what it had. Nodes at one place are ordered
 * by address and port. A server that cannot take a connection is passed over, exactly as if it had left: only its
 * own flows move.
 *
 * Option `key`: `5tuple` (addresses, ports, protocol), `source` (client address: a client stays with its server), or `quic` (the
 * connection id of QUIC: a client that comes from another address stays, as long as it uses the id; 5tuple for what has none).
 */

import { finish, fmix, mixWord } from '../hash/murmur3.ts';
import { eligible, type FlowKey, type Scheduler, type SchedulerFactory, type SchedView } from './contract.ts';

const VNODES = 160;
/**
 * Ring size above which all servers' shares are scaled down (weights such as 65535 and 65534 would ask for 21
 * million virtual nodes). A server's first nodes stay where they are, so scaling moves few flows.
 */
const MAX_RING = 1 << 18;
/** Two seeds, so that a client's key and a server's virtual node never coincide by construction. */
const NODE_SEED = 0x6e6f6465;
const FLOW_SEED = 0x666c6f77;
const SECOND_KEY = 0x32646e32;
/** key * RANKS + rank is exact in a double: 32 + 21 bits. */
const RANKS = 1 << 21;

const KEYS = ['5tuple', 'source', 'quic'] as const;
type Key = (typeof KEYS)[number];

class ConsistentHash implements Scheduler {
  readonly name = 'conhash';
  readonly admits: 'clients' | 'connections';
  private readonly view: SchedView;
  private readonly key: Key;
  /** Keys of the virtual nodes, ascending as int32, and the server of each. */
  private keys = new Int32Array(0);
  private owners = new Int32Array(0);

  constructor(view: SchedView, key: Key) {
    this.view = view;
    this.key = key;
    this.admits = key === 'source' ? 'clients' : 'connections';
    this.update();
  }

  update(): void {
    const { dests } = this.view;
    const ids = this.view.ids.slice(0, this.view.count).filter((id) => dests.weight[id]! > 0);
    ids.sort((a, b) => (dests.addr[a]! >>> 0) - (dests.addr[b]! >>> 0) || dests.port[a]! - dests.port[b]!);
    const copies = shares(ids.map((id) => dests.weight[id]!));
    const ring = new Float64Array(copies.reduce((sum, n) => sum + n, 0));
    let at = 0;
    for (let rank = 0; rank < ids.length; rank++) {
      const id = ids[rank]!;
      for (let i = 0; i < copies[rank]!; i++) {
        ring[at++] = nodeKey(dests.addr[id]!, dests.port[id]!, i) * RANKS + rank;
      }
    }
    ring.sort();
    this.keys = new Int32Array(ring.length);
    this.owners = new Int32Array(ring.length);
    for (let i = 0; i < ring.length; i++) {
      const key = Math.floor(ring[i]! / RANKS);
      this.keys[i] = key;
      this.owners[i] = ids[ring[i]! - key * RANKS]!;
    }
  }

  /** @hot */
  pick(flow: FlowKey): number {
    if (this.keys.length === 0) return 0;
    const key1 = keyOf(this.key, flow);
    const key2 = fmix(key1 ^ SECOND_KEY);
    const at1 = this.eligibleFrom(this.successor(key1), flow);
    if (at1 < 0) return 0;
    const at2 = this.eligibleFrom(this.successor(key2), flow);
    return this.owners[distance(key2, this.keys[at2]!) < distance(key1, this.keys[at1]!) ? at2 : at1]!;
  }

  /** Why `pick` chooses as it does. */
  explain(flow: FlowKey): string {
    const n = this.keys.length;
    if (n === 0) return 'the ring is empty';
    const key = keyOf(this.key, flow);
    const option = this.key === 'quic' && !flow.hasId ? 'no connection id is known, 5tuple' : this.key;
    const seek = (k: number): string => {
      const at = this.eligibleFrom(this.successor(k), flow);
      return at < 0 ? 'no server' : `${hex(k)} (next virtual node ${hex(this.keys[at]!)})`;
    };
    return `${option} keys ${seek(key)} and ${seek(fmix(key ^ SECOND_KEY))} on a ring of ${n}: the nearer node wins`;
  }

  /** Position of the first virtual node from `at` on whose server may take this flow; -1 = none. */
  private eligibleFrom(at: number, flow: FlowKey): number {
    const owners = this.owners;
    const dests = this.view.dests;
    if (eligible(dests, owners[at]!, flow)) return at;
    // Without this check a service with every server down would cost a walk round the whole ring per connection.
    if (!this.anyEligible(flow)) return -1;
    const n = owners.length;
    for (let steps = 1; steps < n; steps++) {
      at = at + 1 === n ? 0 : at + 1;
      if (eligible(dests, owners[at]!, flow)) return at;
    }
    return -1;
  }

  /** Position of the first virtual node whose key is not below `key`, or 0. */
  private successor(key: number): number {
    const keys = this.keys;
    let low = 0;
    let high = keys.length;
    while (low < high) {
      const mid = (low + high) >>> 1;
      if (keys[mid]! < key) low = mid + 1;
      else high = mid;
    }
    return low === keys.length ? 0 : low;
  }

  /** Whether some server with a place on the ring may take this flow. */
  private anyEligible(flow: FlowKey): boolean {
    const { dests, ids, count } = this.view;
    for (let i = 0; i < count; i++) if (eligible(dests, ids[i]!, flow)) return true;
    return false;
  }
}

const hex = (key: number): string => `0x${(key >>> 0).toString(16).padStart(8, '0')}`;

/** How far `node` is behind `key` round the ring, shifted so that int32 order is the order of distances. */
function distance(key: number, node: number): number {
  return (node - key) ^ 0x80000000;
}

function nodeKey(addr: number, port: number, index: number): number {
  return finish(mixWord(mixWord(mixWord(NODE_SEED, addr), port), index), 12);
}

/** @hot */
function keyOf(key: Key, flow: FlowKey): number {
  if (key === 'source') return sourceKey(flow);
  return key === 'quic' && flow.hasId ? idKey(flow) : tupleKey(flow);
}

function sourceKey(flow: FlowKey): number {
  return finish(mixWord(FLOW_SEED, flow.src), 4);
}

function idKey(flow: FlowKey): number {
  return finish(mixWord(mixWord(FLOW_SEED, flow.idHigh), flow.idLow), 8);
}

function tupleKey(flow: FlowKey): number {
  let h = mixWord(mixWord(FLOW_SEED, flow.src), flow.dst);
  h = mixWord(h, (flow.sport << 16) | flow.dport);
  return finish(mixWord(h, flow.proto), 16);
}

/** Virtual nodes for each of these weights, all above 0. */
function shares(weights: Int32Array): Int32Array {
  const unit = weights.reduce(gcd, 0);
  const total = weights.reduce((sum, weight) => sum + (VNODES * weight) / unit, 0);
  const scale = Math.min(1, MAX_RING / total);
  return weights.map((weight) => Math.max(1, Math.floor(((VNODES * weight) / unit) * scale)));
}

function gcd(a: number, b: number): number {
  while (b !== 0) [a, b] = [b, a % b];
  return a;
}

export const conhash: SchedulerFactory = {
  name: 'conhash',
  summary: 'consistent hash ring: a server that leaves or joins moves only its own share of the flows',
  options: { key: KEYS },
  create: (view, options) => new ConsistentHash(view, KEYS.find((key) => key === options['key']) ?? '5tuple'),
};

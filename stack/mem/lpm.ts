/**
 * IPv4 longest-prefix match: from an address to the value of the longest prefix that contains it. @hot (`lookup`)
 * A trie that consumes eight bits a step, so at most four loads; shorter prefixes are spread over the entries they cover ("leaf pushing"),
 * so a lookup never backs up. Building is cold and always from the whole list. Called by route, and by access lists.
 *
 *   line 0   header: magic, version, size, nodes, readers
 *   line 1   generation: number of builds; its lowest bit tells which half is valid
 *   line 2+  one line per reader 1..n: the generation it looks things up in, IDLE when it does not
 *   then     half 0, half 1: `nodes` nodes of 256 words, node 0 being the root
 *
 *   word of a node: > 0 value, 0 no prefix, < 0 the node -word decides by the next eight bits
 *
 * One thread builds, and looks up in the newest build. Other threads read: each attaches as a reader of its own number and calls `refresh`
 * once per burst; its lookups are plain loads in the half it has announced. Why these never meet a half being rebuilt:
 * 1. Generation g stands in half g & 1. `build` stores g + 1 into the other half and then shows it with Atomics.store(generation); a
 *    reader that loads g + 1 synchronises with that store, so the whole trie happened before its lookups.
 * 2. Build g + 1 overwrites generation g - 1, and begins only after Atomics.load found every reader at g or IDLE. A reader announces g
 *    with Atomics.store after its last lookup in g - 1, so those loads happened before the first store of the build. A reader that
 *    is still at g - 1 makes `build` answer "busy".
 * 3. A reader that begins (IDLE before) announces what it loaded and loads again until both agree; from then on 2 holds for it.
 */
import { type BlockKind, demand, LINE_WORDS, OWN, openBlock, toLines, writeBlock } from './block.ts';

const KIND: BlockKind = { name: 'prefix table', magic: 0x4c504d34, version: 1 };
const GENERATION = LINE_WORDS;
/** Line of reader r: r lines after this one. */
const READER0 = LINE_WORDS;
const IDLE = -1;
const NODE = 256;

export type LpmConfig = {
  /** Nodes of one build at most: 1, and one per distinct /8, /16 and /24 that has longer prefixes in it. 1 KB each, twice. */
  readonly nodes: number;
  /** Threads that attach besides the one that builds. */
  readonly readers: number;
};

export type LpmEntry = {
  /** IPv4, host order; bits beyond `len` do not matter. */
  readonly prefix: number;
  /** 0..32. */
  readonly len: number;
  /** int32 > 0. */
  readonly value: number;
};

/** built; or nothing changed: full = more nodes needed than there are, busy = a reader has not refreshed since the last build. */
export type LpmResult = 'built' | 'full' | 'busy';

export class Lpm {
  private readonly mem: Int32Array;
  private readonly nodes: number;
  private readonly readers: number;
  private readonly halves: number;
  /** Line of this reader, 0 for the thread that builds. */
  private readonly line: number;
  private generation: number;
  private root: number;

  private constructor(mem: Int32Array, reader: number) {
    this.mem = mem;
    this.nodes = mem[OWN];
    this.readers = mem[OWN + 1];
    demand(Number.isInteger(reader) && reader >= 0 && reader <= this.readers, `no reader ${reader} of ${this.readers}`);
    this.halves = READER0 + (this.readers + 1) * LINE_WORDS;
    this.line = reader === 0 ? 0 : READER0 + reader * LINE_WORDS;
    this.generation = Atomics.load(mem, GENERATION);
    this.root = this.half(this.generation);
    if (this.line === 0) return;
    for (let g = this.generation; ; g = this.generation) {
      Atomics.store(mem, this.line, g);
      this.refresh();
      if (this.generation === g) break;
    }
  }

  static bytes(cfg: LpmConfig): number {
    demand(
      Number.isInteger(cfg.nodes) && cfg.nodes > 0 && cfg.nodes <= 0x80000,
      `a prefix table of ${cfg.nodes} nodes`,
    );
    demand(Number.isInteger(cfg.readers) && cfg.readers >= 0, `${cfg.readers} readers`);
    return toLines((READER0 + (cfg.readers + 1) * LINE_WORDS + 2 * cfg.nodes * NODE) * 4);
  }

  /** An empty table, seen by the thread that builds. */
  static create(sab: SharedArrayBuffer, byteOffset: number, cfg: LpmConfig): Lpm {
    const mem = writeBlock(sab, byteOffset, KIND, Lpm.bytes(cfg), [cfg.nodes, cfg.readers]);
    const halves = READER0 + (cfg.readers + 1) * LINE_WORDS;
    mem.fill(IDLE, READER0 + LINE_WORDS, halves);
    mem.fill(0, halves, halves + NODE);
    Atomics.store(mem, GENERATION, 0);
    return new Lpm(mem, 0);
  }

  /** @param reader number of this thread among the readers, 1..; 0 for the one thread that builds */
  static attach(sab: SharedArrayBuffer, byteOffset: number, reader: number): Lpm {
    return new Lpm(openBlock(sab, byteOffset, KIND), reader);
  }

  /** Value of the longest prefix that contains `addr`, 0 when there is none. */
  lookup(addr: number): number {
    const mem = this.mem;
    const root = this.root;
    let entry = mem[root + (addr >>> 24)];
    if (entry >= 0) return entry;
    entry = mem[root - (entry << 8) + ((addr >>> 16) & 255)];
    if (entry >= 0) return entry;
    entry = mem[root - (entry << 8) + ((addr >>> 8) & 255)];
    if (entry >= 0) return entry;
    return mem[root - (entry << 8) + (addr & 255)];
  }

  /** Goes over to the newest build. A reader calls it once per burst, with no lookup under way. True when there was a newer one. */
  refresh(): boolean {
    const newest = Atomics.load(this.mem, GENERATION);
    if (newest === this.generation) return false;
    this.generation = newest;
    this.root = this.half(newest);
    if (this.line !== 0) Atomics.store(this.mem, this.line, newest);
    return true;
  }

  /** This reader looks nothing up any more, and holds no build back. */
  detach(): void {
    if (this.line !== 0) Atomics.store(this.mem, this.line, IDLE);
  }

  /** Does `detach` for a reader whose thread has ended. */
  forget(reader: number): void {
    Atomics.store(this.mem, READER0 + reader * LINE_WORDS, IDLE);
  }

  /** Replaces the table by `entries`; of two with the same prefix the later one counts. The building thread only. */
  build(entries: readonly LpmEntry[]): LpmResult {
    for (let r = 1; r <= this.readers; r++) {
      const at = Atomics.load(this.mem, READER0 + r * LINE_WORDS);
      if (at !== IDLE && at !== this.generation) return 'busy';
    }
    const trie = buildTrie(entries, this.nodes);
    if (trie === null) return 'full';
    // 31 bits: never IDLE, and odd and even still alternate when it starts again.
    const next = (this.generation + 1) & 0x7fffffff;
    this.mem.set(trie, this.half(next));
    Atomics.store(this.mem, GENERATION, next);
    this.refresh();
    return 'built';
  }

  private half(generation: number): number {
    return this.halves + (generation & 1) * this.nodes * NODE;
  }
}

/** The trie of `entries`, or null when it needs more than `maxNodes` nodes. */
function buildTrie(entries: readonly LpmEntry[], maxNodes: number): Int32Array | null {
  let trie = new Int32Array(NODE);
  let nodes = 1;
  // Shorter ones first: each then overwrites what it refines. The sort is stable, so of two equal ones the later wins.
  const ordered = entries.toSorted((a, b) => a.len - b.len);
  for (const { prefix, len, value } of ordered) {
    demand(Number.isInteger(len) && len >= 0 && len <= 32, `prefix length ${len}`);
    demand(Number.isInteger(value) && value > 0 && value <= 0x7fffffff, `prefix value ${value}`);
    let node = 0;
    let shift = 24;
    for (; len > 32 - shift; shift -= 8) {
      const at = node * NODE + ((prefix >>> shift) & 255);
      if (trie[at] >= 0) {
        if (nodes === maxNodes) return null;
        if ((nodes + 1) * NODE > trie.length) trie = enlarged(trie);
        trie.fill(trie[at], nodes * NODE, (nodes + 1) * NODE);
        trie[at] = -nodes++;
      }
      node = -trie[at];
    }
    const span = 1 << (32 - shift - len);
    const first = (prefix >>> shift) & 255 & -span;
    trie.fill(value, node * NODE + first, node * NODE + first + span);
  }
  return trie.subarray(0, nodes * NODE);
}

function enlarged(trie: Int32Array): Int32Array<ArrayBuffer> {
  const twice = new Int32Array(trie.length * 2);
  twice.set(trie);
  return twice;
}

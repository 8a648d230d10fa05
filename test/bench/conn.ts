/**
 * What the connection table costs: a search with and without prefetching, opening and closing, a million timers that end
 * within a second, the longest pause while it fills, and memory. Bundled and run by `npx tsx test/bench/conn-run.ts`.
 */
import { type ConnOwner, ConnSpec, ConnTable } from '../../lb/conn.ts';
import { END_DONE, FNAT, ROW_SHIFT, rowOf, SERVER_SEQ } from '../../lb/conn-row.ts';
import { LocalAddrs } from '../../lb/laddr.ts';
import { ESTABLISHED, IN, nextState, OUT, TCP } from '../../lb/proto/tcp.ts';
import { Timeouts } from '../../lb/proto/timeouts.ts';
import { SaPools } from '../../stack/inetaddr/sapool.ts';
import { pageAligned } from '../../stack/mem/region.ts';
import { Timers } from '../../stack/timer/timers.ts';
import { ACK, FIN, SYN } from '../../stack/wire/tcp.ts';
import { seeded } from '../lib/random.ts';
import { allocated, time } from './harness.ts';

const BURST = 64;
const VIP = 0x0a640001;
const SERVERS = 32;
/** Timers that a turn of the loop fires at most. */
const PORTION = 512;

class World implements ConnOwner {
  now = 1_000_000;
  nowMs = 1000;
  ended = 0;
  readonly random = seeded(11);
  readonly timers: Timers;
  readonly conns: ConnTable;
  readonly spec = new ConnSpec();
  readonly locals: LocalAddrs;
  readonly memory: SharedArrayBuffer;

  constructor(max: number) {
    this.timers = new Timers(max + 1, this.nowMs);
    this.memory = pageAligned(ConnTable.bytes(max));
    this.conns = new ConnTable(this.memory, 0, { max, activeStates: TCP.active.dpvs }, this, this.timers, this);
    const pools = new SaPools({ worker: 0, workers: 1, buckets: 16, random: this.random, onScarce: () => {} });
    this.locals = new LocalAddrs(pools, this.random, 4);
    this.locals.set(1, [0x0ac80001, 0x0ac80002, 0x0ac80003, 0x0ac80004], true);
  }

  onEnd(row: number): void {
    const at = row << ROW_SHIFT;
    const { rows } = this.conns;
    this.locals.release(rows[at + 4]!, rows[at + 5]! & 0xffff, rows[at + 3]!, rows[at + 5]! >>> 16);
    this.ended++;
  }

  /** FullNAT connection of client number `i`. */
  open(i: number, timeoutMs: number): number {
    const { spec, locals } = this;
    spec.caddr = client(i);
    spec.cport = clientPort(i);
    spec.vaddr = VIP;
    spec.vport = 80;
    spec.raddr = 0x0a0a0001 + (i % SERVERS);
    spec.rport = 8080;
    if (!locals.acquire(1, spec.raddr, spec.rport)) throw new Error('no local port');
    spec.laddr = locals.addr;
    spec.lport = locals.port;
    spec.mode = FNAT;
    spec.service = 1;
    spec.dest = 1 + (i % SERVERS);
    spec.timeoutMs = timeoutMs;
    const row = this.conns.open(spec);
    if (row === 0) throw new Error(`refused: ${this.conns.refusal}`);
    return row;
  }

  tick(): void {
    this.now += 1000;
    this.nowMs++;
  }
}

const client = (i: number): number => (0x14000000 + Math.imul(i, 0x9e3779b1)) | 0;
const clientPort = (i: number): number => 1024 + (i % 60_000);
const line = (what: string, value: number, unit: string, note = ''): void =>
  console.log(`${what.padEnd(44)} ${value.toFixed(1).padStart(10)} ${unit.padEnd(10)} ${note}`);

/** Packets at random of the flows 0..flows-1, both directions alike. */
function packets(w: World, flows: number, n: number): { src: Int32Array; dst: Int32Array; ports: Int32Array } {
  const src = new Int32Array(n);
  const dst = new Int32Array(n);
  const ports = new Int32Array(n);
  const { rows } = w.conns;
  for (let i = 0; i < n; i++) {
    const at = (1 + ((w.random.next() >>> 0) % flows)) << ROW_SHIFT;
    const side = i & 1 ? 3 : 0;
    src[i] = rows[at + side]!;
    dst[i] = rows[at + side + 1]!;
    ports[i] = rows[at + side + 2]!;
  }
  return { src, dst, ports };
}

/** Search, state, refresh and counting: what the table does for each packet. */
function lookups(w: World, flows: number, passes: 1 | 2 | 3): (n: number) => void {
  const trace = packets(w, flows, 1 << 20);
  const { src, dst, ports } = trace;
  const { conns } = w;
  const timeouts = new Timeouts(TCP, 'lvs', 4);
  const hashes = new Int32Array(BURST);
  const hits = new Int32Array(BURST);
  let at = 0;
  let sink = 0;
  return (n) => {
    for (let done = 0; done < n; done += BURST) {
      if (passes > 1) {
        for (let i = 0; i < BURST; i++) hashes[i] = conns.hash(src[at + i]!, dst[at + i]!, ports[at + i]!);
        sink ^= conns.touchAll(hashes, BURST);
        if (passes > 2) sink ^= conns.guessAll(hashes, hits, BURST);
      }
      for (let i = 0; i < BURST; i++) {
        const s = src[at + i]!;
        const d = dst[at + i]!;
        const p = ports[at + i]!;
        const h = passes > 1 ? hashes[i]! : conns.hash(s, d, p);
        const hit = passes > 2 ? conns.confirm(hits[i]!, h, s, d, p) : conns.findHashed(h, s, d, p);
        if (hit === 0) throw new Error('lost');
        const row = rowOf(hit);
        const dir = hit & 1;
        const state = nextState(dir, ACK, conns.state(row));
        conns.step(row, state, timeouts.of(conns.service(row), state));
        conns.cold.count(row, dir, 1, 64);
        if (dir === OUT) conns.rows[(row << ROW_SHIFT) + SERVER_SEQ] = p;
      }
      at = (at + BURST) & ((1 << 20) - 1);
    }
    if (sink === 0x12345678) console.log('');
  };
}

/** Processor time of this process, ms: a pause is ours only if we worked through it. */
function cpu(): number {
  const { user, system } = process.cpuUsage();
  return (user + system) / 1000;
}

/** Opens and establishes clients from..to-1. Returns the time of each 16 of them, ms. */
function fill(w: World, from: number, to: number): number[] {
  const times: number[] = [];
  for (let i = from; i < to; i += 16) {
    const start = cpu();
    for (let k = i; k < i + 16 && k < to; k++) {
      const row = w.open(k, 900_000);
      w.conns.step(row, ESTABLISHED, 900_000);
    }
    times.push(cpu() - start);
  }
  return times;
}

/** All end within the second that chance spreads them over, `PORTION` at most at once. Returns the time of each call, ms. */
function expire(w: World): number[] {
  for (let row = w.conns.next(0); row !== 0; row = w.conns.next(row)) w.conns.step(row, ESTABLISHED, 90_000);
  w.nowMs += 89_990;
  const times: number[] = [];
  while (w.conns.size() > 0) {
    w.tick();
    do {
      const start = cpu();
      w.timers.advance(w.nowMs, PORTION);
      times.push(cpu() - start);
    } while (w.timers.nextDue(w.nowMs, 1) === 0);
  }
  return times;
}

/** Of runs that do the same, step by step, the best time of each step: what others did to the machine is left out. */
function bestOf(runs: readonly number[][]): { longest: number; over: number; steps: number; total: number } {
  const best = runs[0]!.map((_, i) => Math.min(...runs.map((run) => run[i]!)));
  const total = best.reduce((sum, ms) => sum + ms, 0);
  return {
    longest: best.reduce((most, ms) => Math.max(most, ms), 0),
    over: best.filter((ms) => ms > 1).length,
    steps: best.length,
    total,
  };
}

/** SYN, SYN-ACK, ACK, two of data each way acknowledged, FIN, FIN, ACK: what the table has to do for nine packets. */
function churn(w: World, base: number): (n: number) => void {
  const { conns } = w;
  const timeouts = new Timeouts(TCP, 'dpvs', 4);
  const flags = [SYN, SYN | ACK, ACK, ACK, ACK, ACK, FIN | ACK, FIN | ACK, ACK];
  const dirs = [IN, OUT, IN, IN, OUT, OUT, IN, OUT, IN];
  let next = base;
  const queue = new Int32Array(1024);
  let at = 0;
  return (n) => {
    for (let k = 0; k < n; k++) {
      const row = w.open(next++, 3000);
      for (let i = 0; i < flags.length; i++) {
        const state = nextState(dirs[i]!, flags[i]!, conns.state(row));
        conns.step(row, state, timeouts.of(1, state));
        conns.cold.count(row, dirs[i]!, 1, 64);
      }
      const old = queue[at]!;
      if (old !== 0) conns.close(old, END_DONE);
      queue[at] = row;
      at = (at + 1) & 1023;
    }
    w.tick();
  };
}

const MILLION = 1_000_000;
const rss = (): number => process.memoryUsage().rss;
const gc = (globalThis as { gc?: () => void }).gc ?? (() => {});

{
  gc();
  const before = rss();
  const w = new World(MILLION);
  const empty = rss();
  let filled = 0;
  for (const flows of [1000, 100_000, MILLION]) {
    fill(w, filled, flows);
    filled = flows;
    if (flows === MILLION) {
      gc();
      line('memory: reserved', w.memory.byteLength / 1e6, 'MB', 'rows, cold columns, ids, index');
      const note = `${((empty - before) / 1e6).toFixed(1)} before the first connection`;
      line('memory: resident, with timers and ports', (rss() - before) / 1e6, 'MB', note);
    }
    for (const passes of [1, 2, 3] as const) {
      const t = time(lookups(w, flows, passes), 1 << 20, 5);
      const how = ['', 'one at a time', 'index touched first', 'index, then rows'][passes]!;
      line(`packet at ${flows} flows, ${how}`, t.median, 'ns', `best ${t.best.toFixed(1)}`);
    }
  }
}

{
  const small = new World(8192);
  fill(small, 0, 1000);
  line('packet, heap', await allocated(lookups(small, 1000, 3), 1 << 20), 'B/million');
  line('connection, heap', await allocated(churn(new World(8192), 0), 100_000), 'B/million');
  const t = time(churn(new World(8192), 0), 50_000, 5);
  line('connection, 9 packets, opened and closed', t.median, 'ns', `best ${t.best.toFixed(1)}, 1 k live`);
}

{
  const fills: number[][] = [];
  const ends: number[][] = [];
  for (let run = 0; run < 4; run++) {
    const w = new World(MILLION);
    fills.push(fill(w, 0, MILLION));
    ends.push(expire(w));
    gc();
  }
  const opening = bestOf(fills);
  line(
    'filling to 1 M: longest 16 openings',
    opening.longest * 1000,
    'us',
    `${opening.over} of ${opening.steps} over 1 ms`,
  );
  line('  each', (opening.total * 1e6) / MILLION, 'ns');
  const ending = bestOf(ends);
  line(
    `1 M ends, ${PORTION} at once: longest call`,
    ending.longest * 1000,
    'us',
    `${ending.over} of ${ending.steps} over 1 ms`,
  );
  line('  each', (ending.total * 1e6) / MILLION, 'ns');
}

/**
 * Which connection of a memif there is, known to all workers that have queues of it. Worker 0 makes and ends connections; the others
 * follow, each when it next looks. Nothing that a connection consists of (rings, and what a client brought) is touched or given back before
 * all have parted with it.
 *
 * Connections are numbered: odd while there is one, even after it has ended. SEEN has for each worker the number it has followed, or GONE
 * when its device is closed. A worker that died leaves the last number it saw, so it is waited for until it is there again.
 *
 * Every word has one writer: worker 0, or in SEEN the worker itself.
 */
import { MAX_WORKERS } from '../config/values.ts';

const NUMBER = 0;
/** The control channel's descriptor, plus one: a worker 0 that is started anew goes on with it. 0 = none. */
const CHANNEL = 1;
const SEEN = 2;
const GONE = -1;

export const connectionMemory = (): SharedArrayBuffer => new SharedArrayBuffer((SEEN + MAX_WORKERS) * 4);

export const isConnected = (number: number): boolean => (number & 1) !== 0;

export class MemifConnection {
  private readonly words: Int32Array;
  private readonly worker: number;
  private readonly workers: number;

  /** `workers`: how many have queues; `worker` is one of them. */
  constructor(memory: SharedArrayBuffer, worker: number, workers: number) {
    this.words = new Int32Array(memory);
    this.worker = worker;
    this.workers = workers;
  }

  /** @hot */
  get number(): number {
    return Atomics.load(this.words, NUMBER);
  }

  /** We use what connection `number` has, or nothing any more when that is even. */
  follow(number: number): void {
    Atomics.store(this.words, SEEN + this.worker, number);
  }

  leave(): void {
    this.follow(GONE);
  }

  /** Worker 0: there is one, or there is none any more. */
  next(): void {
    Atomics.add(this.words, NUMBER, 1);
  }

  /** Worker 0: whether nobody uses the last connection any more. */
  isOver(): boolean {
    const { number } = this;
    if (isConnected(number)) return false;
    return this.everybody((seen) => seen === number || seen === GONE);
  }

  /** Worker 0: whether the devices of all others are closed. */
  isAlone(): boolean {
    return this.everybody((seen, worker) => worker === this.worker || seen === GONE);
  }

  private everybody(is: (seen: number, worker: number) => boolean): boolean {
    for (let w = 0; w < this.workers; w++) if (!is(Atomics.load(this.words, SEEN + w), w)) return false;
    return true;
  }

  /** Worker 0: the descriptor of the control channel, -1 = none. */
  get channel(): number {
    return Atomics.load(this.words, CHANNEL) - 1;
  }

  set channel(fd: number) {
    Atomics.store(this.words, CHANNEL, fd + 1);
  }
}

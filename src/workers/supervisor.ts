/**
 * The control thread's side of all workers: opens the links, makes the memory, starts the threads, tells them what has changed, and
 * notices when one ends.
 *
 * A worker that dies of an error, or hangs (watchdog.ts), while others live is started again and takes over its links (`takeOver` of link.ts); its sessions are
 * lost. Meanwhile the others go on: what is theirs comes over their own queues, and what they would have handed over to it is dropped as
 * HANDOVER_FULL. See peers.ts for how they part with it. Workers are started anew one after the other.
 */
import { EventEmitter } from 'node:events';
import { DestTable } from '../../lb/dest.ts';
import { ServiceColumns } from '../../lb/service-columns.ts';
import { laneMemory } from '../../stack/steer/lane.ts';
import type { Config } from '../config/model.ts';
import type { PreparedScheduler } from '../schedulers/install.ts';
import { type Batch, UNNUMBERED } from './commands.ts';
import { workerCount } from './count.ts';
import { Drain, type Drainable } from './drain.ts';
import type { WorkerEvent } from './events.ts';
import { type LinkHandle, openLinks, takeOver } from './link.ts';
import { protoName } from './pipeline.ts';
import {
  CLOCK_MS,
  COMMAND,
  type FaultPlan,
  GENERATION,
  planWorker,
  RUN,
  RUNNING,
  SEEN,
  STARTING,
  STATUS,
  type WorkerData,
  type WorkerShare,
} from './plan.ts';
import type { AnswerTo, Question } from './questions.ts';
import { Spread } from './spread.ts';
import { makeEventFd, WorkerThread } from './thread.ts';
import { LOOK_MS, PATIENCE, Watchdog } from './watchdog.ts';

/** Called when the links are open. */
export type Opened = () => readonly PreparedScheduler[];

/** How long the others may take to part with a worker that has died. */
const PARTING_MS = 2000;
/** A worker that dies more often than this within a minute is given up, and the process with it. */
const MAX_RESTARTS = 5;
const MINUTE_MS = 60_000;

const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/**
 * Emits `event` (WorkerEvent, number of the worker); `lost` and `restarted` (number of the worker, and with `lost` the error) when one
 * dies and when it serves again; and `exit` once, when all have ended, with the error that ended them, or null.
 */
export class Supervisor extends EventEmitter implements Drainable {
  /** Memory of each worker. */
  readonly shares: WorkerShare[];
  /** Resolves when all threads have ended, whatever the reason. */
  readonly ended: Promise<void>;
  private readonly threads: WorkerThread[] = [];
  private readonly plans: WorkerData[];
  private readonly deaths: number[] = [];
  /** By worker: resolves when it serves again. */
  private readonly restarts: Promise<void>[] = [];
  private end: (error: Error | null) => void = () => {};
  private living: number;
  private failure: Error | null = null;
  private command = RUN;
  private readonly spread: Spread;
  private readonly watchdog = new Watchdog();

  private constructor(config: Config, capture: string | null, fault: FaultPlan | null, opened: Opened) {
    super();
    const workers = workerCount(config.global);
    this.living = workers;
    this.shares = Array.from({ length: workers }, () => planWorker(config));
    const { shares } = this;
    const links = openLinks(
      config,
      shares.map(({ pool }) => pool),
    );
    const eventFds = shares.map(() => makeEventFd());
    this.spread = new Spread(config, opened(), this.threads);
    const lanes = shares.map(() => shares.map(() => (workers > 1 ? laneMemory() : new SharedArrayBuffer(0))));
    this.plans = shares.map((share, index) => ({
      index,
      peers: shares.map((other, w) =>
        w === index
          ? null
          : {
              ...{ pool: other.pool, control: other.control, links: other.links },
              ...{ eventFd: eventFds[w]!, to: lanes[index]![w]!, from: lanes[w]![index]! },
            },
      ),
      ...{ share, links: links[index]!, eventFd: eventFds[index]!, capture, fault },
      ...this.spread.start,
    }));
    const timer = setInterval(() => this.watch(), LOOK_MS).unref();
    this.ended = new Promise((resolve) => {
      this.end = (error) => {
        clearInterval(timer);
        this.emit('exit', error);
        resolve();
      };
    });
    for (const plan of this.plans) this.threads.push(this.startThread(plan));
  }

  /**
   * Opens the links and starts the workers; resolves when all serve. `opened` is called in between: what needs rights has
   * been done then, and no frame has been read; it gives the schedulers from files. Throws LinkError, or what a worker died of.
   */
  static async start(
    config: Config,
    capture: string | null,
    fault: FaultPlan | null = null,
    opened: Opened = () => [],
  ): Promise<Supervisor> {
    const s = new Supervisor(config, capture, fault, opened);
    await Promise.all(s.threads.map(({ serves }) => serves));
    return s;
  }

  captureMemory(): SharedArrayBuffer[] {
    return this.shares.map(({ capture }) => capture);
  }

  get workers(): number {
    return this.plans.length;
  }

  /** How many workers have queues of the link with this index. */
  drivers(link: number): number {
    return this.plans.filter(({ links }) => links[link]!.kind !== 'remote').length;
  }

  private startThread(plan: WorkerData): WorkerThread {
    const { index } = plan;
    const thread = new WorkerThread(plan);
    thread.on('event', (event: WorkerEvent) => {
      if (event.type === 'healthChanged') this.spreadHealth(event.dest, event.up);
      if (event.type === 'linkChanged') this.noteLink(index, event.index, event.link);
      this.emit('event', event, index);
    });
    thread.on('exit', (error: Error | null) => this.threadEnded(index, error));
    return thread;
  }

  get openSessions(): number {
    return this.threads.reduce((n, { openSessions }) => n + openSessions, 0);
  }

  request(command: number): void {
    this.command = command;
    for (const thread of this.threads) thread.request(command);
  }

  /** As Spread's. While a worker is started anew a change waits until it serves. */
  apply(batch: Batch): Promise<void> {
    return this.spread.apply(batch);
  }

  /** A worker's answer; one that is started anew is waited for. Throws with its reason when it has none. */
  async ask<Q extends Question>(question: Q, worker: number): Promise<AnswerTo<Q>> {
    await this.restarts[worker];
    return this.threads[worker]!.ask(question);
  }

  /** Stops accepting and lets sessions end; after `limitMs` resets the rest. */
  drain(limitMs: number): Drain {
    return new Drain(this, limitMs);
  }

  /** One worker checks; the others are told. */
  private spreadHealth(dest: number, up: boolean): void {
    if (this.threads.length === 1) return;
    const services = ServiceColumns.attach(this.shares[0]!.services, 0);
    const dests = DestTable.attach(this.shares[0]!.dests, 0);
    const service = dests.service[dest]!;
    const command = {
      do: 'setHealth',
      at: {
        name: '',
        proto: protoName(services.proto[service]!),
        vip: services.vip[service]!,
        port: services.port[service]!,
      },
      server: { name: '', ip: dests.addr[dest]!, port: dests.port[dest]! },
      up,
    } as const;
    this.spread.note(command);
    for (const thread of this.threads.slice(1)) thread.send({ version: UNNUMBERED, commands: [command] });
  }

  /** A worker that takes the place of this one begins with this link. */
  private noteLink(worker: number, index: number, link: LinkHandle): void {
    const plan = this.plans[worker]!;
    this.plans[worker] = { ...plan, links: plan.links.map((one, i) => (i === index ? link : one)) };
  }

  // The end of a worker

  private watch(): void {
    const clocks = this.shares.map(({ control }) => {
      const words = new Int32Array(control);
      return Atomics.load(words, STATUS) === RUNNING ? Atomics.load(words, CLOCK_MS) : null;
    });
    for (const index of this.watchdog.look(clocks)) {
      this.threads[index]!.kill(new Error(`it has hung for ${(PATIENCE * LOOK_MS) / 1000} s`));
    }
  }

  private threadEnded(index: number, error: Error | null): void {
    if (error !== null && this.mayRestart(index)) {
      const restarted = this.spread.alone(() => this.restart(index, error));
      this.restarts[index] = restarted.catch((failed: Error) => this.giveUp(failed));
      return;
    }
    this.living--;
    this.failure ??= error;
    if (error !== null && this.living > 0) this.giveUp(error);
    else if (this.living === 0) this.end(this.failure);
  }

  private giveUp(error: Error): void {
    this.living = 0;
    this.end(error);
  }

  private mayRestart(index: number): boolean {
    const now = performance.now();
    this.deaths.push(now);
    const recent = this.deaths.filter((at) => now - at < MINUTE_MS);
    const alone = this.threads.length === 1;
    const served = Atomics.load(new Int32Array(this.shares[index]!.control), STATUS) !== STARTING;
    return !alone && served && this.command === RUN && recent.length <= MAX_RESTARTS;
  }

  private async restart(index: number, error: Error): Promise<void> {
    this.emit('lost', index, error);
    const { shares, plans } = this;
    const old = shares[index]!;
    const control = new Int32Array(old.control);
    await this.change(index, control);
    for (const plan of plans) {
      const peer = plan.index === index ? null : plan.peers[index]!;
      if (peer === null) continue;
      laneMemory(peer.to);
      laneMemory(peer.from);
    }
    const generation = Atomics.load(control, GENERATION);
    const [command, seen] = [Atomics.load(control, COMMAND), control.slice(SEEN)];
    control.fill(0);
    control[GENERATION] = generation;
    control[COMMAND] = command;
    control.set(seen, SEEN);
    // The pool stays, as others have copied into it and will; everything else is new. What was counted is kept by whoever shows it.
    const { start } = this.spread;
    const share: WorkerShare = { ...planWorker(start.config), pool: old.pool, control: old.control, links: old.links };
    shares[index] = share;
    const links = plans[index]!.links.map((link) => takeOver(link, share.pool));
    const plan = { ...plans[index]!, ...start, share, links };
    plans[index] = plan;
    const thread = this.startThread(plan);
    this.threads[index] = thread;
    await thread.serves;
    await this.change(index, control);
    this.emit('restarted', index);
  }

  /** The next generation of a worker; resolves when the others have seen it. One that is dead itself sees it when it begins anew. */
  private async change(index: number, control: Int32Array): Promise<void> {
    const generation = Atomics.add(control, GENERATION, 1) + 1;
    const others = this.threads.filter((_, w) => w !== index);
    for (const thread of others) thread.nudge();
    const isDone = (thread: WorkerThread): boolean => thread.isOver || sees(thread.share, index, generation);
    for (let waited = 0; !others.every(isDone); waited += 2) {
      if (waited > PARTING_MS) throw new Error(`worker ${index} has died, and another one does not part with it`);
      await pause(2);
    }
  }
}

const sees = ({ control }: WorkerShare, index: number, generation: number): boolean =>
  Atomics.load(new Int32Array(control), SEEN + index) === generation;

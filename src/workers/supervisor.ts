/**
 * The control thread's side of a worker: opens the links, makes the memory, starts the thread, wakes it with commands,
 * and notices when it ends.
 */

import { EventEmitter } from 'node:events';
import { Worker } from 'node:worker_threads';
import type { Config } from '../config/model.ts';
import { EFD_CLOEXEC, EFD_NONBLOCK, LinkError, NativeBytes, syscalls } from '../links/syscall.ts';
import type { PreparedScheduler } from '../schedulers/install.ts';
import { type Batch, Sender } from './commands.ts';
import { Drain, type Drainable } from './drain.ts';
import type { WorkerEvent } from './events.ts';
import { openLinks } from './link.ts';
import {
  COMMAND,
  type FaultPlan,
  MAIL,
  OPEN,
  planWorker,
  SLEEPING,
  type WorkerData,
  type WorkerShare,
} from './plan.ts';
import type { AnswerTo, Question } from './questions.ts';

/** Called when the links are open. */
export type Opened = () => readonly PreparedScheduler[];

/** Emits `event` (WorkerEvent), and `exit` once with the error that ended the worker, or null. */
export class Supervisor extends EventEmitter implements Drainable {
  readonly share: WorkerShare;
  /** Resolves when the thread has ended, whatever the reason. */
  readonly ended: Promise<void>;
  private readonly control: Int32Array;
  private readonly sender: Sender;
  private readonly eventFd: number;
  private readonly one: NativeBytes;
  private readonly worker: Worker;
  private failure: Error | null = null;
  /** Questions asked so far. */
  private questions = 0;

  private constructor(config: Config, capture: string | null, fault: FaultPlan | null, opened: Opened) {
    super();
    this.share = planWorker(config);
    this.control = new Int32Array(this.share.control);
    this.sender = new Sender(this.share.commands);
    const sys = syscalls();
    const links = openLinks(config, this.share.pool);
    this.eventFd = sys.eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
    if (this.eventFd < 0) throw new LinkError('EVENTFD', 'cannot make an eventfd: too many open files?');
    this.one = new NativeBytes(sys, 8);
    this.one.i32[0] = 1;
    const schedulers = opened();
    const data: WorkerData = {
      index: 0,
      schedulers,
      config,
      share: this.share,
      links,
      eventFd: this.eventFd,
      capture,
      fault,
    };
    this.worker = new Worker(new URL('./worker.js', import.meta.url), { workerData: data });
    this.worker.on('message', (event: WorkerEvent) => this.emit('event', event));
    this.worker.on('error', (error) => {
      this.failure = error;
    });
    this.ended = new Promise((resolve) => {
      this.worker.on('exit', () => {
        this.emit('exit', this.failure);
        resolve();
      });
    });
  }

  /**
   * Opens the links and starts the worker; resolves when it serves. `opened` is called in between: what needs rights has
   * been done then, and no frame has been read; it gives the schedulers from files. Throws LinkError, or what the worker died of.
   */
  static async start(
    config: Config,
    capture: string | null,
    fault: FaultPlan | null = null,
    opened: Opened = () => [],
  ): Promise<Supervisor> {
    const s = new Supervisor(config, capture, fault, opened);
    await new Promise<void>((resolve, reject) => {
      s.once('event', () => resolve());
      s.once('exit', (error) => reject(error ?? new Error('the worker ended before it served')));
    });
    return s;
  }

  get captureMemory(): SharedArrayBuffer {
    return this.share.capture;
  }

  get openSessions(): number {
    return Atomics.load(this.control, OPEN);
  }

  request(command: number): void {
    Atomics.store(this.control, COMMAND, command);
    this.wake();
  }

  /** Has the worker apply a batch; resolves when it holds. Throws with the worker's reason, and nothing has changed then. */
  async apply(batch: Batch): Promise<void> {
    const answer = this.hear((event) => event.type === 'applied' && event.version === batch.version);
    this.sender.put(batch);
    this.deliver();
    await answer;
  }

  /** The worker's answer to a question. Throws with its reason when it has none. */
  async ask<Q extends Question>(question: Q): Promise<AnswerTo<Q>> {
    const id = ++this.questions;
    const answer = this.hear((event) => event.type === 'answer' && event.id === id);
    this.sender.ask(id, question);
    this.deliver();
    return (await answer) as AnswerTo<Q>;
  }

  /** What the worker says with the event that is waited for. Throws the error in it. */
  private hear(isIt: (event: WorkerEvent) => boolean): Promise<unknown> {
    return new Promise((resolve, reject) => {
      const settle = (event: WorkerEvent): void => {
        if (!isIt(event) || !('error' in event)) return;
        this.off('event', settle);
        this.off('exit', gone);
        if (event.error === null) resolve('answer' in event ? event.answer : null);
        else reject(new Error(event.error));
      };
      const gone = (): void => reject(new Error('the worker has ended'));
      this.on('event', settle);
      this.once('exit', gone);
    });
  }

  /** Hands over what fits into the rings, and the rest when the worker has taken that. */
  private deliver(): void {
    const done = this.sender.flush();
    Atomics.add(this.control, MAIL, 1);
    this.wake();
    if (!done) setTimeout(() => this.deliver(), 1);
  }

  private wake(): void {
    if (Atomics.load(this.control, SLEEPING) !== 0) syscalls().write(this.eventFd, this.one.address, 8);
  }

  /** Stops accepting and lets sessions end; after `limitMs` resets the rest. */
  drain(limitMs: number): Drain {
    return new Drain(this, limitMs);
  }
}

/**
 * The control thread's side of one worker: its thread, its memory, commands and questions to it. The supervisor has one per worker.
 */
import { EventEmitter } from 'node:events';
import { Worker } from 'node:worker_threads';
import { EFD_CLOEXEC, EFD_NONBLOCK, LinkError, NativeBytes, syscalls } from '../links/syscall.ts';
import { type Batch, Sender } from './commands.ts';
import type { WorkerEvent } from './events.ts';
import { COMMAND, MAIL, OPEN, SLEEPING, type WorkerData, type WorkerShare } from './plan.ts';
import type { AnswerTo, Question } from './questions.ts';
import { type Taker, WorkerGone } from './spread.ts';

/** What wakes a worker that sleeps. Throws LinkError. */
export function makeEventFd(): number {
  const fd = syscalls().eventfd(0, EFD_NONBLOCK | EFD_CLOEXEC);
  if (fd < 0) throw new LinkError('EVENTFD', 'cannot make an eventfd: too many open files?');
  return fd;
}

/** Emits `event` (WorkerEvent), and `exit` once with the error that ended the worker, or null. */
export class WorkerThread extends EventEmitter implements Taker {
  readonly share: WorkerShare;
  /** Resolves when the thread has ended, whatever the reason. */
  readonly ended: Promise<void>;
  /** Resolves when the worker serves; rejects when it ends before. */
  readonly serves: Promise<void>;
  private readonly control: Int32Array;
  private readonly sender: Sender;
  private readonly eventFd: number;
  private readonly one: NativeBytes;
  private readonly worker: Worker;
  private failure: Error | null = null;
  private over = false;
  /** Questions asked so far. */
  private questions = 0;

  constructor(data: WorkerData) {
    super();
    this.setMaxListeners(0);
    this.share = data.share;
    this.control = new Int32Array(data.share.control);
    this.sender = new Sender(data.share.commands);
    this.eventFd = data.eventFd;
    this.one = new NativeBytes(syscalls(), 8);
    this.one.i32[0] = 1;
    this.worker = new Worker(new URL('./worker.js', import.meta.url), { workerData: data });
    const { worker } = this;
    worker.on('message', (event: WorkerEvent) => this.emit('event', event));
    worker.on('error', (error) => {
      this.failure = error;
    });
    this.ended = new Promise((resolve) => {
      worker.on('exit', () => {
        this.over = true;
        this.emit('exit', this.failure);
        resolve();
      });
    });
    this.serves = new Promise((resolve, reject) => {
      this.once('event', () => resolve());
      this.once('exit', (error) => reject(error ?? new Error('the worker ended before it served')));
    });
    this.serves.catch(() => {});
  }

  get isOver(): boolean {
    return this.over;
  }

  get openSessions(): number {
    return Atomics.load(this.control, OPEN);
  }

  request(command: number): void {
    Atomics.store(this.control, COMMAND, command);
    this.wake();
  }

  async apply(batch: Batch): Promise<void> {
    const answer = this.hear((event) => event.type === 'applied' && event.version === batch.version);
    this.send(batch);
    await answer;
  }

  /** A batch that nobody waits for. */
  send(batch: Batch): void {
    this.sender.put(batch);
    this.deliver();
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
      const gone = (): void => reject(new WorkerGone());
      if (this.over) {
        gone();
        return;
      }
      this.on('event', settle);
      this.once('exit', gone);
    });
  }

  /** Has it die of this, whatever it does. */
  kill(why: Error): void {
    this.failure = why;
    void this.worker.terminate();
  }

  /** Has the worker look around: at its rings, and at the others. */
  nudge(): void {
    Atomics.add(this.control, MAIL, 1);
    this.wake();
  }

  /** Hands over what fits into the rings, and the rest when the worker has taken that. */
  private deliver(): void {
    if (this.over) return;
    const done = this.sender.flush();
    this.nudge();
    if (!done) setTimeout(() => this.deliver(), 1);
  }

  private wake(): void {
    if (Atomics.load(this.control, SLEEPING) !== 0) syscalls().write(this.eventFd, this.one.address, 8);
  }
}

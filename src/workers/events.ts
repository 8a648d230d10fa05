/**
 * What a worker tells the control thread by message: rare things, one object each. Things that may repeat (a server that
 * refuses every connection) are told at most once per second and kind and server, with a count, so that neither the
 * messages nor the log lines made of them become a load.
 */
import type { LinkHandle } from './link.ts';
import type { Strain } from './strain-watch.ts';

export type RepeatedEvent =
  | {
      readonly type: 'conflict';
      readonly port: number;
      readonly ip: number;
      readonly macHi: number;
      readonly macLo: number;
      readonly count: number;
    }
  | {
      readonly type: 'connectFailed';
      readonly service: number;
      readonly dest: number;
      /** END_* of tcp/state.ts. */
      readonly end: number;
      readonly retry: boolean;
      readonly count: number;
    }
  | { readonly type: 'noServer'; readonly service: number; readonly count: number }
  | {
      /** A local address has given away most of its ports towards some servers: `used` of `size`. */
      readonly type: 'portsScarce';
      readonly address: number;
      readonly used: number;
      readonly size: number;
      readonly count: number;
    };

export type WorkerEvent =
  | { readonly type: 'running' }
  | { readonly type: 'stopped' }
  /** A scheduler from a file was given up, once for each service that has it. */
  | { readonly type: 'schedulerGaveUp'; readonly name: string; readonly why: string }
  /** `linkGone`: for good; `linkDown`: it comes back by itself, and then there is a `linkUp`. */
  | { readonly type: 'linkGone' | 'linkDown' | 'linkUp'; readonly name: string }
  | { readonly type: 'linkNotice'; readonly name: string; readonly notice: string }
  /** The MTU of an interface, in bytes; `used`: that of the link from now on. */
  | { readonly type: 'mtuChanged'; readonly name: string; readonly mtu: number; readonly used: number }
  /** The `index`-th link has something else open than it was given: what a successor of the thread has to know. */
  | { readonly type: 'linkChanged'; readonly index: number; readonly link: LinkHandle }
  /** Batch `version` (commands.ts) holds from now on; or `error`, and nothing has changed. */
  | { readonly type: 'applied'; readonly version: number; readonly error: string | null }
  /** To question `id` (questions.ts); or `error`. */
  | { readonly type: 'answer'; readonly id: number; readonly answer: unknown; readonly error: string | null }
  | {
      /** `why`: lb/health/result.ts. Each change is told: `rise` and `fall` bound how often. */
      readonly type: 'healthChanged';
      readonly service: number;
      readonly dest: number;
      readonly up: boolean;
      readonly why: number;
    }
  /** A bound was met `count` times since it was last told (strain-watch.ts). `link`: the one it belongs to, or empty. */
  | { readonly type: 'strain'; readonly what: Strain; readonly link: string; readonly count: number }
  | RepeatedEvent;

// Keys: what counts as a repetition of what.
const KIND = 2 ** 32;
export const conflictKey = (ip: number): number => ip >>> 0;
export const failureKey = (dest: number, retry: boolean): number => (retry ? 1 : 2) * KIND + dest;
export const noServerKey = (service: number): number => 3 * KIND + service;

export const scarceKey = (address: number): number => 4 * KIND + (address >>> 0);

const WINDOW_MS = 1000;

interface Window {
  /** Tick of the last message. */
  toldMs: number;
  /** Since then, not yet told. */
  last: RepeatedEvent | null;
  count: number;
}

/** Passes on the first of a kind at once and those that follow within a second as one, counted. Times are ms ticks. */
export class EventLimiter {
  private readonly tell: (event: RepeatedEvent) => void;
  private readonly windows = new Map<number, Window>();

  constructor(tell: (event: RepeatedEvent) => void) {
    this.tell = tell;
  }

  /** True when an event of this kind was just told: then `again` counts it without anybody making an object for it. */
  again(key: number): boolean {
    const window = this.windows.get(key);
    if (window === undefined || window.last === null) return false;
    window.count++;
    return true;
  }

  note(key: number, event: RepeatedEvent, nowMs: number): void {
    const window = this.windows.get(key);
    if (window === undefined) {
      this.windows.set(key, { toldMs: nowMs, last: null, count: 0 });
      this.tell(event);
      return;
    }
    window.last = event;
    window.count += event.count;
  }

  /** Tells what has waited for a second and forgets what has not come again. Called some times per second. */
  flush(nowMs: number): void {
    if (this.windows.size === 0) return;
    for (const [key, window] of this.windows) {
      if (((nowMs - window.toldMs) | 0) < WINDOW_MS) continue;
      if (window.last === null) this.windows.delete(key);
      else this.say(window, nowMs);
    }
  }

  /** Tells everything that waits. */
  flushAll(): void {
    for (const window of this.windows.values()) this.say(window, window.toldMs);
    this.windows.clear();
  }

  private say(window: Window, nowMs: number): void {
    if (window.last !== null) this.tell({ ...window.last, count: window.count });
    window.toldMs = nowMs;
    window.last = null;
    window.count = 0;
  }
}

/**
 * What the control thread may ask a worker while it runs: what only the owner of the tables can say. A question changes nothing that
 * packets or counters could tell, a capture included. It travels as commands do (commands.ts), the answer comes back as a WorkerEvent.
 */
import { performance } from 'node:perf_hooks';
import type { Capture, CaptureWish } from '../../lb/capture/capture.ts';
import { why } from '../../lb/why/index.ts';
import type { Answer, Asked } from '../../lb/why/steps.ts';
import type { Ipv4 } from '../../stack/types.ts';
import type { Pipeline } from './pipeline.ts';

/** What would become of a packet. */
export interface WhyQuestion {
  readonly ask: 'why';
  readonly packet: Asked;
}

/** Begin a capture, whose frames come by the ring; end it. */
export interface CaptureQuestion {
  readonly ask: 'capture';
  readonly wish: CaptureWish;
}
export interface EndCaptureQuestion {
  readonly ask: 'endCapture';
}

/** How many of their ports local addresses have given away. */
export interface PortsQuestion {
  readonly ask: 'ports';
}
export interface PortsOf {
  readonly addr: Ipv4;
  readonly used: number;
  /** Over all servers, whichever worker has them. */
  readonly size: number;
  /** Times there was none for a server. */
  readonly misses: number;
}

export type Question = WhyQuestion | CaptureQuestion | EndCaptureQuestion | PortsQuestion;
export type AnswerTo<Q extends Question> = Q extends WhyQuestion
  ? Answer
  : Q extends CaptureQuestion
    ? CaptureBegun
    : Q extends PortsQuestion
      ? readonly PortsOf[]
      : null;

export interface CaptureBegun {
  /** Microseconds since 1970 at the zero of the worker's clock, as performance.timeOrigin has it: the same scale in all threads. */
  readonly epochMicros: number;
}

/** What asks; the supervisor of a worker. */
export interface Asking {
  /** Throws when the worker cannot say. */
  ask<Q extends Question>(question: Q, worker: number): Promise<AnswerTo<Q>>;
  /** By worker, of lb/capture/record.ts; another one when the worker was started anew. */
  captureMemory(): readonly SharedArrayBuffer[];
  /** Resolves when the worker has ended. */
  readonly ended: Promise<void>;
}

/** The worker's answer. */
export function answerQuestion(pipeline: Pipeline, capture: Capture, question: Question): AnswerTo<Question> {
  switch (question.ask) {
    case 'why':
      return why(pipeline, question.packet);
    case 'capture':
      capture.begin(question.wish);
      return { epochMicros: performance.timeOrigin * 1000 };
    case 'endCapture':
      capture.end();
      return null;
    case 'ports':
      return (pipeline.l4?.pools.list() ?? []).map(({ addr, used, free, misses }) => ({
        ...{ addr, used, misses, size: used + free },
      }));
  }
}

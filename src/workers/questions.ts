/**
 * What the control thread may ask a worker while it runs: what only the owner of the tables can say. A question changes nothing that
 * packets or counters could tell. It travels as commands do (commands.ts), the answer comes back as a WorkerEvent.
 */
import { why } from '../../lb/why/index.ts';
import type { Answer, Asked } from '../../lb/why/steps.ts';
import type { Pipeline } from './pipeline.ts';

/** What would become of a packet. */
export interface WhyQuestion {
  readonly ask: 'why';
  readonly packet: Asked;
}

export type Question = WhyQuestion;
export type AnswerTo<Q extends Question> = Q extends WhyQuestion ? Answer : never;

/** What asks; the supervisor of a worker. */
export interface Asking {
  /** Throws when the worker cannot say. */
  ask<Q extends Question>(question: Q): Promise<AnswerTo<Q>>;
}

/** The worker's answer. */
export function answerQuestion(pipeline: Pipeline, question: Question): AnswerTo<Question> {
  return why(pipeline, question.packet);
}

/**
 * What a stage says of the frame it was given. A stage never frees a frame: it returns a verdict, and
 * `Context.settle` alone frees and counts (see context.ts). The conservation law rests on this.
 *
 * | verdict        | who owns the frame afterwards                                             |
 * | -------------- | ------------------------------------------------------------------------- |
 * | PASS           | the caller: the stage had no objection, go on                             |
 * | STOLEN         | the stage: it queued the frame (transmit queue, neighbour queue, socket)   |
 * | DELIVERED      | nobody: its content arrived where it was going; settle frees it           |
 * | DROP \| reason | nobody: settle frees it and counts the reason (drop.ts)                   |
 *
 * @hot
 */
import type { Verdict } from './types.ts';

export const PASS: Verdict = 0;
export const STOLEN: Verdict = 1;
export const DELIVERED: Verdict = 2;
/** Or-ed with a reason from drop.ts. */
export const DROP: Verdict = 0x100;

export const isDrop = (v: Verdict): boolean => v >= DROP;
export const dropReason = (v: Verdict): number => v & 0xff;

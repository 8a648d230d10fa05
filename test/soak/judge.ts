/**
 * Compares how the ends of a connection fared with what the plan says. Each end is judged by itself: what it may see
 * depends on the plan alone.
 *
 * | plan      | the opener            | its peer              | the one that resets | the other one           |
 * | --------- | --------------------- | --------------------- | ------------------- | ----------------------- |
 * | refused   | refused               | hears of nothing      |                     |                         |
 * | a reset   |                       |                       | aborted             | reset, after a prefix   |
 * | otherwise | normal, all received  | normal, all received  |                     |                         |
 */
import type { Outcome } from './messages.ts';
import { type ConnPlan, otherSide, type Side } from './plan.ts';

/** The side that resets by plan, or null. */
export function resetter(plan: ConnPlan): Side | null {
  if (plan.tsvs.resetAt >= 0) return 'tsvs';
  return plan.kernel.resetAt >= 0 ? 'kernel' : null;
}

/** Who must report before the connection is over: a peer that is reset early may never hear of it. */
export function awaited(plan: ConnPlan): readonly Side[] {
  if (plan.refused || resetter(plan) === plan.opener) return [plan.opener];
  return ['tsvs', 'kernel'];
}

/** What is wrong with an end of a known connection; empty = nothing. */
export function faultOf(plan: ConnPlan, side: Side, outcome: Outcome): string {
  const { how, sent, received, fin, wrongAt } = outcome;
  const most = plan[otherSide(side)].send;
  if (wrongAt >= 0) return `received a wrong byte at ${wrongAt}`;
  if (received > most) return `received ${received} bytes of ${most}`;
  if (plan.refused) {
    if (side !== plan.opener) return 'was accepted where nobody listens';
    return how === 'refused' ? '' : `ended as '${how}' instead of 'refused'`;
  }
  const by = resetter(plan);
  if (by === side) return how === 'aborted' ? '' : `ended as '${how}' before it could reset`;
  if (by !== null) {
    // A reset that was lost is made up for by the answer to a keepalive probe; when that is lost again and again, by silence.
    if (how === 'reset' || how === 'timeout') return '';
    // libuv takes a hang-up that comes together with the last bytes for the end of the stream, and leaves the error unread.
    return side === 'kernel' && how === 'normal' ? '' : `ended as '${how}' instead of 'reset'`;
  }
  if (how !== 'normal') return `ended as '${how}' after ${sent} bytes sent and ${received} received`;
  if (sent !== plan[side].send) return `sent ${sent} bytes of ${plan[side].send}`;
  if (received !== most) return `received ${received} bytes of ${most}, then a FIN`;
  return fin ? '' : 'ended without a FIN';
}

/** What is wrong with an end that never learned its number; empty = nothing: the opener has reset it early. */
export function faultOfUnknown(side: Side, { how, received, wrongAt }: Outcome): string {
  if (wrongAt >= 0) return 'received a wrong first byte';
  if (side === 'kernel' && how === 'normal') return ''; // as above
  return how === 'reset' || how === 'timeout' ? '' : `ended as '${how}' after ${received} bytes, its number unknown`;
}

/**
 * A peer whose second segment overtakes its first meets a listener that has sent a cookie and knows nothing of it: that is
 * a reset, on any stack with cookies. There can be no more of these than cookies that were found wrong.
 */
export const overtookCookie = (plan: ConnPlan, side: Side, { how, received }: Outcome): boolean =>
  plan.opener === 'kernel' && how === 'reset' && (side === 'tsvs' || received === 0);

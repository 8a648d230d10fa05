/**
 * How a health check ended. A result travels as one int32 (DestTable.checkResult): a code, and for answers of HTTP the
 * status code above it. Read by src/control and src/log to say it in words.
 */
import { END_REFUSED, END_RESET, END_UNREACHABLE } from '../../stack/tcp/state.ts';

export const NONE = 0;
export const PASSED = 1;
export const REFUSED = 2;
export const RESET = 3;
export const TIMEOUT = 4;
export const UNREACHABLE = 5;
/** The server closed the connection before it had answered. */
export const CLOSED = 6;
/** The answer is no HTTP. */
export const MALFORMED = 7;
/** The status code is none of those expected. */
export const WRONG_STATUS = 8;
/** The text that was to be in the body is not. */
export const WRONG_BODY = 9;
/** No check: a session could not connect. */
export const SESSION_FAILED = 10;

const CODE_MASK = 0xff;

/** A result of an answer with this status code. */
export const withStatus = (code: number, status: number): number => code | (status << 8);
export const codeOf = (result: number): number => result & CODE_MASK;
/** 0 = none. */
export const statusOf = (result: number): number => result >>> 8;

/** The result of a check whose connection ended (END_*) before there was an answer. */
export function ofEnd(end: number): number {
  switch (end) {
    case END_REFUSED:
      return REFUSED;
    case END_RESET:
      return RESET;
    case END_UNREACHABLE:
      return UNREACHABLE;
    default:
      return TIMEOUT;
  }
}

/**
 * The HTTP of health checks: the request, and a judge that is shown the answer piece by piece and decides as early as it
 * can. HTTP/1.0 is spoken (RFC 1945, with a Host header): the body then is what follows until the end, in one piece.
 */

import * as result from './result.ts';
import type { HttpRule } from './spec.ts';

/** How much of a body is searched, and how long the header may be. */
export const BODY_LIMIT = 16_384;
const HEAD_LIMIT = 16_384;

const LF = 10;
const CR = 13;
/** `HTTP/1.x NNN`; the next byte must end the code. */
const STATUS_LINE = 'HTTP/1.';
const CODE_AT = 9;
const CODE_END = 12;

const isDigit = (c: number): boolean => c >= 48 && c <= 57;

/** The request as bytes. Preconditions: path and host are printable ASCII. */
export function requestBytes({ method, path, host }: HttpRule): Uint8Array {
  const text = `${method} ${path} HTTP/1.0\r\nHost: ${host}\r\nUser-Agent: tsvs-check\r\nAccept: */*\r\nConnection: close\r\n\r\n`;
  return Uint8Array.from(text, (c) => c.charCodeAt(0));
}

export class HttpJudge {
  private readonly rule: HttpRule;
  /** Bytes seen so far of head and body. */
  private head = 0;
  private body = 0;
  private status = 0;
  /** Line feeds in a row, carriage returns aside; two end the head. */
  private lineEnds = 0;
  private inBody = false;
  /** How much of the wanted text the last bytes match, and where to go on when the next one does not (Knuth, Morris, Pratt). */
  private matched = 0;
  private readonly fallback: Uint16Array;

  constructor(rule: HttpRule) {
    this.rule = rule;
    this.fallback = fallbacks(rule.body);
  }

  /** Shows the next bytes. The result once it is known, NONE before. */
  feed(bytes: Uint8Array, at: number, n: number): number {
    for (let i = 0; i < n; i++) {
      const verdict = this.inBody ? this.bodyByte(bytes[at + i]) : this.headByte(bytes[at + i]);
      if (verdict !== result.NONE) return verdict;
    }
    return result.NONE;
  }

  /** The server has closed the connection: the result. */
  end(): number {
    return this.inBody ? result.withStatus(result.WRONG_BODY, this.status) : result.CLOSED;
  }

  private headByte(c: number): number {
    const at = this.head++;
    if (at <= CODE_END) return this.statusByte(at, c);
    if (at >= HEAD_LIMIT) return result.MALFORMED;
    this.line(c);
    return result.NONE;
  }

  private line(c: number): void {
    if (c === LF) this.lineEnds++;
    else if (c !== CR) this.lineEnds = 0;
    if (this.lineEnds === 2) this.inBody = true;
  }

  private statusByte(at: number, c: number): number {
    if (at < STATUS_LINE.length) return c === STATUS_LINE.charCodeAt(at) ? result.NONE : result.MALFORMED;
    if (at < CODE_AT - 1) return isDigit(c) ? result.NONE : result.MALFORMED;
    if (at === CODE_AT - 1) return c === 32 ? result.NONE : result.MALFORMED;
    if (at < CODE_END) {
      this.status = this.status * 10 + c - 48;
      return isDigit(c) ? result.NONE : result.MALFORMED;
    }
    if (c !== 32 && c !== CR && c !== LF) return result.MALFORMED;
    this.line(c);
    return this.judgeStatus();
  }

  private judgeStatus(): number {
    const { rule, status } = this;
    const expected = rule.status.some(({ from, to }) => status >= from && status <= to);
    if (!expected) return result.withStatus(result.WRONG_STATUS, status);
    return rule.body.length === 0 ? result.withStatus(result.PASSED, status) : result.NONE;
  }

  private bodyByte(c: number): number {
    const { fallback } = this;
    const wanted = this.rule.body;
    while (this.matched > 0 && wanted[this.matched] !== c) this.matched = fallback[this.matched - 1];
    if (wanted[this.matched] === c) this.matched++;
    if (this.matched === wanted.length) return result.withStatus(result.PASSED, this.status);
    return ++this.body >= BODY_LIMIT ? this.end() : result.NONE;
  }
}

/** By length of a match less 1: length of the longest proper prefix of the text that ends it. */
function fallbacks(text: Uint8Array): Uint16Array {
  const table = new Uint16Array(text.length);
  let length = 0;
  for (let i = 1; i < text.length; i++) {
    while (length > 0 && text[i] !== text[length]) length = table[length - 1];
    if (text[i] === text[length]) length++;
    table[i] = length;
  }
  return table;
}

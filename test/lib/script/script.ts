/**
 * What a packet script says, parsed: the head's settings and the steps, each with its line. The language is described in
 * docs/packet-scripts.md; `parse.ts` makes these records, `run.ts` plays them.
 */

/** A number that must lie between two others, inclusive; an exact one has both the same. */
export interface Range {
  readonly from: number;
  readonly to: number;
}

export const ANYTHING: Range = { from: -Infinity, to: Infinity };

/** One TCP option, as written. */
export type OptionText =
  | { readonly kind: 'nop' | 'eol' | 'sackOK' }
  | { readonly kind: 'mss' | 'wscale'; readonly value: Range }
  /** `last` as echo: the timestamp the host sent last, whatever it was. */
  | { readonly kind: 'TS'; readonly value: Range; readonly echo: Range | 'last' }
  | { readonly kind: 'sack'; readonly blocks: readonly (readonly [number, number])[] }
  | { readonly kind: 'hex'; readonly bytes: readonly number[] };

/** A way to send a segment that no honest peer has. */
export type Twist =
  | { readonly kind: 'bad_checksum' | 'land' | 'no_checksum' }
  | { readonly kind: 'data_offset' | 'urgent' | 'reserved' | 'cut'; readonly value: number };

/** A segment to send, or to expect; what is undefined in an expected one is not looked at. */
export interface SegmentText {
  /** The ECN field of the IP header: 0 = not capable, 1 = ECT(1), 2 = ECT(0), 3 = CE. */
  readonly ecn?: number;
  /** Letters of packetdrill: `S F R P . U E W`, or `-` for none. */
  readonly flags: string;
  /** First number and length; undefined = any. */
  readonly seq?: number;
  readonly length?: number;
  readonly ack?: Range;
  readonly win?: Range;
  /** Undefined = `<*>`. */
  readonly options?: readonly OptionText[];
  readonly data?: string;
  readonly twists: readonly Twist[];
}

/** An ICMP error about `quoted`, a stretch of the host's numbers. */
export interface IcmpText {
  readonly type: number;
  readonly code: number;
  readonly mtu: number;
  readonly quotedSeq: number;
  readonly quotedLength: number;
}

/** A call of the socket; `result` is what it must return. */
export interface CallText {
  readonly name: string;
  readonly args: readonly (number | string)[];
  readonly result?: number | string;
}

export type Comparison = '=' | '<' | '>' | '<=' | '>=';

export interface QuestionText {
  readonly name: string;
  /** For `drops` and `stats`: which. */
  readonly of?: string;
  readonly comparison: Comparison;
  readonly value: number | string;
}

export type Action =
  | { readonly kind: 'send'; readonly segment: SegmentText }
  | { readonly kind: 'expect'; readonly segment: SegmentText }
  | { readonly kind: 'icmp'; readonly icmp: IcmpText }
  | { readonly kind: 'call'; readonly call: CallText }
  | { readonly kind: 'quiet' }
  | { readonly kind: 'ask'; readonly question: QuestionText };

/** When a step takes place, in microseconds: after the step before, or after the start. */
export interface When extends Range {
  readonly since: 'last' | 'start';
}

export interface Step {
  /** 1 = the first. */
  readonly line: number;
  readonly when: When;
  /** Which connection; 1 = the one that needs no name. */
  readonly conn: number;
  readonly action: Action;
}

export interface Script {
  readonly file: string;
  readonly lines: readonly string[];
  /** The first comment: what the script shows, and the section that demands it. */
  readonly title: string;
  readonly settings: ReadonlyMap<string, { readonly value: string; readonly line: number }>;
  readonly steps: readonly Step[];
}

/** Something is wrong with a script, or with what the host did: says where, and what would be right. */
export class ScriptError extends Error {
  readonly line: number;

  constructor(file: string, line: number, what: string, source: string, more: readonly string[] = []) {
    const number = String(line).padStart(5);
    super([`${file}:${line}: ${what}`, `${number} | ${source.trim()}`, ...more.map((m) => `      | ${m}`)].join('\n'));
    this.name = 'ScriptError';
    this.line = line;
  }
}

/**
 * The report of a replay: a line for each packet, with `verbose` also lines for what happens between them, and a table at
 * the end. Counts by what became of the packets in the end, so that a packet that was held is counted where it ended up.
 */
import { DROP_REASONS } from '../../stack/drop.ts';
import { describe } from '../../stack/wire/pretty.ts';
import { className, type Outcome, outcomeText } from './outcome.ts';
import type { Fed } from './replayer.ts';

export type Print = (line: string) => void;

const NUMBER_WIDTH = 6;
const INDENT = ' '.repeat(NUMBER_WIDTH + 2);

export class Report {
  packets = 0;
  private readonly print: Print;
  private readonly verbose: boolean;
  private firstMicros = Number.NaN;
  /** By class, in the order of first appearance. */
  private readonly counts = new Map<string, number>();
  /** Class of the packets that are held. */
  private readonly holding = new Map<number, string>();
  /** Sentences of the drop reasons that occurred. */
  private readonly sentences = new Map<string, string>();
  private answers = 0;
  private byTimer = 0;

  constructor(print: Print, verbose: boolean) {
    this.print = print;
    this.verbose = verbose;
  }

  /** Seconds since the first packet. */
  private time(micros: number): string {
    if (Number.isNaN(this.firstMicros)) this.firstMicros = micros;
    return ((micros - this.firstMicros) / 1e6).toFixed(6);
  }

  /** A packet and what became of it in its turn. Returns its number, from 1. */
  packet(micros: number, bytes: Uint8Array, originalLength: number, fed: Fed): number {
    const { outcome, sent } = fed;
    const number = ++this.packets;
    this.count(className(outcome), outcome);
    if (outcome.kind === 'held') this.holding.set(number, className(outcome));
    this.answers += sent.length;
    const cut =
      originalLength > bytes.length ? ` (cut by the capture: ${bytes.length} of ${originalLength} bytes)` : '';
    const what = describe(bytes, 0, bytes.length, originalLength);
    const head = `${String(number).padStart(NUMBER_WIDTH)}  ${this.time(micros)}  ${what}${cut}`;
    if (this.verbose) {
      this.print(head);
      this.print(`${INDENT}= ${outcomeText(outcome)}${movedText(fed)}`);
      for (const frame of sent) this.print(`${INDENT}> ${describe(frame, 0, frame.length)}`);
    } else this.print(`${head} = ${verdictText(fed)}`);
    return number;
  }

  /** A packet that was held has ended. */
  ended(number: number, micros: number, outcome: Outcome): void {
    const before = this.holding.get(number);
    if (before !== undefined) {
      this.holding.delete(number);
      this.counts.set(before, this.counts.get(before)! - 1);
      this.count(className(outcome), outcome);
    }
    if (this.verbose) this.print(`${INDENT}@ ${this.time(micros)} packet ${number}: ${laterText(outcome)}`);
  }

  /** Sent by a timer. */
  timer(micros: number, bytes: Uint8Array): void {
    this.byTimer++;
    if (this.verbose) this.print(`${INDENT}@ ${this.time(micros)} by a timer: ${describe(bytes, 0, bytes.length)}`);
  }

  private count(name: string, outcome: Outcome): void {
    this.counts.set(name, (this.counts.get(name) ?? 0) + 1);
    if (outcome.kind === 'dropped') this.sentences.set(name, DROP_REASONS[outcome.reason]!.sentence);
  }

  /** The closing table. */
  table(): void {
    const rows = [...this.counts].filter(([, n]) => n > 0).sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));
    const width = Math.max(...rows.map(([name]) => name.length), 'packets'.length);
    this.print('');
    this.print(`${'packets'.padEnd(width)}  ${String(this.packets).padStart(NUMBER_WIDTH)}`);
    for (const [name, n] of rows) {
      const sentence = this.sentences.get(name) ?? '';
      this.print(`${name.padEnd(width)}  ${String(n).padStart(NUMBER_WIDTH)}  ${sentence}`.trimEnd());
    }
    this.print(`sent by tsvs: ${this.answers} because of a packet, ${this.byTimer} by timers`);
  }
}

/** The verdict on one line, with the first frame that was sent because of the packet. */
export function verdictText({ outcome, sent }: Fed): string {
  if (sent.length === 0) return outcomeText(outcome);
  const first = describe(sent[0]!, 0, sent[0]!.length);
  const more = sent.length > 1 ? `, and ${sent.length - 1} more` : '';
  return outcome.kind === 'answered'
    ? `answered with ${first}${more}`
    : `${outcomeText(outcome).replace(/\.$/, '')}; sent ${first}${more}`;
}

/** What was changed in the packet before it was fed, as an addition to its verdict. */
export const movedText = ({ ackMovedBy }: Fed): string =>
  ackMovedBy === 0 ? '' : ` [acknowledgments moved by ${ackMovedBy}]`;

const laterText = (outcome: Outcome): string => (outcome.kind === 'answered' ? 'sent now' : outcomeText(outcome));

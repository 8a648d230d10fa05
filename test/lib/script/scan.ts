/**
 * Reads one line of a packet script from left to right. A reader that finds something else than it needs throws
 * `Expected`, which `parse.ts` turns into an error with file and line.
 */
import { ANYTHING, type Range } from './script.ts';

export class Expected extends Error {
  readonly right: string;

  constructor(what: string, right: string) {
    super(what);
    this.right = right;
  }
}

export class Scanner {
  private at = 0;
  private readonly text: string;

  constructor(text: string) {
    this.text = text;
    this.blanks();
  }

  private blanks(): void {
    while (this.text[this.at] === ' ' || this.text[this.at] === '\t') this.at++;
  }

  get rest(): string {
    return this.text.slice(this.at);
  }

  get done(): boolean {
    return this.at >= this.text.length;
  }

  /** What `pattern` matches here, or null; blanks behind it are skipped. */
  accept(pattern: RegExp): RegExpExecArray | null {
    const sticky = new RegExp(pattern.source, 'y');
    sticky.lastIndex = this.at;
    const match = sticky.exec(this.text);
    if (match === null) return null;
    this.at = sticky.lastIndex;
    this.blanks();
    return match;
  }

  /** The same, but it has to be there; `right` says what, with an example. */
  need(pattern: RegExp, right: string): RegExpExecArray {
    return this.accept(pattern) ?? this.fail(right);
  }

  fail(right: string): never {
    const found = /^(?:"[^"]*"|[\w.+-]+|.)/.exec(this.rest)?.[0];
    throw new Expected(found === undefined ? 'the line ends too early' : `'${found}' is out of place`, right);
  }

  /** Nothing may follow. */
  end(right: string): void {
    if (!this.done) this.fail(right);
  }

  int(right: string): number {
    return Number(this.need(/-?\d+/, right)[0]);
  }

  /** `5`, `3~7` or `*`. */
  range(right: string): Range {
    if (this.accept(/\*/) !== null) return ANYTHING;
    const from = this.int(right);
    const to = this.accept(/~/) !== null ? this.int(right) : from;
    if (to < from) throw new Expected(`${from}~${to} is empty`, 'the smaller number first');
    return { from, to };
  }

  /** A text in double quotes, with JSON's escapes. */
  quoted(): string | null {
    const match = this.accept(/"(?:[^"\\]|\\.)*"/);
    if (match === null) return null;
    try {
      return JSON.parse(match[0]) as string;
    } catch {
      throw new Expected(`${match[0]} is no text`, 'escapes as in JSON: "a\\n", "\\u00ff"');
    }
  }
}

/** Cuts off a comment, which begins with two slashes outside quotes. */
export function withoutComment(line: string): string {
  const match = /^((?:[^"/]|"(?:[^"\\]|\\.)*"|\/(?!\/))*)\/\//.exec(line);
  return (match?.[1] ?? line).trimEnd();
}

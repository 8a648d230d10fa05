/**
 * What is wrong with a configuration file, where, and what would be right. Front ends collect every error before they give up;
 * the command line prints them one per line.
 */

/** A place in a file. Lines and columns count from 1; line 0 is the file as a whole. */
export interface Where {
  readonly file: string;
  readonly line: number;
  readonly column: number;
  /** As between the brackets, e.g. `service web`; empty outside of any. */
  readonly section: string;
  readonly key: string;
}

export interface CfgError extends Where {
  readonly message: string;
  /** What would be right; may be empty. */
  readonly hint: string;
}

/** A value and the place it came from. */
export interface Located<T> extends Where {
  readonly value: T;
}

/** The errors found so far in one or more files. */
export class ErrorList {
  readonly #errors: CfgError[] = [];

  add(where: Where, message: string, hint = ''): void {
    const { file, line, column, section, key } = where;
    this.#errors.push({ file, line, column, section, key, message, hint });
  }

  get empty(): boolean {
    return this.#errors.length === 0;
  }

  /** By file in the order they were first complained about, then from top to bottom. */
  sorted(): CfgError[] {
    const files = [...new Set(this.#errors.map((error) => error.file))];
    return this.#errors.toSorted(
      (a, b) => files.indexOf(a.file) - files.indexOf(b.file) || a.line - b.line || a.column - b.column,
    );
  }
}

/** Complains about a text being read; the first sentence part names what is wrong, the hint what would be right. */
export type Fail = (message: string, hint?: string) => void;

const LONGEST = 60;

/** Text from a file as messages show it: what is too long for a line of output is cut. */
export function clip(text: string): string {
  return text.length > LONGEST ? `${text.slice(0, LONGEST - 3)}...` : text;
}

/** `lb.conf:12: [vip] prots: unknown key; did you mean 'ports'?` */
export function formatError(error: CfgError): string {
  const place = error.line > 0 ? `${error.file}:${error.line}` : error.file;
  const name = [error.section && `[${clip(error.section)}]`, clip(error.key)].filter(Boolean).join(' ');
  const subject = name ? `${place}: ${name}` : place;
  return `${subject}: ${error.message}${error.hint ? `; ${error.hint}` : ''}`;
}

/**
 * Where everything stands in an INI file: (section, key) -> lines. The ini package reads the values, but it knows no lines, keeps
 * the last of two equal keys, splits section names at dots and skips what it does not understand; here nothing is lost and
 * every oddity becomes a problem with its line.
 *
 * Grammar, one construct per line: `[head]` or `[head name]`, `key = value`, blank, or a comment. `#` and `;` start a comment anywhere
 * outside quotes unless a backslash stands before them. A byte order mark and any line ending are accepted. Text that was not UTF-8 arrives
 * with U+FFFD in it: harmless in a comment, refused by whoever validates the value elsewhere.
 */
import ini from 'ini';
import { clip } from './error.ts';

export interface IniEntry {
  readonly key: string;
  /** Without quotes and comment, trimmed; may be empty. */
  readonly value: string;
  readonly line: number;
  readonly column: number;
}

export interface IniSection {
  /** As written between the brackets, with single spaces: `service web`. */
  readonly title: string;
  /** First word of the title. */
  readonly kind: string;
  /** The rest of the title; empty for most. */
  readonly name: string;
  readonly line: number;
  readonly column: number;
  /** Lines of further sections with the same title; their entries are in this one's list. */
  readonly repeatedAt: number[];
  /** In file order, repeated keys included. */
  readonly entries: IniEntry[];
}

export interface IniProblem {
  readonly line: number;
  readonly column: number;
  readonly section: string;
  readonly key: string;
  readonly message: string;
  readonly hint: string;
}

export interface IniIndex {
  readonly sections: readonly IniSection[];
  readonly problems: readonly IniProblem[];
  /** Number of the last line. */
  readonly lastLine: number;
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const CONTROL = /[\u0000-\u0008\u000b\u000e-\u001f\u007f]/;
const COMMENT = /^[#;]/;

/** Never throws. A file with control characters is taken for binary: one problem, no sections. */
export function indexIni(source: string): IniIndex {
  const lines = source.replace(/^\ufeff/, '').split(/\r\n|\n|\r/);
  const lastLine = lines.length > 1 && lines.at(-1) === '' ? lines.length - 1 : lines.length;
  const sections = new Map<string, IniSection>();
  const problems: IniProblem[] = [];
  let section: IniSection | null = null;
  let skipping = false;

  for (let i = 0; i < lines.length; i++) {
    const line = i + 1;
    const text = lines[i].trim();
    const column = lines[i].length - lines[i].trimStart().length + 1;
    const complain = (key: string, message: string, hint: string): void => {
      problems.push({ line, column, section: section?.title ?? '', key, message, hint });
    };

    const control = CONTROL.exec(text);
    if (control) {
      const code = control[0].charCodeAt(0).toString(16).padStart(2, '0');
      const message = `is not a text file: it contains the control character 0x${code}`;
      const problem = { line, column: lines[i].indexOf(control[0]) + 1, section: '', key: '', message };
      return { sections: [], problems: [{ ...problem, hint: 'save it as UTF-8 text' }], lastLine };
    }
    if (text === '' || COMMENT.test(text)) continue;

    if (text.startsWith('[')) {
      const title = readTitle(text);
      section = null;
      skipping = title === null;
      if (title === null) {
        complain('', `'${clip(text)}' is not a section`, 'write [name] on a line of its own');
        continue;
      }
      section = sections.get(title) ?? null;
      if (section) section.repeatedAt.push(line);
      else {
        const [kind, ...rest] = title.split(' ');
        section = { title, kind, name: rest.join(' '), line, column, repeatedAt: [], entries: [] };
        sections.set(title, section);
      }
      continue;
    }

    const equals = text.search(/[=#;]/);
    const key = (equals < 0 ? text : text.slice(0, equals)).trim();
    if (equals < 0 || text[equals] !== '=') complain(key, "has no '='", 'write key = value');
    else if (key === '') complain('', "has no key before '='", 'write key = value');
    else if (section) section.entries.push({ key, value: readValue(text.slice(equals + 1)), line, column });
    else if (!skipping) complain(key, 'stands before the first section', 'put a line such as [global] above it');
  }
  return { sections: [...sections.values()], problems, lastLine };
}

/** The title of a section line, or null when the line is not one. */
function readTitle(text: string): string | null {
  const match = /^\[([^\][]*)\]\s*(.*)$/.exec(text);
  if (!match || (match[2] !== '' && !COMMENT.test(match[2]))) return null;
  const title = match[1].trim().replace(/\s+/g, ' ');
  return title === '' ? null : title;
}

/**
 * The value of the text behind `=`. ini's reader turns `'1'` into a number and leaves the quotes where a comment follows them;
 * both are put right here.
 */
function readValue(raw: string): string {
  const value: unknown = ini.unsafe(raw);
  if (typeof value !== 'string') return raw.trim().slice(1, -1);
  const quoted = /^"(.*)"$/.exec(value) ?? /^'(.*)'$/.exec(value);
  return quoted ? quoted[1] : value;
}

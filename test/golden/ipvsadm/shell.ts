/**
 * As much of a shell as the recorded command lines need: `;`, `|`, `<`, `>` with files in memory, and the programs of the tool beside
 * cat, printf, sort, head and grep -e.
 */
import { ipvsadm, ipvsadmRestore, ipvsadmSave, type Result, type Surroundings } from '../../../src/ipvsadm/run.ts';

export type Files = Map<string, string>;

export async function runLine(
  line: string,
  input: string,
  around: Omit<Surroundings, 'stdin'>,
  files: Files,
): Promise<Result> {
  let stdout = '';
  let stderr = '';
  let exitCode = 0;
  for (const part of split(line, ';')) {
    const result = await runPipe(part, input, around, files);
    stdout += result.stdout;
    stderr += result.stderr;
    exitCode = result.exitCode;
  }
  return { stdout, stderr, exitCode };
}

async function runPipe(
  line: string,
  input: string,
  around: Omit<Surroundings, 'stdin'>,
  files: Files,
): Promise<Result> {
  let stderr = '';
  let last: Result = { stdout: input, stderr: '', exitCode: 0 };
  for (const command of split(line, '|')) {
    const words = wordsOf(command);
    const source = takeAfter(words, '<');
    const sink = takeAfter(words, '>');
    const stdin = source === null ? last.stdout : (files.get(source) ?? '');
    last = await runProgram(words, stdin, around, files);
    stderr += last.stderr;
    if (sink !== null) {
      files.set(sink, last.stdout);
      last = { ...last, stdout: '' };
    }
  }
  return { ...last, stderr };
}

async function runProgram(
  [program = '', ...args]: string[],
  stdin: string,
  around: Omit<Surroundings, 'stdin'>,
  files: Files,
): Promise<Result> {
  const withInput = { ...around, stdin: () => stdin };
  const prints = (stdout: string): Result => ({ stdout, stderr: '', exitCode: 0 });
  switch (program) {
    case 'ipvsadm':
      return ipvsadm(args, withInput);
    case 'ipvsadm-save':
      return ipvsadmSave(args, withInput);
    case 'ipvsadm-restore':
      return ipvsadmRestore(withInput);
    case 'cat':
      return prints(args.map((file) => files.get(file) ?? '').join(''));
    case 'printf':
      return prints((args[1] ?? '').replaceAll('\\r', '\r').replaceAll('\\n', '\n'));
    case 'sort':
      return prints(lines(stdin).sort(byBytes).join(''));
    case 'head':
      return prints(lines(stdin).slice(0, -Number(args[0])).join(''));
    case 'grep': {
      const wanted = args.filter((arg) => arg !== '-e');
      return prints(
        lines(stdin)
          .filter((line) => wanted.some((text) => line.includes(text)))
          .join(''),
      );
    }
    default:
      throw new Error(`no such program: ${program}`);
  }
}

const byBytes = (a: string, b: string): number => (a < b ? -1 : Number(a > b));
const lines = (text: string): string[] => text.match(/.*\n/g) ?? [];

/** At separators outside of quotes. */
function split(line: string, separator: string): string[] {
  const parts = [''];
  let quoted = false;
  for (const char of line) {
    if (char === "'") quoted = !quoted;
    if (char === separator && !quoted) parts.push('');
    else parts[parts.length - 1] += char;
  }
  return parts;
}

function wordsOf(command: string): string[] {
  const heredoc = command.replace(/<<'EOF'/, '');
  return [...heredoc.matchAll(/(?:'[^']*'|[^\s'])+/g)].map(([word]) => word.replaceAll("'", ''));
}

function takeAfter(words: string[], sign: string): string | null {
  const at = words.indexOf(sign);
  return at < 0 ? null : (words.splice(at, 2)[1] ?? null);
}

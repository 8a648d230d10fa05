/** Reads a packet script (docs/packet-scripts.md). Errors name file and line, and say what would be right. */
import { CALLS } from './calls.ts';
import { parseIcmp, parseSegment } from './parse-segment.ts';
import { QUESTIONS } from './questions.ts';
import { Expected, Scanner, withoutComment } from './scan.ts';
import type { Action, CallText, Comparison, QuestionText, Script, Step, When } from './script.ts';
import { ScriptError } from './script.ts';
import { checkSetting } from './settings.ts';

/** `+*`: longer than any timer. */
const WHENEVER_US = 600_000_000;

export function parseScript(file: string, text: string): Script {
  const lines = text.split('\n');
  const settings = new Map<string, { value: string; line: number }>();
  const steps: Step[] = [];
  lines.forEach((source, i) => {
    const line = i + 1;
    const body = withoutComment(source).trim();
    if (body === '') return;
    try {
      const setting = /^([a-z_]+)\s*=\s*(\S.*)$/.exec(body);
      if (setting === null) steps.push(parseStep(body, line));
      else {
        const [, key = '', value = ''] = setting;
        if (steps.length > 0) throw new Expected(`the setting ${key} comes too late`, 'settings before the first step');
        if (settings.has(key)) throw new Expected(`${key} is set twice`, 'one line for each');
        checkSetting(key, value);
        settings.set(key, { value, line });
      }
    } catch (e) {
      if (e instanceof Expected) throw new ScriptError(file, line, e.message, source, [`right is: ${e.right}`]);
      throw e;
    }
  });
  const title = lines.find((l) => l.startsWith('//'))?.replace(/^\/\/\s*/, '') ?? '';
  if (steps.length === 0) throw new ScriptError(file, lines.length, 'the script has no step', lines.at(-1) ?? '');
  return { file, lines, title, settings, steps };
}

function parseStep(body: string, line: number): Step {
  const scan = new Scanner(body);
  if (scan.accept(/\?/) !== null) {
    const conn = connection(scan);
    return { line, when: { since: 'last', from: 0, to: 0 }, conn, action: { kind: 'ask', question: question(scan) } };
  }
  const when = time(scan);
  const conn = connection(scan);
  const action = parseAction(scan);
  if (when.from !== when.to && action.kind !== 'expect') {
    throw new Expected('only what the host sends may come within a range of times', 'one time, as in +0.1');
  }
  return { line, when, conn, action };
}

const connection = (scan: Scanner): number => {
  const match = scan.accept(/#(\d+)/);
  if (match === null) return 1;
  const n = Number(match[1]);
  if (n < 1 || n > 999) throw new Expected(`there is no connection #${n}`, '#1 to #999');
  return n;
};

const TIME = '+0.1 (seconds after the step before), @1.5 (after the start), +.2~.3, +* or ? question';
const SECONDS = /\d+(?:\.\d*)?|\.\d+/;

function time(scan: Scanner): When {
  const since = scan.need(/[+@]/, TIME)[0] === '+' ? 'last' : 'start';
  if (scan.accept(/\*/) !== null) return { since, from: 0, to: WHENEVER_US };
  const us = (): number => Math.round(Number(scan.need(SECONDS, TIME)[0]) * 1e6);
  const from = us();
  const to = scan.accept(/~/) !== null ? us() : from;
  if (to < from) throw new Expected('the range of times is empty', 'the earlier time first');
  return { since, from, to };
}

function parseAction(scan: Scanner): Action {
  if (scan.accept(/< *icmp\b/) !== null) return { kind: 'icmp', icmp: parseIcmp(scan) };
  if (scan.accept(/</) !== null) return { kind: 'send', segment: parseSegment(scan, true) };
  if (scan.accept(/>/) !== null) return { kind: 'expect', segment: parseSegment(scan, false) };
  if (scan.accept(/quiet$/) !== null) return { kind: 'quiet' };
  return { kind: 'call', call: call(scan) };
}

function call(scan: Scanner): CallText {
  const [name] = scan.need(/[a-z]+/, '< segment, > segment, < icmp ..., quiet, or a call such as write(1000) = 1000');
  const known = CALLS[name];
  if (known === undefined) throw new Expected(`there is no call ${name}()`, Object.keys(CALLS).join(', '));
  scan.need(/\(/, known.usage);
  const args: (number | string)[] = [];
  while (scan.accept(/\)/) === null) {
    if (args.length > 0) scan.need(/,/, known.usage);
    args.push(scan.quoted() ?? scan.int(known.usage));
  }
  if (args.length < known.least || args.length > known.most) {
    throw new Expected(`${name}() with ${args.length} arguments`, known.usage);
  }
  const result = scan.accept(/=/) !== null ? (scan.quoted() ?? scan.int(known.usage)) : undefined;
  if (result !== undefined && !known.returns) throw new Expected(`${name}() returns nothing`, known.usage);
  scan.end(known.usage);
  return { name, args, ...(result !== undefined && { result }) };
}

function question(scan: Scanner): QuestionText {
  const [name] = scan.need(/[a-z_]+/, Object.keys(QUESTIONS).join(', '));
  const known = QUESTIONS[name];
  if (known === undefined) throw new Expected(`there is no question ${name}`, Object.keys(QUESTIONS).join(', '));
  let of: string | undefined;
  if (known.of !== undefined) {
    [of] = scan.need(/\w+/, known.usage);
    if (!known.of().includes(of)) throw new Expected(`${name} has no ${of}`, known.of().join(', '));
  }
  const comparison = (scan.accept(/<=|>=|<|>|=/)?.[0] ?? '=') as Comparison;
  const value = known.text ? scan.rest : scan.int(known.usage);
  if (!known.text) scan.end(known.usage);
  if (known.text && (value === '' || comparison !== '=')) throw new Expected(`${name} is a word`, known.usage);
  return { name, ...(of !== undefined && { of }), comparison, value };
}

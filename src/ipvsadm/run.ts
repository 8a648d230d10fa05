/**
 * One call of ipvsadm from its words to its output and exit status, against whatever holds the table: in tests a model, for operators the control
 * socket of a running tsvs (src/cli/ipvsadm.ts). Also the two wrappers, ipvsadm-save and ipvsadm-restore.
 */
import { EXIT_REFUSED } from './command-error.ts';
import { formatConns, formatDpvsConns, ofPair } from './conns.ts';
import { formatLocals, formatSubjects } from './dpvs-lists.ts';
import { type Errno, wordsFor } from './errno.ts';
import { formatDaemons, formatOneService, formatServices, formatTimeouts } from './format.ts';
import { find } from './model.ts';
import type { Names } from './names.ts';
import { isQuery, type Mutation, type Query, type ServiceId } from './ops.ts';
import { type Parsed, parseCommand, tryHelp } from './parse.ts';
import { formatRules } from './save.ts';
import type { Service, Snapshot } from './table.ts';

/** Whoever holds the table. */
export interface Target {
  snapshot(of: SnapshotOf): Snapshot | Promise<Snapshot>;
  /** Null when it is done. */
  apply(mutation: Mutation): Answer | Promise<Answer>;
  /** Several, one after the other, each done or not by itself; where it is missing, `apply` is called for each. */
  applyAll?(mutations: readonly Mutation[]): Promise<readonly Answer[]>;
}

type Answer = Errno | Refusal | null;

/** Connections are fetched for those who list them. */
export type SnapshotOf = 'table' | 'conns';

export interface Refusal {
  readonly errno: Errno;
  /** In words of ours. */
  readonly why: string;
}

export interface Surroundings {
  readonly target: Target;
  readonly names: Names;
  /** All of standard input; read by -R alone. */
  readonly stdin: () => string | Promise<string>;
  /** What the tool is called in its messages. */
  readonly program: string;
}

export interface Result {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** What one line came to. `stops`: a restore ends here. */
interface Outcome extends Result {
  readonly stops: boolean;
}

const EXIT_NOT_FOUND = 1;

/** Of -R, sent together. */
const LINES_AT_ONCE = 100;

/** Questions about connections: local addresses are shown with the number of theirs. */
const WITH_CONNS: readonly Query['op'][] = ['list-conns', 'list-laddrs'];

/** Errors that say it all. */
const TELLING: readonly Errno[] = ['ESRCH', 'EEXIST', 'ENOENT', 'ERANGE', 'EPERM', 'ENODEV'];

/** @param words of the command line, without the program. */
export async function ipvsadm(words: readonly string[], around: Surroundings): Promise<Result> {
  const parsed = parseCommand(around.program, words.length === 0 ? ['-L'] : words, around.names);
  const isRestore = parsed.kind === 'op' && parsed.op.op === 'restore';
  const { exitCode, stdout, stderr } = isRestore
    ? await restore(await around.stdin(), around)
    : await perform(parsed, around);
  return { exitCode, stdout, stderr };
}

/** ipvsadm-save: `-n` or nothing. */
export async function ipvsadmSave(words: readonly string[], around: Surroundings): Promise<Result> {
  if (words.some((word) => word.startsWith('-') && word !== '-n')) {
    const help =
      'Script to save the IPVS table to stdout.\n   With the -n option, prints out the table in numeric format.\n';
    return { exitCode: 1, stdout: '', stderr: `ipvsadm-save: ${help}` };
  }
  return ipvsadm(words.includes('-n') ? ['-S', '-n'] : ['-S'], around);
}

/** ipvsadm-restore: empties the table first. Takes no options and ignores what it is given. */
export async function ipvsadmRestore(around: Surroundings): Promise<Result> {
  const text = await around.stdin();
  const cleared = await ipvsadm(['-C'], around);
  const restored = await ipvsadm(['-R'], { ...around, stdin: () => text });
  return { ...restored, stderr: cleared.stderr + restored.stderr };
}

/**
 * Reads command lines: blanks separate, nothing quotes, a leading word `ipvsadm` is dropped. A line that begins with # is skipped. A line
 * the tool itself finds wrong ends the reading, one that the table refuses does not; what was done stays done. The exit status is that of
 * the last line.
 */
async function restore(text: string, around: Surroundings): Promise<Result> {
  let exitCode = 0;
  let stdout = '';
  let stderr = '';
  const take = (outcome: Outcome): void => {
    exitCode = outcome.exitCode;
    stdout += outcome.stdout;
    stderr += outcome.stderr;
  };
  // Lines that change the table go there together.
  let waiting: Mutation[] = [];
  const flush = async (): Promise<void> => {
    const answers = await applyEach(waiting, around.target);
    waiting.forEach((op, i) => void take(outcomeOf(op, answers[i]!)));
    waiting = [];
  };
  for (const line of text.split('\n')) {
    const words = line.split(/\s+/).filter((word) => word !== '');
    if (words[0] === 'ipvsadm' || words[0] === around.program) words.shift();
    if (words.length === 0 || words[0]?.startsWith('#')) continue;
    const parsed = parseCommand(around.program, words, around.names);
    if (parsed.kind === 'op' && parsed.op.op !== 'restore' && !isQuery(parsed.op)) {
      waiting.push(parsed.op);
      if (waiting.length < LINES_AT_ONCE) continue;
      await flush();
      continue;
    }
    await flush();
    const outcome = await perform(parsed, around);
    take(outcome);
    if (outcome.stops) break;
  }
  await flush();
  return { exitCode, stdout, stderr };
}

async function applyEach(mutations: readonly Mutation[], target: Target): Promise<readonly Answer[]> {
  if (target.applyAll !== undefined && mutations.length > 1) return target.applyAll(mutations);
  const answers: Answer[] = [];
  for (const mutation of mutations) answers.push(await target.apply(mutation));
  return answers;
}

async function perform(parsed: Parsed, around: Surroundings): Promise<Outcome> {
  if (parsed.kind === 'exit') return { ...parsed, exitCode: parsed.code };
  const { op } = parsed;
  if (op.op === 'restore') {
    const error = tryHelp(around.program);
    return { exitCode: error.exitCode, stdout: '', stderr: `${error.message}\n`, stops: true };
  }
  if (isQuery(op))
    return answer(op, await around.target.snapshot(WITH_CONNS.includes(op.op) ? 'conns' : 'table'), around.names);
  return outcomeOf(op, await around.target.apply(op));
}

function outcomeOf(op: Mutation, refused: Answer): Outcome {
  if (refused === null) return printed('');
  const { errno, why } = typeof refused === 'string' ? { errno: refused, why: '' } : refused;
  const words = wordsFor(op, errno);
  // What the tool has words for needs no other ones.
  const more =
    TELLING.includes(errno) || why === '' || why === words ? '' : `: ${why.replace(/^not supported yet: /, '')}`;
  return { exitCode: EXIT_REFUSED, stdout: '', stderr: `${words}${more}\n`, stops: false };
}

const printed = (stdout: string): Outcome => ({ exitCode: 0, stdout, stderr: '', stops: false });

const notFound = (what: string): Outcome => ({
  exitCode: EXIT_NOT_FOUND,
  stdout: '',
  stderr: `${what}\n`,
  stops: true,
});

function answer(query: Query, snapshot: Snapshot, names: Names): Outcome {
  switch (query.op) {
    case 'list-services': {
      if (query.service === null) return printed(formatServices(snapshot, query.format, names));
      const service = find(snapshot, query.service);
      return service === undefined
        ? notFound('No such service')
        : printed(formatOneService(service, query.format, names));
    }
    case 'list-conns': {
      const { pair, cpu, format } = query;
      if (pair === null && cpu === null) return printed(formatConns(snapshot.conns, format, names));
      const chosen = pair === null ? snapshot.conns : ofPair(snapshot.conns, pair);
      if (pair !== null && chosen.length === 0) return { ...printed(''), stderr: 'connection specified not found\n' };
      return printed(formatDpvsConns(chosen, format, names));
    }
    case 'list-timeouts':
      return printed(formatTimeouts(snapshot.timeouts));
    case 'list-daemons':
      return printed(formatDaemons(snapshot.daemons));
    case 'list-laddrs':
    case 'list-subjects': {
      const services = chosenOf(snapshot, query.service);
      if (services === null) return notFound('No such service');
      return printed(query.op === 'list-laddrs' ? formatLocals(services) : formatSubjects(services, query.list));
    }
    case 'save':
      return printed(formatRules(snapshot, query.numeric, names));
  }
}

/** All services, or the one named; null if there is none such. */
function chosenOf(snapshot: Snapshot, id: ServiceId | null): readonly Service[] | null {
  if (id === null) return snapshot.services;
  const service = find(snapshot, id);
  return service === undefined ? null : [service];
}

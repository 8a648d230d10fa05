/**
 * `scheduler = ./mine.ts`: the file is compiled with what it imports, and has to keep the promises of every scheduler
 * (lb/sched/suite.ts), in the control thread, before tsvs serves. What it may import: `tsvs/scheduler` and files of its own.
 */
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { createContext, Script } from 'node:vm';
import { buildSync } from 'esbuild';
import type { SchedulerFactory } from '../../lb/sched/index.ts';
import { contractCases } from '../../lb/sched/suite.ts';
import { type Config, isSchedulerFile } from '../config/model.ts';
import { instantiate, type PreparedScheduler } from './install.ts';

/** For the whole suite: a decision without end is found out by it. */
const SUITE_MS = 20_000;
const SEEDS = [1, 0x2545f491];

export interface Judged extends PreparedScheduler {
  /** Why it is not to be used, null = it is. */
  readonly problem: string | null;
}

/** The schedulers from files that a configuration names, each once, but for those in `known`. Never throws. */
export function prepareSchedulers(
  { services }: Pick<Config, 'services'>,
  timeoutMs = SUITE_MS,
  known: ReadonlySet<string> = new Set(),
): Judged[] {
  const files = new Set(services.map(({ scheduler }) => scheduler).filter(isSchedulerFile));
  return [...files]
    .filter((name) => !known.has(name))
    .map((name) => {
      try {
        const code = compile(name);
        judge(instantiate(code), timeoutMs);
        return { name, code, problem: null };
      } catch (error) {
        return { name, code: null, problem: (error as Error).message.trim() };
      }
    });
}

/** What stands beside the program, or in the source tree. */
function contractFile(): string {
  const built = fileURLToPath(new URL('./scheduler.js', import.meta.url));
  return existsSync(built) ? built : fileURLToPath(new URL('../../lb/sched/contract.ts', import.meta.url));
}

/** One script of the file and its imports. Throws Error with what is wrong in it. */
function compile(file: string): string {
  const { outputFiles } = buildSync({
    ...{ entryPoints: [file], bundle: true, write: false, format: 'cjs', platform: 'neutral', target: 'node20' },
    ...{ logLevel: 'silent', alias: { 'tsvs/scheduler': contractFile() } },
  });
  return outputFiles[0]!.text;
}

/** Throws Error with the promise that is broken. */
function judge(factory: SchedulerFactory, timeoutMs: number): void {
  const mayRefuse = typeof factory.mayRefuse?.({}) === 'string';
  const heapUsed = (): number => process.memoryUsage().heapUsed;
  const run = (): void => {
    for (const { name, once, run } of contractCases(heapUsed)) {
      for (const seed of once ? SEEDS.slice(0, 1) : SEEDS) {
        try {
          run((view, env) => factory.create(view, {}, env), seed, mayRefuse);
        } catch (error) {
          throw new Error(`it breaks a promise: "${name}": ${(error as Error).message}`);
        }
      }
    }
  };
  // Whatever runs inside is stopped when the time is over, a loop without end included.
  new Script('run()').runInContext(createContext({ run }), { timeout: timeoutMs });
}

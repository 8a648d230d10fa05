/** A process for each subject of a part of the bench: what V8 makes of the code depends on what ran before. */
import { spawnSync } from 'node:child_process';
import type { MemoryRow } from './memory.ts';

export interface Subject {
  readonly name: string;
  readonly rows: () => Promise<MemoryRow[]>;
}

/** The rows of the subjects whose name `only` matches: one is measured here, several each in a process of its own. */
export async function rowsOf(
  part: 'memory' | 'memif',
  all: readonly Subject[],
  scale: number,
  only: RegExp,
): Promise<MemoryRow[]> {
  const subjects = all.filter(({ name }) => only.test(name));
  if (subjects.length === 1) return subjects[0]!.rows();
  return subjects.flatMap(({ name }): MemoryRow[] => {
    const own = [...process.execArgv, process.argv[1]!, '--json', '--only', part, '--scale', String(scale)];
    const { status, stdout, stderr } = spawnSync(process.execPath, [...own, '--tasks', `^${name}$`], {
      encoding: 'utf8',
    });
    if (status !== 0) throw new Error(`${part}, ${name}: ${stderr}`);
    return (JSON.parse(stdout) as { rows: MemoryRow[] }).rows;
  });
}

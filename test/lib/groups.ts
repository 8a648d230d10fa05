/**
 * The groups of tests that scripts/run_test.sh knows. Each test file belongs to exactly one, by its path.
 */

export const GROUPS = ['protocol', 'ring', 'hash', 'sim', 'e2e', 'soak'] as const;
export type Group = (typeof GROUPS)[number];

export function isGroup(name: string): name is Group {
  return (GROUPS as readonly string[]).includes(name);
}

/** @param file path from the project's root, with forward slashes */
export function groupOf(file: string): Group {
  if (file.startsWith('test/e2e/')) return 'e2e';
  if (file.startsWith('test/soak/')) return 'soak';
  if (file.startsWith('test/sim/')) return 'sim';
  if (file.startsWith('test/ring/') || /^test\/unit\/stack\/(mem|timer|msg)\//.test(file)) return 'ring';
  if (/\/sched/.test(file) || /^test\/unit\/lb\/.*hash[^/]*$/.test(file)) return 'hash';
  return 'protocol';
}

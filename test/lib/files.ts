/**
 * Lists source files for the test runner and the architecture tests.
 */
import { existsSync, readdirSync } from 'node:fs';

/**
 * Every file below `folder` whose name ends with `ending`, sorted.
 * @param folder path from the working directory; an absent folder has no files
 * @returns paths that begin with `folder`, with forward slashes
 */
export function listFiles(folder: string, ending: string): string[] {
  if (!existsSync(folder)) return [];
  return readdirSync(folder, { recursive: true, encoding: 'utf8' })
    .filter((name) => name.endsWith(ending))
    .map((name) => `${folder}/${name.replaceAll('\\', '/')}`)
    .sort();
}

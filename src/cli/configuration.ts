/** Loading the configuration for a command: what it says, or a Failure that lists every mistake. */
import { formatError } from '../config/error.ts';
import { loadFile } from '../config/load.ts';
import type { Config } from '../config/model.ts';
import { EXIT, Failure } from './failure.ts';
import { plural } from './units.ts';

export interface LoadedConfig {
  readonly config: Config;
  readonly warnings: readonly string[];
}

/** `fstack`: F-Stack's config.ini, which adds address, netmask and gateway. Throws Failure. */
export function loadConfig(file: string, fstack?: string): LoadedConfig {
  const loaded = loadFile(file, fstack);
  if ('model' in loaded) return { config: loaded.model, warnings: loaded.warnings };
  const lines = loaded.errors.map(formatError);
  throw new Failure(EXIT.CONFIG, [...lines, plural(lines.length, 'error')].join('\n'));
}

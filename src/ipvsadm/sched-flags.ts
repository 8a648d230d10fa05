/**
 * The flags of -b: three bits whose names depend on the scheduler. sh and mh have names of their own for the first two; any
 * scheduler takes flag-1, flag-2 and flag-3.
 */
import { CommandError } from './command-error.ts';

const NUMBERED = ['flag-1', 'flag-2', 'flag-3'];
/** Index: the bit. */
const NAMED: Readonly<Record<string, readonly string[]>> = {
  sh: ['sh-fallback', 'sh-port'],
  mh: ['mh-fallback', 'mh-port'],
};

export function parseSchedFlags(scheduler: string, text: string): number {
  const names = text.split(',').filter((name) => name !== '');
  if (names.length === 0) throw new CommandError(2, `invalid scheduler flag \`${text}'`);
  return names.reduce((bits, name) => bits | (1 << bitOf(scheduler, name)), 0);
}

function bitOf(scheduler: string, name: string): number {
  const numbered = NUMBERED.indexOf(name);
  if (numbered >= 0) return numbered;
  for (const [owner, known] of Object.entries(NAMED)) {
    const bit = known.indexOf(name);
    if (bit >= 0 && owner === scheduler) return bit;
    if (bit >= 0) throw new CommandError(2, `incompatible scheduler flag \`${name}'`);
  }
  throw new CommandError(2, `invalid scheduler flag \`${name}'`);
}

/** The names of the bits, by comma. What sh and mh have no name for keeps its number, so that it can be read back. */
export function formatSchedFlags(scheduler: string, bits: number): string {
  return NUMBERED.map((numbered, bit) => ((bits >> bit) & 1 ? (NAMED[scheduler]?.[bit] ?? numbered) : ''))
    .filter((name) => name !== '')
    .join(',');
}

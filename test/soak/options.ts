/** The command line of `npm run soak`. */
import { randomInt } from 'node:crypto';
import { Command, InvalidArgumentError } from 'commander';

export interface SoakOptions {
  readonly seed: number;
  readonly seconds: number;
  /** The round to begin with. */
  readonly round: number;
  /** Connections open at a time. */
  readonly width: number;
  /** Folder for the capture of a round that failed. */
  readonly keep: string;
}

function whole(min: number, max: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (/^\d+$/.test(text) && value >= min && value <= max) return value;
    throw new InvalidArgumentError(`expected a whole number from ${min} to ${max}.`);
  };
}

/** Reads the command line, without program names. Ends the process on `--help`, and with a message on a mistake. */
export function readOptions(args: readonly string[]): SoakOptions {
  const command = new Command('npm run soak --')
    .description("TCP of this stack against the kernel's, on a link that loses, repeats, reorders, damages and marks")
    .option('--seed <n>', 'does what a soak with this seed did; otherwise one is chosen', whole(0, 2 ** 31 - 1))
    .option('--seconds <n>', 'for so long', whole(1, 1_000_000), 60)
    .option('--round <n>', 'begins with this round', whole(0, 2000), 0)
    .option('--width <n>', 'connections open at a time', whole(1, 1000), 40)
    .option('--keep <folder>', 'where the capture of a round that failed is kept', '.');
  const { seed, ...rest } = command.parse(args, { from: 'user' }).opts<Partial<SoakOptions>>();
  return { ...(rest as Omit<SoakOptions, 'seed'>), seed: seed ?? randomInt(2 ** 31) };
}

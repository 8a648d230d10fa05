/**
 * A program of the bench that answers each line it reads with a line, in a namespace: link-generator.ts and bare-forward.ts. It says
 * `ready` first, and ends with its input.
 */
import { type ChildProcessByStdio, spawn } from 'node:child_process';
import { once } from 'node:events';
import { dirname, join } from 'node:path';
import { createInterface } from 'node:readline';
import type { Readable, Writable } from 'node:stream';

export class LineProgram {
  readonly child: ChildProcessByStdio<Writable, Readable, null>;
  private readonly name: string;
  private readonly lines: AsyncIterator<string>;

  private constructor(namespace: string, before: readonly string[], name: string, args: readonly string[]) {
    this.name = name;
    const program = join(dirname(process.argv[1]!), `${name}.mjs`);
    const words = ['netns', 'exec', namespace, ...before, process.execPath, program, ...args];
    this.child = spawn('ip', words, { stdio: ['pipe', 'pipe', 'inherit'] });
    this.lines = createInterface({ input: this.child.stdout })[Symbol.asyncIterator]();
  }

  /** Starts the bundle `name`; `before` are words in front of it, such as `taskset` and its own. */
  static async start(
    namespace: string,
    before: readonly string[],
    name: string,
    args: readonly string[],
  ): Promise<LineProgram> {
    const program = new LineProgram(namespace, before, name, args);
    await program.next();
    return program;
  }

  /** Its answer to a line. */
  ask(line: string): Promise<string> {
    this.child.stdin.write(`${line}\n`);
    return this.next();
  }

  private async next(): Promise<string> {
    const { value, done } = await this.lines.next();
    if (done) throw new Error(`${this.name} has ended`);
    return value;
  }

  async end(): Promise<void> {
    this.child.stdin.end();
    if (this.child.exitCode === null && this.child.signalCode === null) await once(this.child, 'exit');
  }
}

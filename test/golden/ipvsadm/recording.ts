/**
 * Reads a recorded case (cases/*.txt): command lines with what the real tool printed and its exit status, and remarks of the recorder.
 * `> ` command, `< ` its standard input, `= ` standard output, `! ` standard error, `? ` exit status if not 0, `# ` remark.
 */

export interface Step {
  readonly command: string;
  readonly input: string;
  readonly stdout: string;
  readonly stderr: string;
  readonly exitCode: number;
  /** The numbers the recorder put into the tool in place of the kernel's statistics. */
  readonly numbers: readonly bigint[];
}

export interface Recording {
  readonly about: string;
  readonly steps: readonly Step[];
  readonly remarks: readonly string[];
}

export function parseRecording(text: string): Recording {
  const remarks: string[] = [];
  const steps: { -readonly [K in keyof Step]: Step[K] }[] = [];
  let numbers: bigint[] = [];
  for (const line of text.replace(/\n$/, '').split('\n')) {
    const rest = line.slice(2);
    const step = steps.at(-1);
    if (line.startsWith('# numbers: ')) numbers = line.slice(11).split(',').map(BigInt);
    else if (line.startsWith('#')) remarks.push(rest);
    else if (line.startsWith('> ')) {
      steps.push({ command: rest, input: '', stdout: '', stderr: '', exitCode: 0, numbers });
      numbers = [];
    } else if (step === undefined) throw new Error(`no command before: ${line}`);
    else if (line.startsWith('<')) step.input += rest === 'EOF' ? '' : `${rest}\n`;
    else if (line.startsWith('=')) step.stdout += `${rest}\n`;
    else if (line.startsWith('!')) step.stderr += `${rest}\n`;
    else if (line.startsWith('?')) step.exitCode = Number(rest);
    else throw new Error(`not a line of a recording: ${line}`);
  }
  return { about: remarks[0] ?? '', steps, remarks };
}

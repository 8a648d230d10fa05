/**
 * `tsvs replay`: feeds a recording to a data plane that is configured as for `tsvs run`, and reports what became of each
 * packet. No network, no privilege, no real time: the clock is the recording's.
 *
 * Exit codes: 0 the whole file was replayed, 1 a file cannot be read, written or understood, 2 the configuration is wrong.
 */
import { statSync } from 'node:fs';
import {
  type Context,
  FATE_CREATED,
  FATE_DELIVERED,
  FATE_DROPPED,
  FATE_RECEIVED,
  FATE_SENT,
} from '../../stack/context.ts';
import { DIRECTION_IN, DIRECTION_OUT } from '../../stack/wire/pcapng.ts';
import { formatError } from '../config/error.ts';
import { loadFile } from '../config/load.ts';
import type { Config } from '../config/model.ts';
import { PcapError, PcapReader } from '../links/pcap-reader.ts';
import { installSchedulers } from '../schedulers/install.ts';
import { prepareSchedulers } from '../schedulers/prepare.ts';
import { CaptureFile } from './capture-file.ts';
import { Replayer } from './replayer.ts';
import { movedText, type Print, Report, verdictText } from './report.ts';

export interface ReplayOptions {
  readonly config: string;
  /** Capture to write; absent: none. */
  readonly out?: string;
  readonly verbose?: boolean;
  readonly anyMac?: boolean;
  readonly trustChecksums?: boolean;
}

/** Where the two kinds of lines go. */
export interface Output {
  readonly print: Print;
  readonly complain: Print;
}

/** How long time goes on behind the last packet while packets are held: longer than reassembly and connecting take. */
const AFTER_S = 120;
const SEED = 1;

/** The command: prints to stdout and stderr and sets the exit code. */
export function replay(input: string, options: ReplayOptions): void {
  process.exitCode = runReplay(input, options, { print: console.log, complain: console.error });
}

/** Replays a file; returns the exit code. */
export function runReplay(input: string, options: ReplayOptions, output: Output): number {
  const loaded = loadFile(options.config);
  if (!('model' in loaded)) {
    for (const error of loaded.errors) output.complain(formatError(error));
    return 2;
  }
  const schedulers = prepareSchedulers(loaded.model);
  for (const { name, problem } of schedulers)
    if (problem !== null) output.complain(`scheduler ${name}: ${problem}; wlc schedules instead`);
  installSchedulers(schedulers, { nowUs: () => 0, gaveUp: (name, why) => output.complain(`scheduler ${name} ${why}`) });
  let reader: PcapReader | null = null;
  let capture: CaptureFile | null = null;
  let code = 0;
  try {
    reader = new PcapReader(input);
    if (options.out !== undefined) capture = openOutput(input, options.out);
    code = replayAll(reader, loaded.model, options, capture, output);
  } catch (error) {
    output.complain(problem(error));
    code = 1;
  } finally {
    reader?.close();
  }
  try {
    capture?.close();
  } catch (error) {
    output.complain(problem(error));
    code = 1;
  }
  return code;
}

function openOutput(input: string, path: string): CaptureFile {
  const target = statSync(path, { throwIfNoEntry: false });
  const source = statSync(input);
  if (target !== undefined && target.dev === source.dev && target.ino === source.ino) {
    throw new Error(`${path}: is the file to be replayed; name another for --out`);
  }
  return new CaptureFile(path, 'tsvs');
}

const SYSTEM_ERRORS: Readonly<Record<string, string>> = {
  ENOENT: 'there is no such file or directory',
  EACCES: 'no permission',
  EISDIR: 'is a directory; name a file',
  ENOSPC: 'the disk is full',
};

function problem(error: unknown): string {
  if (error instanceof PcapError) return `tsvs replay: ${error.message}`;
  const { code = '', path, message } = error as NodeJS.ErrnoException;
  const known = SYSTEM_ERRORS[code];
  if (known === undefined) return `tsvs replay: ${message}`;
  return `tsvs replay: ${path === undefined ? '' : `${path}: `}${known}`;
}

/** Feeds all packets; damage in the middle of the file ends the input, and what came before is reported all the same. */
function replayAll(
  reader: PcapReader,
  config: Config,
  options: ReplayOptions,
  capture: CaptureFile | null,
  { print, complain }: Output,
): number {
  const report = new Report(print, options.verbose === true);
  const replayer = new Replayer(
    config,
    { anyMac: options.anyMac === true, trustChecksums: options.trustChecksums === true, seed: SEED },
    {
      ended: (packet, outcome) => report.ended(packet, replayer.fileMicros, outcome),
      sentByTimer(micros, bytes) {
        report.timer(micros, bytes);
        capture?.add(micros, bytes, bytes.length, DIRECTION_OUT, 'tsvs: by a timer');
      },
    },
  );
  let code = 0;
  try {
    for (let packet = reader.next(); packet !== null; packet = reader.next()) {
      const { bytes, originalLength } = packet;
      const fed = replayer.feed(bytes, packet.timeMicros);
      const { sent } = fed;
      const micros = Math.floor(packet.timeMicros);
      const number = report.packet(micros, bytes, originalLength, fed);
      capture?.add(micros, bytes, originalLength, DIRECTION_IN, `#${number}: ${verdictText(fed)}${movedText(fed)}`);
      for (const one of sent) {
        capture?.add(replayer.fileMicros, one, one.length, DIRECTION_OUT, `tsvs: because of #${number}`);
      }
    }
  } catch (error) {
    if (!(error instanceof PcapError)) throw error;
    complain(problem(error));
    code = 1;
  }
  replayer.finish(AFTER_S);
  report.table();
  print(framesLine(replayer.ctx));
  if (replayer.backwards > 0)
    print(`${replayer.backwards} packets are older than one before them: the clock stood still`);
  if (replayer.shortened > 0) print(`${replayer.shortened} silences of more than an hour were shortened to one`);
  return code;
}

/** The frames of the data plane: each must be accounted for. */
function framesLine({ fate, pool }: Context): string {
  const into = `received ${fate[FATE_RECEIVED]} + created ${fate[FATE_CREATED]}`;
  const out = `sent ${fate[FATE_SENT]} + delivered ${fate[FATE_DELIVERED]} + dropped ${fate[FATE_DROPPED]}`;
  return `frames: ${into} = ${out} + held ${pool.inUse}`;
}

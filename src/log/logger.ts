/**
 * The log: one line per happening, on standard output. `json` has every field, for programs; `pretty` has the words,
 * for people. Written synchronously, so that the last line before an exit is not lost.
 */
import { type Logger, pino } from 'pino';
import { prettyFactory } from 'pino-pretty';
import type { LogLevel } from '../config/model.ts';
import type { LogFormat } from './format.ts';

/** Where lines go: a file descriptor, or something with `write`. */
export interface LogSink {
  write(line: string): unknown;
}

export function createLogger(
  format: LogFormat,
  level: LogLevel,
  sink: LogSink = pino.destination({ dest: 1, sync: true }),
  colorize = process.stdout.isTTY === true,
): Logger {
  if (format === 'json') return pino({ level }, sink);
  const print = prettyFactory({
    colorize,
    hideObject: true,
    messageFormat: words,
    ignore: 'pid,hostname',
    translateTime: 'SYS:HH:MM:ss.l',
  });
  return pino({ level, base: null }, { write: (line: string) => sink.write(print(line)) });
}

/** The message, and where an error that goes with it came from. */
function words(line: Record<string, unknown>, messageKey: string): string {
  const stack = (line['err'] as { stack?: string } | undefined)?.stack;
  return `${line[messageKey]}${stack === undefined ? '' : `\n${stack}`}`;
}

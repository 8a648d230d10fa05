/**
 * The access log: one line of JSON for each finished session, in batches, from the ring that the worker fills. Times are
 * ISO 8601 in UTC, addresses text, sizes bytes. A line's fields are those of AccessLine; additions come at the end.
 *
 * Written by the control thread without waiting for the disk; what a disk that hangs would make pile up beyond MAX_PENDING
 * is dropped and counted, as is what the ring has no room for (counter `proxy.logLost`).
 */
import { closeSync, openSync } from 'node:fs';
import { pino } from 'pino';
import type { SessionLogReader, SessionRecord } from '../../lb/l7/session-log.ts';
import { formatEndpoint } from '../config/address.ts';

const EVERY_MS = 100;
/** Bytes that may wait for the disk. */
const MAX_PENDING = 16 << 20;

/** What lines are written to. */
export interface LineSink {
  write(text: string): void;
  /** Closes the file and opens what has its name now. */
  reopen(): void;
  /** Everything is on its way to the disk when this returns. */
  close(): void;
}

export interface ServiceNames {
  serviceName(id: number): string;
}

/** A line; null where there was no server. */
export interface AccessLine {
  /** When the session ended. */
  readonly time: string;
  readonly service: string;
  readonly client: string;
  readonly vip: string;
  readonly server: string | null;
  readonly local: string | null;
  readonly connectMs: number | null;
  readonly durationMs: number;
  readonly toServer: number;
  readonly toClient: number;
  readonly retries: number;
  /** As in END_WORDS of lb/l7/session-log.ts. */
  readonly end: string;
}

export class AccessLog {
  /** By worker. */
  private readonly readers = new Map<number, { readonly reader: SessionLogReader; readonly names: ServiceNames }>();
  private readonly sink: LineSink;
  private timer: NodeJS.Timeout | null = null;

  constructor(sink: LineSink) {
    this.sink = sink;
  }

  /** Reads what this worker finishes from now on, instead of what it was read from before. */
  read(worker: number, reader: SessionLogReader, names: ServiceNames): void {
    this.readers.set(worker, { reader, names });
  }

  /** Writes what has come, now and then. */
  start(): void {
    this.timer = setInterval(() => this.flush(), EVERY_MS);
    this.timer.unref();
  }

  /** Writes what has come as one piece; returns the number of lines. */
  flush(): number {
    const lines: string[] = [];
    for (const { reader, names } of this.readers.values()) {
      for (let record = reader.next(); record !== null; record = reader.next()) {
        lines.push(`${JSON.stringify(lineOf(record, names))}\n`);
      }
    }
    if (lines.length > 0) this.sink.write(lines.join(''));
    return lines.length;
  }

  /** For programs that have renamed the file: what comes from now on goes to a new one. */
  reopen(): void {
    this.flush();
    this.sink.reopen();
  }

  close(): void {
    if (this.timer !== null) clearInterval(this.timer);
    this.flush();
    this.sink.close();
  }
}

/** A record in words. */
function lineOf(record: SessionRecord, names: ServiceNames): AccessLine {
  const tried = record.dest !== 0;
  return {
    time: new Date(record.endedMs).toISOString(),
    service: names.serviceName(record.service),
    client: formatEndpoint(record.clientAddr, record.clientPort),
    vip: formatEndpoint(record.vip, record.vport),
    server: tried ? formatEndpoint(record.serverAddr, record.serverPort) : null,
    local: tried ? formatEndpoint(record.localAddr, record.localPort) : null,
    connectMs: record.connectMs < 0 ? null : record.connectMs,
    durationMs: record.durationMs,
    toServer: record.toServer,
    toClient: record.toClient,
    retries: record.retries,
    end: record.end,
  };
}

/** A file that lines are appended to. Throws when it cannot be opened; later trouble is told to `onError`. */
export function openLines(path: string, onError: (error: Error) => void): LineSink {
  closeSync(openSync(path, 'a'));
  const file = pino.destination({ dest: path, append: true, sync: false, maxLength: MAX_PENDING });
  file.on('error', onError);
  return {
    write: (text) => file.write(text),
    reopen: () => file.reopen(),
    close() {
      try {
        file.flushSync();
      } catch (error) {
        onError(error as Error);
      }
    },
  };
}

/**
 * Finished sessions on their way to the access log: one record each, from the worker to the control thread, by a ring. When
 * the ring is full the record is lost and counted: a slow disk must not slow down traffic.
 *
 * A record is 3 doubles (when it ended, bytes to the server, bytes to the client), then the session's row (session.ts), then
 * the words below. Written by live-sessions.ts, read by src/log.
 */
import type { RingConfig, SpscRing } from '../../stack/mem/spsc-ring.ts';
import type { Micros } from '../../stack/types.ts';
import * as ses from './session.ts';

const ENDED = 0;
const TO_SERVER = 1;
const TO_CLIENT = 2;
const ROW = 6;
const DURATION = ROW + ses.WORDS;
const CONNECT = DURATION + 1;
const RETRIES = DURATION + 2;
const END = DURATION + 3;
/** Even: a record holds doubles. */
const RECORD_WORDS = (DURATION + 5) & ~1;

export const LOG_RING: RingConfig = { capacity: 8192, words: RECORD_WORDS };

/** How a session ended. */
export const NORMAL = 0;
export const CLIENT_RESET = 1;
export const CLIENT_LOST = 2;
export const SERVER_RESET = 3;
export const SERVER_LOST = 4;
/** By an idle limit. */
export const IDLE = 5;
/** By the operator or the end of the process. */
export const DRAINED = 6;
/** It held too many frames for too long. */
export const EVICTED = 7;
export const NO_SERVER = 8;
/** No server that was tried could be connected to. */
export const CONNECT_FAILED = 9;
/** The client went before there was a server. */
export const CLIENT_LEFT = 10;
export const BAD_HEADER = 11;
export const UNTRUSTED = 12;

export const END_WORDS = [
  'normal',
  'client_reset',
  'client_lost',
  'server_reset',
  'server_lost',
  'idle',
  'drained',
  'evicted',
  'no_server',
  'connect_failed',
  'client_left',
  'bad_proxy_header',
  'untrusted_proxy',
] as const;

/** A finished session, as a reader sees it. */
export interface SessionRecord {
  /** Milliseconds since 1970. */
  readonly endedMs: number;
  readonly durationMs: number;
  /** From the client's connection to the server's; -1 = there was none. */
  readonly connectMs: number;
  readonly service: number;
  /** 0 = none was tried. */
  readonly dest: number;
  readonly clientAddr: number;
  readonly clientPort: number;
  readonly vip: number;
  readonly vport: number;
  readonly localAddr: number;
  readonly localPort: number;
  readonly serverAddr: number;
  readonly serverPort: number;
  readonly toServer: number;
  readonly toClient: number;
  /** Servers that failed it. */
  readonly retries: number;
  readonly end: (typeof END_WORDS)[number];
}

/** The writer's end. @hot */
export class SessionLog {
  /** Wall clock less the worker's, in ms; whoever has both keeps it right. */
  epochMs = 0;
  lost = 0;
  private readonly ring: SpscRing;
  private readonly doubles = new Float64Array(RECORD_WORDS / 2);
  private readonly words = new Int32Array(this.doubles.buffer);

  constructor(ring: SpscRing) {
    this.ring = ring;
  }

  /** A session ends at `now`; its row still stands. */
  finished(
    sessions: ses.SessionTable,
    id: number,
    now: Micros,
    durationMs: number,
    connectMs: number,
    retries: number,
    end: number,
  ): void {
    const { doubles, words } = this;
    sessions.copyRow(id, words, ROW);
    doubles[ENDED] = this.epochMs + now / 1000;
    doubles[TO_SERVER] = sessions.toServer[id];
    doubles[TO_CLIENT] = sessions.toClient[id];
    words[DURATION] = durationMs;
    words[CONNECT] = connectMs;
    words[RETRIES] = retries;
    words[END] = end;
    if (this.ring.push(words, 0, 1) === 0) this.lost++;
  }
}

/** The reader's end, in another thread. */
export class SessionLogReader {
  private readonly ring: SpscRing;
  private readonly doubles = new Float64Array(RECORD_WORDS / 2);
  private readonly words = new Int32Array(this.doubles.buffer);

  constructor(ring: SpscRing) {
    this.ring = ring;
  }

  /** The next record, or null. */
  next(): SessionRecord | null {
    const { doubles, words } = this;
    if (this.ring.pop(words, 0, 1) === 0) return null;
    return {
      endedMs: doubles[ENDED],
      durationMs: words[DURATION] >>> 0,
      connectMs: words[CONNECT],
      service: words[ROW + ses.SERVICE],
      dest: words[ROW + ses.DEST],
      clientAddr: words[ROW + ses.CLIENT_ADDR],
      clientPort: words[ROW + ses.CLIENT_PORT],
      vip: words[ROW + ses.VIP],
      vport: words[ROW + ses.VPORT],
      localAddr: words[ROW + ses.LOCAL_ADDR],
      localPort: words[ROW + ses.LOCAL_PORT],
      serverAddr: words[ROW + ses.SERVER_ADDR],
      serverPort: words[ROW + ses.SERVER_PORT],
      toServer: doubles[TO_SERVER],
      toClient: doubles[TO_CLIENT],
      retries: words[RETRIES],
      end: END_WORDS[words[END]],
    };
  }
}

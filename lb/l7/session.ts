/**
 * Proxied sessions: one row each, written by the worker, read by anyone (`tsvs sessions`). Ids 1..capacity, 0 = none.
 *
 * What identifies a session is in sequence-numbered rows (mem/seq-rows.ts) and changes rarely; byte counts are plain
 * doubles beside them, one writer, stored whole (8-byte stores do not tear on the machines Node runs on).
 */

import { SeqRows } from '../../stack/mem/seq-rows.ts';
import { Slab } from '../../stack/mem/slab.ts';

/** Words of a row. */
export const STATE = 0;
export const SERVICE = 1;
export const DEST = 2;
export const CLIENT_ADDR = 3;
export const CLIENT_PORT = 4;
export const VIP = 5;
export const VPORT = 6;
export const LOCAL_ADDR = 7;
export const LOCAL_PORT = 8;
export const SERVER_ADDR = 9;
export const SERVER_PORT = 10;
/** Ticks of the worker's clock when the client was accepted. */
export const STARTED = 11;
export const WORDS = 12;

/** States of a session. */
export const FREE = 0;
/** The client is connected, a server is being sought. */
export const CONNECTING = 1;
export const RELAYING = 2;
/** One of the two connections is gone in good order, the other is finishing. */
export const CLOSING = 3;

export const SESSION_STATES = ['free', 'connecting', 'relaying', 'closing'] as const;

export interface SessionShare {
  readonly rows: SharedArrayBuffer;
  readonly bytes: SharedArrayBuffer;
  readonly capacity: number;
}

export class SessionTable {
  readonly capacity: number;
  readonly share: SessionShare;
  /** Payload bytes relayed, by session: client to server, server to client. */
  readonly toServer: Float64Array;
  readonly toClient: Float64Array;
  private readonly rows: SeqRows;
  private readonly slab: Slab;
  private readonly row = new Int32Array(WORDS);

  private constructor(share: SessionShare, rows: SeqRows, slab: Slab) {
    this.share = share;
    this.capacity = share.capacity;
    this.rows = rows;
    this.slab = slab;
    this.toServer = new Float64Array(share.bytes, 0, share.capacity + 1);
    this.toClient = new Float64Array(share.bytes, (share.capacity + 1) * 8, share.capacity + 1);
  }

  /** Memory for a table; made by the control thread, handed to the worker. */
  static memory(capacity: number): SessionShare {
    const rows = new SharedArrayBuffer(SeqRows.bytes({ rows: capacity, words: WORDS }));
    SeqRows.create(rows, 0, { rows: capacity, words: WORDS });
    return { rows, bytes: new SharedArrayBuffer((capacity + 1) * 16), capacity };
  }

  /** The writer's view: exactly one. */
  static own(share: SessionShare): SessionTable {
    const cfg = { ids: share.capacity };
    const slab = Slab.create(new SharedArrayBuffer(Slab.bytes(cfg)), 0, cfg);
    return new SessionTable(share, SeqRows.attach(share.rows, 0), slab);
  }

  /** A new session in CONNECTING, or 0 when the table is full. */
  open(service: number, clientAddr: number, clientPort: number, vip: number, vport: number, nowMs: number): number {
    const id = this.slab.alloc();
    if (id === 0) return 0;
    const { rows } = this;
    this.toServer[id] = 0;
    this.toClient[id] = 0;
    rows.beginWrite(id);
    rows.set(id, STATE, CONNECTING);
    rows.set(id, SERVICE, service);
    rows.set(id, DEST, 0);
    rows.set(id, CLIENT_ADDR, clientAddr);
    rows.set(id, CLIENT_PORT, clientPort);
    rows.set(id, VIP, vip);
    rows.set(id, VPORT, vport);
    rows.set(id, LOCAL_ADDR, 0);
    rows.set(id, LOCAL_PORT, 0);
    rows.set(id, SERVER_ADDR, 0);
    rows.set(id, SERVER_PORT, 0);
    rows.set(id, STARTED, nowMs);
    rows.endWrite(id);
    return id;
  }

  /** A connection to a server is under way. */
  tryServer(
    id: number,
    dest: number,
    localAddr: number,
    localPort: number,
    serverAddr: number,
    serverPort: number,
  ): void {
    const { rows } = this;
    rows.beginWrite(id);
    rows.set(id, DEST, dest);
    rows.set(id, LOCAL_ADDR, localAddr);
    rows.set(id, LOCAL_PORT, localPort);
    rows.set(id, SERVER_ADDR, serverAddr);
    rows.set(id, SERVER_PORT, serverPort);
    rows.endWrite(id);
  }

  /** The client is somebody else: the one that the connection was announced for. */
  setClient(id: number, addr: number, port: number): void {
    const { rows } = this;
    rows.beginWrite(id);
    rows.set(id, CLIENT_ADDR, addr);
    rows.set(id, CLIENT_PORT, port);
    rows.endWrite(id);
  }

  /** Copies a row to `to[at ..]`: WORDS words. */
  copyRow(id: number, to: Int32Array, at: number): void {
    this.rows.read(id, this.row);
    for (let i = 0; i < WORDS; i++) to[at + i] = this.row[i];
  }

  setState(id: number, state: number): void {
    this.rows.beginWrite(id);
    this.rows.set(id, STATE, state);
    this.rows.endWrite(id);
  }

  close(id: number): void {
    this.setState(id, FREE);
    this.slab.free(id);
  }

  get used(): number {
    return this.slab.used();
  }

  get highest(): number {
    return this.slab.highest();
  }
}

/** A session as a reader sees it. */
export interface SessionView {
  readonly id: number;
  readonly state: (typeof SESSION_STATES)[number];
  readonly service: number;
  readonly dest: number;
  readonly clientAddr: number;
  readonly clientPort: number;
  readonly vip: number;
  readonly vport: number;
  readonly localAddr: number;
  readonly localPort: number;
  readonly serverAddr: number;
  readonly serverPort: number;
  readonly startedMs: number;
  readonly toServer: number;
  readonly toClient: number;
}

/** All sessions, read from any thread without stopping the worker; rows in the act of being written are left out. */
export function readSessions(share: SessionShare): SessionView[] {
  const rows = SeqRows.attach(share.rows, 0);
  const toServer = new Float64Array(share.bytes, 0, share.capacity + 1);
  const toClient = new Float64Array(share.bytes, (share.capacity + 1) * 8, share.capacity + 1);
  const row = new Int32Array(WORDS);
  const out: SessionView[] = [];
  for (let id = 1; id <= share.capacity; id++) {
    if (rows.version(id) === 0) break; // never used, and neither is any behind it
    if (!rows.read(id, row) || row[STATE] === FREE) continue;
    out.push({
      id,
      state: SESSION_STATES[row[STATE]],
      service: row[SERVICE],
      dest: row[DEST],
      clientAddr: row[CLIENT_ADDR],
      clientPort: row[CLIENT_PORT],
      vip: row[VIP],
      vport: row[VPORT],
      localAddr: row[LOCAL_ADDR],
      localPort: row[LOCAL_PORT],
      serverAddr: row[SERVER_ADDR],
      serverPort: row[SERVER_PORT],
      startedMs: row[STARTED],
      toServer: toServer[id],
      toClient: toClient[id],
    });
  }
  return out;
}

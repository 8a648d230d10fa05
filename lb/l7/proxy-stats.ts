/** What the proxy counts and tells: counters, rare events, how servers fare. Read by src/workers and lb/health. */

/** Rare events somebody may want to log; called at the end of a burst. */
export interface ProxyEvents {
  /** Connecting to a server failed with END_*; `retry` = another one is tried. */
  connectFailed(service: number, dest: number, end: number, retry: boolean): void;
  /** No server could be chosen for a client. */
  noServer(service: number): void;
}

/** Who wants to know how each server fares with real sessions. */
export interface ServerObserver {
  sessionConnected(dest: number): void;
  /** The server refused, was silent or could not be reached. */
  sessionFailed(dest: number): void;
}

/** Counters of the proxy. */
export class ProxyStats {
  accepted = 0;
  finished = 0;
  /** Sessions ended by a reset or time-out of the client, of the server, by a limit of ours, by drain. */
  clientAborts = 0;
  serverAborts = 0;
  timeouts = 0;
  drained = 0;
  connectFailures = 0;
  retries = 0;
  noServer = 0;
  tableFull = 0;
  /** Sessions ended because frames ran short and they held many for long. */
  evicted = 0;
  /** Clients reset because they may not announce others, and because what they announced was no PROXY header. */
  untrusted = 0;
  badHeaders = 0;
  /** Lines that the access log lacks because it could not keep up. */
  logLost = 0;
  /** Sessions that waited for a server with room, and those that did so in vain. */
  queued = 0;
  queueTimeouts = 0;
}

/** Counters of the layer-4 director: plain fields, written by lb/core.ts and lb/opener.ts, published by src/workers/stats.ts. */
export class CoreStats {
  opened = 0;
  expired = 0;
  /** Ended by a fresh SYN of the same client and port; by EXPIRE_QUIESCENT. */
  reused = 0;
  quiesced = 0;
  /** Connections that went where a persistence template said. */
  persisted = 0;
  /** Templates that no longer held when their client came back: server gone, failing or drained. */
  templatesInvalid = 0;
  /** Connections of persistent services without a template: its table was full. */
  templatesFull = 0;
  /** Connections refused: no server, no local port, no row, another connection with the same tuple. */
  noServer = 0;
  noLocalPort = 0;
  tableFull = 0;
  clashes = 0;
  /** Resets sent to the ends of expired connections. */
  resets = 0;
}

/** What a health check does, and how many of its results it takes to believe them. Plain data; no defaults are known here. */

/** Inclusive. */
export interface StatusRange {
  readonly from: number;
  readonly to: number;
}

export interface HttpRule {
  readonly method: 'GET' | 'HEAD';
  /** Origin form, ASCII: `/health?deep=1`. */
  readonly path: string;
  /** The Host header, ASCII. */
  readonly host: string;
  /** Status codes that pass. */
  readonly status: readonly StatusRange[];
  /** Bytes that must occur in the first BODY_LIMIT bytes of the body; empty = any body. */
  readonly body: Uint8Array;
}

export interface CheckSpec {
  /** 0 = the port that connections go to. */
  readonly port: number;
  /** From the begin of one check to the begin of the next. */
  readonly intervalMs: number;
  /** For connecting and the answer together. */
  readonly timeoutMs: number;
  /** Checks in a row that must pass before a server gets connections again, and that must fail before it gets none. */
  readonly rise: number;
  readonly fall: number;
  /** What a server counts as before it has been checked. */
  readonly startUp: boolean;
  /** Whether sessions that cannot connect count as failed checks. */
  readonly passive: boolean;
  /** Null: that a connection can be opened is enough. */
  readonly http: HttpRule | null;
}

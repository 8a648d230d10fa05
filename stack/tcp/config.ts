/** What can be set of TCP, and what holds where nothing is said. Given to Tcp (tcp.ts) by who makes the host. */
import { cubic } from './congestion/cubic.ts';
import type { CongestionControl } from './congestion/index.ts';

export interface TcpConfig {
  /** Control blocks at most. */
  readonly maxConnections: number;
  /** Half-open connections at most, over all listeners; each has its backlog besides. */
  readonly maxHalfOpen: number;
  /** SYNs beyond either bound are answered with cookies, not dropped; `always`: every SYN is. */
  readonly synCookies: 'auto' | 'always' | 'off';
  readonly maxTimeWait: number;
  readonly timeWaitMs: number;
  /** Segment descriptors at most, over all connections. */
  readonly maxSegments: number;
  /** Bytes a connection may hold unread, and unacknowledged or unsent. */
  readonly rcvBuf: number;
  readonly sndBuf: number;
  /** The same each way for a connection that has not shown yet that it moves data (limits.ts). */
  readonly bufStart: number;
  /** Ephemeral ports, inclusive (RFC 6056 §3.2). */
  readonly portMin: number;
  readonly portMax: number;
  /** How long data may stay unacknowledged before a connection is given up; 0 = until retransmission gives up. */
  readonly userTimeoutMs: number;
  /** Segments never carry more, either way, options included: for paths whose ICMP does not arrive. 0 = the links decide. */
  readonly mssClamp: number;
  /** RFC 3168: `passive` grants it to peers that ask, `on` asks as well, `off` does neither. */
  readonly ecn: 'off' | 'passive' | 'on';
  readonly congestion: CongestionControl;
}

export const DEFAULT_TCP: TcpConfig = {
  maxConnections: 65536,
  maxHalfOpen: 16384,
  synCookies: 'auto',
  maxTimeWait: 131072,
  timeWaitMs: 60_000,
  maxSegments: 65536,
  rcvBuf: 1 << 19,
  sndBuf: 1 << 19,
  bufStart: 65536,
  portMin: 1025,
  portMax: 65535,
  userTimeoutMs: 0,
  mssClamp: 0,
  ecn: 'passive',
  congestion: cubic,
};

/** What can be changed while connections exist. */
export type TcpTuning = Pick<
  TcpConfig,
  'ecn' | 'mssClamp' | 'userTimeoutMs' | 'synCookies' | 'maxHalfOpen' | 'timeWaitMs'
>;

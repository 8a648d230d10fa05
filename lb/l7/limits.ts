/** What a service's sessions are held to, as the proxy's parts see it. Set by src/workers through tcp-proxy.ts. */
import type { KeepAlive } from '../../stack/tcp/tcb.ts';
import type { Ipv4 } from '../../stack/types.ts';

/** A network of clients. */
export interface Network {
  readonly network: Ipv4;
  readonly prefixLen: number;
}

/** Limits of one service's sessions, in ms (0 = none, but for `connectMs`), and what is said before their data. */
export interface ProxyLimits {
  readonly connectMs: number;
  readonly clientMs: number;
  readonly serverMs: number;
  readonly finMs: number;
  /** How both ends of a session are asked whether they are there; null = not. Sessions that are open keep theirs. */
  readonly keepAlive: KeepAlive | null;
  /** Half-open connections of clients. */
  readonly maxHalfOpen: number;
  /** Further servers to try when connecting fails. */
  readonly retries: number;
  /** What servers are told about the client first: the PROXY protocol, in this version. */
  readonly announce: 'off' | 'v1' | 'v2';
  /** Who tells us about clients in the same way; everybody else is refused. Empty: connections begin with data. */
  readonly announcers: readonly Network[];
  /** How long a session may wait for a server with room, in ms; 0 = it is refused at once. */
  readonly queueMs: number;
}

export const contains = ({ network, prefixLen }: Network, addr: Ipv4): boolean =>
  prefixLen === 0 || (addr ^ network) >>> (32 - prefixLen) === 0;

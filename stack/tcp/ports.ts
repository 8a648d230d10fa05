/**
 * Local ports of the connections we open: found by hash (RFC 6056 §3.3.3), skipping those in use towards that peer. Among several
 * workers, only ports whose replies come to this one. Called by Tcp.connect.
 *
 * @hot
 */
import type { Steering } from '../steer/steering.ts';
import type { Ipv4 } from '../types.ts';
import type { Tcp } from './tcp.ts';
import { TW_BASE } from './timewait.ts';

/** Ports looked at before a connect is refused: the search goes on from there with the next one. */
const MAX_TRIES = 1024;

export class LocalPorts {
  /** Null with one worker. Set at composition. */
  steering: Steering | null = null;
  private readonly tcp: Tcp;
  private last = 0;

  constructor(tcp: Tcp) {
    this.tcp = tcp;
  }

  /** 0 = none left towards this peer, which is counted. */
  choose(laddr: Ipv4, raddr: Ipv4, rport: number): number {
    const { tcp, steering } = this;
    const { portMin, portMax } = tcp.config;
    const range = portMax - portMin + 1;
    const offset = tcp.secrets.portOffset(laddr, raddr, rport);
    const tries = Math.min(range, MAX_TRIES * (steering?.workers ?? 1));
    for (let i = 0; i < tries; i++) {
      const port = portMin + ((offset + this.last++) % range);
      if (steering !== null && !steering.isHome(laddr, port, raddr, rport)) continue;
      if (this.claim(laddr, port, raddr, rport) !== 0) return port;
    }
    tcp.stats.portsExhausted++;
    return 0;
  }

  /** `port` if this four-tuple is free, or in a TIME_WAIT that may be cut short; 0 if not. */
  claim(laddr: Ipv4, port: number, raddr: Ipv4, rport: number): number {
    const { tcp } = this;
    const value = tcp.flows.find(raddr, laddr, (rport << 16) | port);
    if (value === 0) return port;
    if (value < TW_BASE || !tcp.timeWait.reusable(value)) return 0;
    tcp.replacing(value);
    tcp.timeWait.remove(value);
    return port;
  }
}

/**
 * The answer to GET /v1/why: what would become of a packet, step by step. Part of api.ts, by whose rules it goes: names and
 * addresses are text. What the steps mean is in lb/why/steps.ts.
 */
import type { KeptOut, Rule } from '../../lb/why/steps.ts';
import type { SessionReply } from './api.ts';

/** GET /v1/why?from=10.0.0.7:40000&to=10.0.0.10:80, and proto, kind, link, size, ttl, df as needed. */
export interface WhyReply {
  readonly packet: {
    readonly proto: string;
    readonly from: string;
    readonly to: string;
    /** Where it comes in. */
    readonly link: string;
    /** SYN, ACK, echo request, echo reply, datagram */
    readonly kind: string;
    readonly bytes: number;
  };
  readonly steps: readonly WhyStep[];
  readonly outcome: WhyOutcome;
}

export interface WhyServer {
  readonly name: string;
  readonly address: string;
  readonly weight: number;
  /** In slow start less. */
  readonly weightNow: number;
  readonly active: number;
  readonly inactive: number;
  /** Why it gets no new connections; null = it may. */
  readonly keptOut: KeptOut | null;
  readonly backup: boolean;
  readonly chosen: boolean;
}

export type WhyStep =
  | {
      readonly at: 'connection';
      /** False: the packet belongs to none. */
      readonly known: boolean;
      readonly state?: string;
      readonly direction?: 'in' | 'out';
      readonly mode?: string;
      readonly service?: string;
      readonly server?: string;
      readonly ageMs?: number;
      readonly expiresMs?: number;
      readonly packetsIn?: number;
      readonly packetsOut?: number;
      readonly bytesIn?: number;
      readonly bytesOut?: number;
    }
  | { readonly at: 'end of connection'; readonly why: 'reused' | 'quiesced' }
  | {
      readonly at: 'service';
      readonly service: string;
      readonly rule: Rule;
      readonly mark: number;
      readonly mode: string;
    }
  | { readonly at: 'persistence'; readonly server: string; readonly holds: boolean; readonly expiresMs: number }
  | {
      readonly at: 'scheduler';
      readonly name: string;
      readonly reason: string;
      readonly byChance: boolean;
      /** Null: no server is to be had. */
      readonly server: string | null;
      readonly servers: readonly WhyServer[];
    }
  /** Port null: chosen by chance. */
  | { readonly at: 'local address'; readonly address: string; readonly port: number | null }
  | {
      readonly at: 'route';
      readonly to: string;
      readonly prefix: string;
      readonly gateway: string | null;
      readonly link: string;
      readonly mtu: number;
      readonly fragments: boolean;
    }
  | {
      readonly at: 'rewrite';
      readonly mode: string;
      readonly before: string;
      readonly after: string;
      /** The tunnel's addresses. */
      readonly outer: string | null;
      /** Added to sequence numbers on the way to the server. */
      readonly sequenceDelta: number;
    }
  | {
      readonly at: 'neighbour';
      readonly address: string;
      readonly link: string;
      readonly state: string;
      readonly mac: string | null;
    }
  /** A connection of the stack's own TCP; the session it is a part of, if it is. */
  | { readonly at: 'socket'; readonly state: string; readonly session: SessionReply | null };

export type WhyOutcome =
  | { readonly end: 'sent'; readonly link: string }
  /** The link gives what is not ours to the host. */
  | { readonly end: 'host'; readonly link: string }
  /** Until its next hop answers. */
  | { readonly end: 'waits'; readonly link: string }
  | { readonly end: 'local'; readonly what: 'proxy' | 'socket' | 'echo' | 'time-wait' | 'cookie' }
  | {
      readonly end: 'drop';
      readonly reason: string;
      readonly sentence: string;
      /** How the sender hears of it. */
      readonly told: 'reset' | 'icmp' | null;
    };

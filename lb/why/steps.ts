/**
 * What `why` (index.ts) is asked and what it answers: the steps that a packet would take now, one after the other, and how
 * it would end. Plain data in the units of the tables (addresses int32, ids of services, servers and ports), so that it can
 * travel between threads; src/control gives it names.
 */
import type { Ipv4, PortId } from '../../stack/types.ts';

export interface Asked {
  /** PROTO_TCP, PROTO_UDP or PROTO_ICMP. */
  readonly proto: number;
  readonly src: Ipv4;
  readonly dst: Ipv4;
  /** Of ICMP the identifier of an echo request, and 0. */
  readonly sport: number;
  readonly dport: number;
  /**
   * TCP: `first` is a bare SYN, `next` a segment with ACK. ICMP: an echo request or a reply. UDP knows no difference. `auto`: what
   * fits what is known of the flow.
   */
  readonly kind: 'auto' | 'first' | 'next';
  /** Where it comes in; 0 = where the route to its source goes out. */
  readonly iif: PortId;
  /** Of the IP packet. */
  readonly bytes: number;
  readonly df: boolean;
  readonly ttl: number;
}

/** Both ends of a packet; with ICMP the ports are those of proto/icmp.ts. */
export interface Tuple {
  readonly src: Ipv4;
  readonly sport: number;
  readonly dst: Ipv4;
  readonly dport: number;
}

/** A tracked connection. */
export interface ConnFacts {
  readonly proto: number;
  /** `in`: the packet goes to the server; `out`: it comes from there. */
  readonly direction: 'in' | 'out';
  readonly state: string;
  /** Of MODE_NAMES. */
  readonly mode: string;
  readonly service: number;
  readonly dest: number;
  readonly expiresMs: number;
  readonly ageS: number;
  readonly packetsIn: number;
  readonly packetsOut: number;
  readonly bytesIn: number;
  readonly bytesOut: number;
}

/** Why a server gets no connection; null = it may. */
export type KeptOut = 'removed' | 'maint' | 'drain' | 'down' | 'inhibited' | 'overloaded' | 'weight 0';

export interface ServerFacts {
  readonly dest: number;
  readonly weight: number;
  /** In slow start less. */
  readonly weightNow: number;
  readonly active: number;
  readonly inactive: number;
  readonly keptOut: KeptOut | null;
  /** Gets what no other takes. */
  readonly backup: boolean;
}

/** Which rule found the service. */
export type Rule = 'mark' | 'address and port' | 'all ports' | 'match' | 'listener';

export type Step =
  | { readonly at: 'arrival'; readonly port: PortId; readonly kind: 'first' | 'next' | '' }
  /** Null: none that is known. */
  | { readonly at: 'connection'; readonly conn: ConnFacts | null }
  /** The connection ends with this packet. */
  | { readonly at: 'end of connection'; readonly why: 'reused' | 'quiesced' }
  /** `value`: the mark of a service by mark. */
  | {
      readonly at: 'service';
      readonly service: number;
      readonly rule: Rule;
      readonly value: number;
      readonly mode: string;
    }
  | { readonly at: 'persistence'; readonly dest: number; readonly holds: boolean; readonly expiresMs: number }
  /** `dest` 0: none. `reason`: what the scheduler decides by, may be empty. */
  | {
      readonly at: 'scheduler';
      readonly name: string;
      readonly reason: string;
      readonly byChance: boolean;
      readonly dest: number;
      readonly servers: readonly ServerFacts[];
    }
  /** `port` 0: chosen by chance. */
  | { readonly at: 'local address'; readonly addr: Ipv4; readonly port: number }
  | {
      readonly at: 'route';
      readonly to: Ipv4;
      readonly prefix: Ipv4;
      readonly len: number;
      /** 0: none is needed. */
      readonly gateway: Ipv4;
      readonly port: PortId;
      readonly mtu: number;
      /** It is sent in pieces. */
      readonly fragments: boolean;
    }
  /** `delta`: added to sequence numbers to the server. `outer`: of the tunnel. */
  | {
      readonly at: 'rewrite';
      readonly mode: string;
      readonly before: Tuple;
      readonly after: Tuple;
      readonly outer: { readonly src: Ipv4; readonly dst: Ipv4 } | null;
      readonly delta: number;
    }
  /** `state` of neigh/state.ts; the address counts from STALE on. */
  | {
      readonly at: 'neighbour';
      readonly ip: Ipv4;
      readonly port: PortId;
      readonly state: number;
      readonly macHi: number;
      readonly macLo: number;
    }
  /** A connection of our own TCP, the proxy's or a health check's. */
  | { readonly at: 'socket'; readonly state: string };

export type End =
  | { readonly end: 'sent'; readonly port: PortId }
  /** Held until its next hop is known. */
  | { readonly end: 'waits'; readonly port: PortId }
  | { readonly end: 'local'; readonly what: 'proxy' | 'socket' | 'echo' | 'time-wait' | 'cookie' }
  /** The link gives it to the host's own stack. */
  | { readonly end: 'host'; readonly port: PortId }
  /** `told`: the sender hears of it. */
  | { readonly end: 'drop'; readonly reason: number; readonly told: 'reset' | 'icmp' | null };

export interface Answer {
  readonly asked: Asked;
  readonly steps: readonly Step[];
  readonly outcome: End;
}

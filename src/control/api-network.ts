/** Links, addresses, routes and neighbours as the control socket answers and takes them; conventions as in api.ts. */
import type { AddressRole } from '../config/own-addresses.ts';

export interface NeighReply {
  readonly neighbours: readonly NeighbourReply[];
}

export interface NeighbourReply {
  readonly address: string;
  readonly link: string;
  /** Null while nobody has told it. */
  readonly mac: string | null;
  readonly state: string;
  readonly static: boolean;
  /** Since it last proved to hear us; null if it never did. */
  readonly confirmedMs: number | null;
  /** Frames that wait for its address. */
  readonly queued: number;
}

/** POST and DELETE of /v1/neigh: a static neighbour, until tsvs ends. */
export interface NeighRequest {
  readonly address: string;
  readonly link: string;
  /** With POST. */
  readonly mac?: string;
}

export interface LinksReply {
  readonly links: readonly LinkReply[];
  /** Buffers of frames, of all links together. */
  readonly frames: { readonly inUse: number; readonly free: number };
}

export interface LinkReply {
  readonly name: string;
  readonly kind: string;
  readonly device: string;
  readonly mac: string;
  readonly mtu: number;
  readonly offload: 'on' | 'off';
  readonly up: boolean;
  readonly rxFrames: number;
  readonly rxBytes: number;
  readonly txFrames: number;
  readonly txBytes: number;
  /** Frames lost before they could be taken, and refused by the system. */
  readonly missed: number;
  readonly errors: number;
}

/** GET of /v1/ports: local addresses that connections of layer 4 leave from, those of SNAT included. */
export interface PortsReply {
  readonly addresses: readonly {
    readonly address: string;
    /** Ports, each of which serves several servers at once. */
    readonly used: number;
    readonly free: number;
    /** Times there was none for a server. */
    readonly misses: number;
  }[];
}

export interface AddressesReply {
  readonly addresses: readonly {
    readonly address: string;
    readonly prefixLen: number;
    readonly link: string;
    /** `local`: of [network] or a link; `service`: local address of a service; `vip`: of a service. */
    readonly role: AddressRole;
  }[];
}

/** DELETE of /v1/addresses, of one link, and of /v1/routes: all that somebody has added. */
export interface FlushRequest {
  readonly all: true;
  readonly link?: string;
}

/** POST and DELETE of /v1/addresses. */
export interface AddressRequest {
  /** `10.1.0.2/24`; without length a /32. */
  readonly address: string;
  readonly link: string;
}

export interface RoutesReply {
  readonly routes: readonly RouteReply[];
}

export interface RouteReply {
  readonly prefix: string;
  readonly prefixLen: number;
  /** Null: no router is needed. */
  readonly via: string | null;
  readonly link: string;
  readonly mtu: number;
  readonly scope: 'host' | 'link' | 'global';
}

/** POST and DELETE of /v1/routes, and PUT, which takes the place of a route to the same prefix; 0.0.0.0/0 is the default route. */
export interface RouteRequest {
  readonly prefix: string;
  readonly via?: string;
  readonly link?: string;
}

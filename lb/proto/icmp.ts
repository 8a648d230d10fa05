/**
 * ICMP queries as connections (RFC 792): echo, timestamp, information and address mask, each with a request and a reply type.
 * A query has no ports; so that a reply finds its request, request and reply are given pseudo ports: @hot
 *
 *   request   source port = identifier, destination port = type << 8 | code
 *   reply     source port = type of its request << 8 | code, destination port = identifier
 *
 * A reply's ports are thus those of its request, reversed, as with TCP and UDP. One host's queries of one kind are told apart by
 * identifier, so that a rewrite of the client's port (SNAT, FullNAT) is a rewrite of the identifier. Errors are no queries: they
 * belong to the connection they quote (lb/xmit).
 */
import type { Protocol } from './protocol.ts';

export const NONE = 0;
export const NORMAL = 1;

export const ICMP: Protocol = {
  number: 1,
  name: 'ICMP',
  states: ['NONE', 'NORMAL'],
  timeouts: { dpvs: [300, 300], lvs: [60, 60] },
  active: { dpvs: 0, lvs: 0 },
  settable: [],
};

/** By type: REQUEST, REPLY or 0, and the other type of the pair. */
const REQUEST = 1;
const REPLY = 2;
const KIND = new Uint8Array(256);
const INVERSE = new Uint8Array(256);

for (const [request, reply] of [
  [8, 0], // echo
  [13, 14], // timestamp
  [15, 16], // information
  [17, 18], // address mask
] as const) {
  KIND[request] = REQUEST;
  KIND[reply] = REPLY;
  INVERSE[request] = reply;
  INVERSE[reply] = request;
}

export const isRequest = (type: number): boolean => KIND[type] === REQUEST;
export const isReply = (type: number): boolean => KIND[type] === REPLY;
/** A request or a reply: it can be tracked. */
export const isQuery = (type: number): boolean => KIND[type] !== 0;
/** The other type of the pair. Precondition: `isQuery`. */
export const inverse = (type: number): number => INVERSE[type];

/** Both pseudo ports of a query in one word, source << 16 | destination. Precondition: `isQuery(type)`. */
export function ports(type: number, code: number, id: number): number {
  if (KIND[type] === REQUEST) return (id << 16) | (type << 8) | code;
  return (((INVERSE[type] << 8) | code) << 16) | id;
}

/** The state after any query. */
export const nextState = (): number => NORMAL;

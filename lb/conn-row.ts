/**
 * The row of a connection: one cache line, sixteen int32, with all that every packet needs. @hot
 * Everyone who handles packets (lb/core.ts, lb/xmit) reads rows as `rows[(row << ROW_SHIFT) + WORD]`. lb/conn.ts alone
 * writes the tuples, META's state and DUE; the other words say who writes them.
 *
 * A connection has two tuples, each being what an arriving packet has in its header (addresses int32 in host order, ports
 * source << 16 | destination), so that both are found by <source, destination, ports>:
 *
 *   IN   client to director    CADDR, VADDR, CVPORTS   client, virtual service
 *   OUT  server to director    RADDR, LADDR, RLPORTS   server, and whom it believes to talk to: the client, or with
 *                                                      FullNAT the local address
 *
 * With SNAT a host behind us opens the connection: CADDR is the server outside, VADDR our pool address, RADDR the host
 * inside, LADDR again the server outside. The hooks need no case for it: IN comes from outside, OUT from inside.
 * DR and TUN never see the server's packets: they are not indexed by OUT, whose words still name server and client.
 */

/** log2 of the words in a row. */
export const ROW_SHIFT = 4;
export const ROW_WORDS = 1 << ROW_SHIFT;

export const CADDR = 0;
export const VADDR = 1;
/** Client's port << 16 | virtual port. */
export const CVPORTS = 2;
export const RADDR = 3;
export const LADDR = 4;
/** Server's port << 16 | client's or local port. */
export const RLPORTS = 5;
/** Where each tuple begins; its three words are in the same order. */
export const IN_TUPLE = CADDR;
export const OUT_TUPLE = RADDR;
/** State, mode and flags, below. */
export const META = 6;
/** Row of the real server in lb/dest.ts, held (`connOpen`) for as long as the connection lives; 0 = none. */
export const DEST = 7;
/** Id of the service << 16 | what lb/xmit remembers of the way to the client: a neighbour 1..65535, 0 = look it up. */
export const SERVICE_HOP = 8;
/** Millisecond tick after which the connection is over, unless another packet comes first. */
export const DUE = 9;
/** Added to sequence numbers on the way in, taken from acknowledgments and SACK edges on the way out. Written by lb/xmit. */
export const SEQ_DELTA = 10;
/** Added to sequence numbers on the way out, taken from acknowledgments and SACK edges on the way in. Written by the SYN proxy. */
export const OUT_DELTA = 11;
/** With F_TIMESTAMPS, which F_SYNPROXY excludes: added to timestamps on the way in, taken from their echoes on the way out. Written by lb/xmit. */
export const TS_DELTA = OUT_DELTA;
/**
 * The server's last word, in its own numbers: the sequence number after its last segment, and its acknowledgment. With
 * F_SERVER_SEEN they are what resets to both ends must carry (RFC 5961: exactly these are believed). Written by lb/core.ts.
 */
export const SERVER_SEQ = 12;
export const SERVER_ACK = 13;
/** Packets << 21 | bytes since the last spill to conn-cold.ts, which alone reads and writes them. */
export const IN_COUNT = 14;
export const OUT_COUNT = 15;

// META, bits 0..3: the protocol's state (lb/proto).
export const STATE_MASK = 0xf;

// META, bits 4..6: forwarding mode.
export const MODE_SHIFT = 4;
export const MODE_MASK = 7 << MODE_SHIFT;
export const FNAT = 1;
export const NAT = 2;
export const DR = 3;
export const TUN = 4;
export const SNAT = 5;
/** Layer 7's connections that were handed down, sequence numbers shifted on both sides. */
export const SPLICE = 6;

export const MODE_NAMES = ['NONE', 'FNAT', 'NAT', 'DR', 'TUN', 'SNAT', 'SPLICE'] as const;

// META, bits 8..31: flags. First those lb/conn.ts writes.
/** Not a connection but a persistence template (conn-template.ts): in a table of their own. */
export const F_TEMPLATE = 1 << 8;
/** One-packet scheduling: in no index, without timer; whoever opened it closes it after the packet. */
export const F_ONE_PACKET = 1 << 9;
/** Counted as active at its server. */
export const F_ACTIVE = 1 << 10;
/** conn-cold.ts holds counts. */
export const F_SPILLED = 1 << 11;
/** Belongs to a template, which lives at least as long. */
export const F_CONTROLLED = 1 << 12;
/** In no index any more: a template that must not match again, shown with both ports 65535. */
export const F_INVALID = 1 << 13;
// Set by whoever opens it (`ConnSpec.flags`) or by the data path (`setFlags`).
/** Opened by a packet in direction OUT (SNAT). */
export const F_OPENED_OUT = 1 << 16;
/** SEQ_DELTA has been chosen; a SYN sent again keeps it. */
export const F_SEQ_SHIFTED = 1 << 17;
/** A segment of the server was seen: SERVER_SEQ and SERVER_ACK mean something. */
export const F_SERVER_SEEN = 1 << 18;
/** OUT_DELTA applies: the handshake was the SYN proxy's. */
export const F_SYNPROXY = 1 << 19;
/** LADDR and local port came from a pool (lb/laddr.ts) and go back to it. */
export const F_LOCAL_PORT = 1 << 20;
/** The client's address is still to be told to the server (TOA, UOA, PROXY). */
export const F_TELL_ADDR = 1 << 21;

/** Timestamps are translated (FullNAT): TS_DELTA has been chosen. Not for lb/fast. */
export const F_TIMESTAMPS = 1 << 22;

// What a lookup gives: row << 1 | direction. 0 = nothing found.
export const IN = 0;
export const OUT = 1;
export const rowOf = (hit: number): number => hit >> 1;
export const dirOf = (hit: number): number => hit & 1;

/** Why a connection ended, as its owner is told. */
export const END_EXPIRED = 1;
/** A fresh SYN took its tuple. */
export const END_REUSED = 2;
/** Its server is gone or drained, and the service says not to wait. */
export const END_QUIESCED = 3;
/** By the operator, or the worker ends. */
export const END_FLUSHED = 4;
/** A one-packet connection has done its work, or a new one could not be used after all. */
export const END_DONE = 5;

export const END_NAMES = ['', 'expired', 'reused', 'quiesced', 'flushed', 'done'] as const;

/** Modes in which the server's packets come through us, and both tuples are looked up. */
export const seesReplies = (mode: number): boolean => mode !== DR && mode !== TUN;

/** Modes in which both ends of an established TCP connection whose time is over are told so by a reset. */
export const resetsEnds = (mode: number): boolean => mode === FNAT || mode === NAT || mode === SNAT;

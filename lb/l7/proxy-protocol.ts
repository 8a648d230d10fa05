/**
 * The PROXY protocol (HAProxy, "The PROXY protocol, versions 1 & 2"): what a proxy says to the other side before anything
 * else, so that this knows who the client is.
 *
 * ```
 * v1  PROXY TCP4 192.0.2.1 192.0.2.10 40000 80\r\n           at most 107 bytes
 * v2  0D 0A 0D 0A 00 0D 0A 51 55 49 54 0A | 21 | 11 | 00 0C | src 4 | dst 4 | sport 2 | dport 2
 *     signature                    version, command | family | length | addresses, then TLVs
 * ```
 *
 * Read strictly: one spelling of each number, nothing missing, nothing beyond the limits. A header whose addresses are not
 * IPv4 over TCP (UNKNOWN, LOCAL, IPv6) is accepted where the specification says so, and the connection's own addresses
 * stand. TLVs are skipped. Called by header-reader.ts and relay.ts once per connection: cold.
 */
import type { Ipv4 } from '../../stack/types.ts';

export const V1_MAX = 107;
const V2_HEAD = 16;
const V2_INET = 12;
const V2_INET6 = 36;
const V2_UNIX = 216;
/** Longest header accepted: room for 2 KB of TLVs. */
export const HEADER_MAX = V2_HEAD + V2_UNIX + 2048;

const SIGNATURE = [0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a];
const VERSION_LOCAL = 0x20;
const VERSION_PROXY = 0x21;
const TCP4 = 0x11;
/** Bytes of addresses by address family, the upper half of the byte: unspecified, IPv4, IPv6, unix. */
const FAMILY_BYTES = [0, V2_INET, V2_INET6, V2_UNIX];
/** Transport protocols, the lower half: unspecified, stream, datagram. */
const LAST_TRANSPORT = 2;

/** Answers of `parse` that are not a length. */
export const INCOMPLETE = 0;
export const MALFORMED = -1;

/** Who talks to whom. */
export class Endpoints {
  src: Ipv4 = 0;
  dst: Ipv4 = 0;
  sport = 0;
  dport = 0;
  /** False when a header names nobody we could name: then the numbers mean nothing. */
  known = false;
}

// Writing

/** Bytes of the header for TCP over IPv4. */
export function header(version: 'v1' | 'v2', e: Endpoints): Uint8Array {
  return version === 'v1' ? headerV1(e) : headerV2(e);
}

function headerV1({ src, dst, sport, dport }: Endpoints): Uint8Array {
  return Uint8Array.from(`PROXY TCP4 ${dotted(src)} ${dotted(dst)} ${sport} ${dport}\r\n`, (c) => c.charCodeAt(0));
}

function headerV2({ src, dst, sport, dport }: Endpoints): Uint8Array {
  const words = [src >>> 16, src, dst >>> 16, dst, sport, dport];
  return Uint8Array.from([
    ...SIGNATURE,
    VERSION_PROXY,
    TCP4,
    0,
    V2_INET,
    ...words.flatMap((word) => [(word >>> 8) & 0xff, word & 0xff]),
  ]);
}

const dotted = (a: Ipv4): string => `${a >>> 24}.${(a >>> 16) & 255}.${(a >>> 8) & 255}.${a & 255}`;

// Reading

/**
 * Reads a header at the begin of `bytes[0 .. n)`: its length, and whom it names in `out`; INCOMPLETE when more bytes are
 * needed to tell, MALFORMED when no more bytes can make a header of it.
 */
export function parse(bytes: Uint8Array, n: number, out: Endpoints): number {
  out.known = false;
  if (n === 0) return INCOMPLETE;
  return bytes[0] === SIGNATURE[0] ? parseV2(bytes, n, out) : parseV1(bytes, n, out);
}

function parseV2(bytes: Uint8Array, n: number, out: Endpoints): number {
  for (let i = 0; i < SIGNATURE.length && i < n; i++) if (bytes[i] !== SIGNATURE[i]) return MALFORMED;
  const command = bytes[12];
  if (n > 12 && command !== VERSION_LOCAL && command !== VERSION_PROXY) return MALFORMED;
  const family = bytes[13] >>> 4;
  const transport = bytes[13] & 15;
  if (n > 13 && (family >= FAMILY_BYTES.length || transport > LAST_TRANSPORT)) return MALFORMED;
  if (n < V2_HEAD) return INCOMPLETE;
  const length = (bytes[14] << 8) | bytes[15];
  if (V2_HEAD + length > HEADER_MAX) return MALFORMED;
  // "The receiver must ignore the address" of a LOCAL connection, whatever it is.
  if (command === VERSION_PROXY && length < FAMILY_BYTES[family]) return MALFORMED;
  if (n < V2_HEAD + length) return INCOMPLETE;
  if (command === VERSION_PROXY && bytes[13] === TCP4) {
    out.src = word32(bytes, 16);
    out.dst = word32(bytes, 20);
    out.sport = (bytes[24] << 8) | bytes[25];
    out.dport = (bytes[26] << 8) | bytes[27];
    out.known = true;
  }
  return V2_HEAD + length;
}

const word32 = (b: Uint8Array, at: number): number => (b[at] << 24) | (b[at + 1] << 16) | (b[at + 2] << 8) | b[at + 3];

const PREFIX = 'PROXY ';

function parseV1(bytes: Uint8Array, n: number, out: Endpoints): number {
  let text = '';
  for (let i = 0; i < n && i < V1_MAX; i++) {
    text += String.fromCharCode(bytes[i]);
    if (i < PREFIX.length && bytes[i] !== PREFIX.charCodeAt(i)) return MALFORMED;
    if (bytes[i] === 10) return parseLine(text, out) ? i + 1 : MALFORMED;
  }
  return n >= V1_MAX ? MALFORMED : INCOMPLETE;
}

/** The whole line with its end. */
function parseLine(line: string, out: Endpoints): boolean {
  if (!line.endsWith('\r\n')) return false;
  const words = line.slice(PREFIX.length, -2).split(' ');
  // "The receiver must ignore anything presented before the CRLF."
  if (words[0] === 'UNKNOWN') return true;
  if (words.length !== 5) return false;
  const [protocol, src, dst, ...ports] = words;
  const [sport, dport] = ports.map(parsePort);
  if (sport < 0 || dport < 0) return false;
  if (protocol === 'TCP6') return isIpv6(src) && isIpv6(dst);
  if (protocol !== 'TCP4' || !isIpv4(src) || !isIpv4(dst)) return false;
  out.src = ipv4(src);
  out.dst = ipv4(dst);
  out.sport = sport;
  out.dport = dport;
  out.known = true;
  return true;
}

/** 0..65535 without leading zeros; -1 = none. */
function parsePort(text: string): number {
  return /^(0|[1-9]\d{0,4})$/.test(text) && Number(text) <= 0xffff ? Number(text) : -1;
}

const isIpv4 = (text: string): boolean => {
  const parts = text.split('.');
  return parts.length === 4 && parts.every((part) => /^(0|[1-9]\d{0,2})$/.test(part) && Number(part) <= 255);
};

const ipv4 = (text: string): Ipv4 => text.split('.').reduce((a, b) => (a << 8) | Number(b), 0);

/** RFC 4291 §2.2: eight groups, of which one run of zeros may be `::`; the last two may be an IPv4 address. */
function isIpv6(text: string): boolean {
  const halves = text.split('::');
  if (halves.length > 2) return false;
  const groups = halves.flatMap((half) => (half === '' ? [] : half.split(':')));
  const last = groups.at(-1) ?? '';
  const mapped = last.includes('.') && !text.endsWith('::') && isIpv4(last);
  const plain = mapped ? groups.slice(0, -1) : groups;
  if (!plain.every((group) => /^[0-9a-fA-F]{1,4}$/.test(group))) return false;
  const count = groups.length + (mapped ? 1 : 0);
  return halves.length === 2 ? count <= 7 : count === 8;
}

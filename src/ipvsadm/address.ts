/**
 * Addresses of both families as the commands of ipvsadm read and print them: IPv4 as lenient as inet_aton (octal, hexadecimal and
 * short forms), IPv6 as inet_pton and inet_ntop. Plain data, so that a table of them travels as JSON.
 */
import { isIPv6 } from 'node:net';

export type Family = 4 | 6;

/** `words`: one int32 in host order for IPv4, four for IPv6. */
export interface Address {
  readonly family: Family;
  readonly words: readonly number[];
}

export function ipv4(word: number): Address {
  return { family: 4, words: [word | 0] };
}

export function sameAddress(a: Address, b: Address): boolean {
  return a.family === b.family && a.words.every((word, i) => word === b.words[i]);
}

/** One to four parts, each decimal, octal (`010`) or hexadecimal (`0x10`); the last fills the rest. Null if it is none. */
export function parseIpv4Loosely(text: string): Address | null {
  const parts = text.replace(/[\s].*$/s, '').split('.');
  if (parts.length > 4) return null;
  const values = parts.map(readPart);
  const last = values.pop() ?? Number.NaN;
  let word = 0;
  for (const value of values) {
    if (!(value <= 255)) return null;
    word = word * 256 + value;
  }
  const room = 256 ** (4 - values.length);
  return last < room ? ipv4(word * room + last) : null;
}

function readPart(text: string): number {
  if (/^0[0-7]*$/.test(text)) return Number.parseInt(text, 8);
  if (/^([1-9]\d*|0x[\da-f]+)$/i.test(text)) return Number(text);
  return Number.NaN;
}

/** An IPv6 address without brackets or zone. Null if it is none. */
export function parseIpv6(text: string): Address | null {
  if (!isIPv6(text) || text.includes('%')) return null;
  const dotted = /^(.*:)(\d+)\.(\d+)\.(\d+)\.(\d+)$/.exec(text);
  const hex = (high: number, low: number): string => ((high << 8) | low).toString(16);
  const plain =
    dotted === null
      ? text
      : `${dotted[1]}${hex(Number(dotted[2]), Number(dotted[3]))}:${hex(Number(dotted[4]), Number(dotted[5]))}`;
  const [before = '', after] = plain.split('::');
  const groups = (part: string): number[] => (part === '' ? [] : part.split(':').map((g) => Number.parseInt(g, 16)));
  const head = groups(before);
  const tail = groups(after ?? '');
  const all = [...head, ...new Array<number>(8 - head.length - tail.length).fill(0), ...tail];
  return { family: 6, words: [0, 2, 4, 6].map((i) => ((all[i] ?? 0) << 16) | (all[i + 1] ?? 0)) };
}

export function formatAddress({ family, words }: Address): string {
  return family === 4 ? formatWord(words[0] ?? 0) : formatIpv6(words);
}

/** `10.0.1.100`, `[fd00::1]` */
export function bracketed(address: Address): string {
  return address.family === 4 ? formatAddress(address) : `[${formatAddress(address)}]`;
}

/** An int32 as a dotted quad; masks are printed with it too. */
export function formatWord(word: number): string {
  return [24, 16, 8, 0].map((shift) => (word >>> shift) & 255).join('.');
}

/** The longest run of at least two zero groups becomes `::` (RFC 5952 section 4.2); mapped and compatible addresses end in IPv4. */
function formatIpv6(words: readonly number[]): string {
  const groups = words.flatMap((word) => [word >>> 16, word & 0xffff]);
  let best = { start: -1, length: 1 };
  for (let start = 0; start < 8; start++) {
    let end = start;
    while (end < 8 && groups[end] === 0) end++;
    if (end - start > best.length) best = { start, length: end - start };
  }
  const compatible = best.start === 0 && (best.length === 6 || (best.length === 5 && groups[5] === 0xffff));
  if (compatible) return `${best.length === 6 ? '::' : '::ffff:'}${formatWord(words[3] ?? 0)}`;
  const hex = groups.map((group) => group.toString(16));
  if (best.start < 0) return hex.join(':');
  return `${hex.slice(0, best.start).join(':')}::${hex.slice(best.start + best.length).join(':')}`;
}

/** What may be a real server's address: no broadcast, multicast, unspecified or link-local one. */
export function isUnicast({ family, words }: Address): boolean {
  const first = words[0] ?? 0;
  if (family === 4) return first >>> 24 !== 0 && first >>> 28 !== 0xe && first !== -1;
  if (words.every((word) => word === 0)) return false;
  return first >>> 24 !== 0xff && first >>> 22 !== 0xfe80 >>> 6;
}

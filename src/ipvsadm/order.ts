/**
 * The order of listings. The real tool compares addresses and marks as differences of 32 bits, taken as signed, and sorts by merging:
 * kept as it is, so that listings compare equal line by line, also where that order is odd (200.0.1.100 comes before 9.0.1.100).
 */
import type { Address } from './address.ts';
import type { Dest, Service } from './table.ts';

const PROTOCOL_NUMBER = { icmp: 1, tcp: 6, udp: 17, icmpv6: 58, sctp: 132 } as const;

/** By mark, family, protocol number, address, port; services without a mark have mark 0. */
export function sortServices(services: readonly Service[]): Service[] {
  const keys = new Map(services.map((service) => [service, keyOf(service)]));
  return mergeSort(services, (a, b) => compareWords(keys.get(a) ?? [], keys.get(b) ?? []));
}

/** By family, address, port. */
export function sortDests(dests: readonly Dest[]): Dest[] {
  return mergeSort(dests, (a, b) => compareWords(endpointKey(a), endpointKey(b)));
}

function keyOf({ id }: Service): number[] {
  switch (id.kind) {
    case 'fwmark':
      return [id.mark | 0, id.family, PROTOCOL_NUMBER.tcp];
    case 'match':
      return [0, id.family, id.protocol === 'any' ? 0 : PROTOCOL_NUMBER[id.protocol]];
    case 'address':
      return [0, id.address.family, PROTOCOL_NUMBER[id.protocol], ...id.address.words, id.port];
  }
}

const endpointKey = ({ address, port }: { address: Address; port: number }): number[] => [
  address.family,
  ...address.words,
  port,
];

function compareWords(a: readonly number[], b: readonly number[]): number {
  for (let i = 0; i < Math.max(a.length, b.length); i++) {
    const difference = ((a[i] ?? 0) - (b[i] ?? 0)) | 0;
    if (difference !== 0) return difference;
  }
  return 0;
}

/** Stable, and defined even though the comparison is not transitive: halves first, the earlier half's element wins a tie. */
function mergeSort<T>(items: readonly T[], compare: (a: T, b: T) => number): T[] {
  if (items.length < 2) return [...items];
  const middle = items.length >> 1;
  const left = mergeSort(items.slice(0, middle), compare);
  const right = mergeSort(items.slice(middle), compare);
  const merged: T[] = [];
  for (let l = 0, r = 0; l < left.length || r < right.length; ) {
    const takeLeft = r === right.length || (l < left.length && compare(left[l] as T, right[r] as T) <= 0);
    merged.push((takeLeft ? left[l++] : right[r++]) as T);
  }
  return merged;
}

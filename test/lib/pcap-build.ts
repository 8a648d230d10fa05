/** Capture files byte by byte, for tests of the reader: any byte order, any interface, deliberately damaged. */

export interface Record {
  readonly seconds: number;
  /** Micro- or nanoseconds, as the file's magic says. */
  readonly fraction: number;
  readonly bytes: Uint8Array;
  readonly original?: number;
}

/** An integer of 1, 2, 4 or 8 bytes in the file's byte order. */
export class Order {
  readonly little: boolean;

  constructor(little: boolean) {
    this.little = little;
  }

  u16(v: number): number[] {
    return this.turn([v & 255, (v >> 8) & 255]);
  }

  u32(v: number): number[] {
    return this.turn([v & 255, (v >> 8) & 255, (v >> 16) & 255, (v >>> 24) & 255]);
  }

  i64(v: bigint): number[] {
    return this.turn(Array.from({ length: 8 }, (_, i) => Number((BigInt.asUintN(64, v) >> BigInt(8 * i)) & 255n)));
  }

  private turn(bytes: number[]): number[] {
    return this.little ? bytes : bytes.reverse();
  }
}

/** A pcap file. `magic` is 0xa1b2c3d4 for microseconds, 0xa1b23c4d for nanoseconds. */
export function pcap(order: Order, magic: number, linkType: number, records: readonly Record[]): Uint8Array {
  const out = [...order.u32(magic), ...order.u16(2), ...order.u16(4), ...order.u32(0), ...order.u32(0)];
  out.push(...order.u32(65535), ...order.u32(linkType));
  for (const { seconds, fraction, bytes, original = bytes.length } of records) {
    out.push(
      ...order.u32(seconds),
      ...order.u32(fraction),
      ...order.u32(bytes.length),
      ...order.u32(original),
      ...bytes,
    );
  }
  return Uint8Array.from(out);
}

const padded = (bytes: ArrayLike<number>): number[] => {
  const out = Array.from(bytes);
  while (out.length % 4 !== 0) out.push(0);
  return out;
};

/** A pcapng block of any type. */
export function block(order: Order, type: number, body: ArrayLike<number>): number[] {
  const content = padded(body);
  const length = order.u32(content.length + 12);
  return [...order.u32(type), ...length, ...content, ...length];
}

export const section = (order: Order): number[] =>
  block(order, 0x0a0d0d0a, [
    ...order.u32(0x1a2b3c4d),
    ...order.u16(1),
    ...order.u16(0),
    ...order.u32(-1),
    ...order.u32(-1),
  ]);

/** `options`: code and value pairs. */
export function iface(
  order: Order,
  linkType: number,
  snap: number,
  options: readonly [number, number[]][] = [],
): number[] {
  const body = [...order.u16(linkType), ...order.u16(0), ...order.u32(snap)];
  for (const [code, value] of options) body.push(...order.u16(code), ...order.u16(value.length), ...padded(value));
  if (options.length > 0) body.push(...order.u32(0));
  return block(order, 1, body);
}

/** An enhanced packet block. `time` is in units of the interface. */
export function enhanced(order: Order, index: number, time: bigint, bytes: Uint8Array): number[] {
  const high = order.u32(Number(time >> 32n));
  const low = order.u32(Number(time & 0xffffffffn));
  const sizes = [...order.u32(bytes.length), ...order.u32(bytes.length)];
  return block(order, 6, [...order.u32(index), ...high, ...low, ...sizes, ...bytes]);
}

/** A simple packet block; `original` may exceed what is captured. */
export const simple = (order: Order, original: number, bytes: Uint8Array): number[] =>
  block(order, 3, [...order.u32(original), ...bytes]);

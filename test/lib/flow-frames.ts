/** Frames about whose owner programs in the kernel and the stack agree: all but ICMP errors and ports behind IP options. */
import fc from 'fast-check';

const be16 = (v: number): number[] => [v >> 8, v & 255];
const byte = fc.integer({ min: 0, max: 255 });
const address = fc.tuple(byte, byte, byte, byte);
const port = fc.integer({ min: 0, max: 65535 });

/** A frame: TCP, UDP, echo, something else, whole or a fragment, IPv4 or not. */
export const flowFrames = fc
  .record({
    ...{ src: address, dst: address, sport: port, dport: port },
    proto: fc.constantFrom(6, 17, 1, 47),
    fragment: fc.constantFrom(0, 0, 0, 0x4000, 0x2000, 7),
    echo: fc.constantFrom(0, 8),
    type: fc.constantFrom(0x0800, 0x0800, 0x0800, 0x86dd, 0x88b5),
  })
  .map(({ src, dst, sport, dport, proto, fragment, echo, type }) => {
    const l4 =
      proto === 1 ? [echo, 0, 0, 0, ...be16(sport), ...be16(dport)] : [...be16(sport), ...be16(dport), 0, 8, 0, 0];
    const ip = [0x45, 0, 0, 28, 0, 1, ...be16(fragment), 64, proto, 0, 0, ...src, ...dst];
    return Uint8Array.from([
      ...[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2],
      ...be16(type),
      ...ip,
      ...l4,
      ...new Array(18).fill(0),
    ]);
  });

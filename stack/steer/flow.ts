/**
 * Which worker a flow belongs to, told by its addresses and ports alone, the same for both directions and for everybody who asks: the
 * worker that receives a frame, the one that chooses the local port of a connection, a program in the kernel.
 *
 *     owner = (a(src) + a(dst) + p(sport) + p(dport)) mod workers
 *
 * a and p are multiplications that keep the upper bits (Knuth, The Art of Computer Programming, volume 3, §6.4). As the terms are added, the ports
 * that bring a reply home can be listed: those with p(port) mod workers = whatever is missing. @hot
 */
import type { Ipv4 } from '../types.ts';

/** Of an address, 0..4095. */
export const ofAddress = (addr: Ipv4): number => Math.imul(addr, 0x85ebca6b) >>> 20;

/** Of a port or an ICMP identifier, 0..4095. */
export const ofPort = (port: number): number => Math.imul(port, 0x9e3779b1) >>> 20;

/** `ports`: source << 16 | destination; either order gives the same. */
export const ownerOfFlow = (src: Ipv4, dst: Ipv4, ports: number, workers: number): number =>
  (ofAddress(src) + ofAddress(dst) + ofPort(ports >>> 16) + ofPort(ports & 0xffff)) % workers;

/** For what has no ports, or does not show them: fragments, other protocols. */
export const ownerOfPair = (src: Ipv4, dst: Ipv4, workers: number): number =>
  (ofAddress(src) + ofAddress(dst)) % workers;

/** The group of local ports whose replies from this peer come home to `worker`: `ofPort(port) % workers` is that. */
export function homeGroup(worker: number, workers: number, laddr: Ipv4, raddr: Ipv4, rport: number): number {
  const rest = (ofAddress(laddr) + ofAddress(raddr) + ofPort(rport)) % workers;
  return (worker - rest + workers) % workers;
}

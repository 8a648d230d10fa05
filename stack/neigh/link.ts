/**
 * What the neighbour modules need of the ports below them: netif fulfils it, tests fake it.
 */
import type { FrameId, PortId, Verdict } from '../types.ts';

export interface Link {
  /** Queues a complete Ethernet frame: STOLEN, or DROP|reason and the frame stays the caller's. */
  transmit(frame: FrameId, port: PortId): Verdict;
  /** The port's own MAC address: first 2 bytes, last 4. */
  macHi(port: PortId): number;
  macLo(port: PortId): number;
}

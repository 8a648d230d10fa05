/**
 * The contract every link fulfils: a driver moves frames between a device and the pool, in bursts, and knows no
 * protocol. Drivers live in src/links (they need system calls); the in-memory wire is in netif/memory.ts; middleware
 * wraps one device in another of the same contract.
 *
 * Ownership: `rx` allocates frames and gives them to the caller. `tx` takes the first k frames it returns as accepted
 * and calls `ctx.sent(f)` for each once its bytes have left (at once for a link that copies, later for one that sends
 * in place), or `ctx.settle(f, DROP|reason)` where the system refuses one. Frames beyond k stay with the caller.
 * @hot
 */

import type { Ipv4 } from '../types.ts';

export interface Capabilities {
  /** Largest layer-3 packet in bytes (the MTU), without segmentation offload. That of an interface may change at any time. */
  readonly mtu: number;
  /** tx completes partial layer-4 checksums (F_CSUM_PARTIAL); otherwise netif does before tx. */
  readonly txChecksum: boolean;
  /** rx may deliver F_CSUM_PARTIAL or F_CSUM_VALID frames. Informative. */
  readonly rxChecksum: boolean;
  /** tx takes GSO_TCPV4 frames up to 64 KB; otherwise netif cuts them first. */
  readonly tso: boolean;
  /** tx takes frames with a payload slice (frag); otherwise netif makes them linear first. */
  readonly scatter: boolean;
  /** Number of queues; a worker uses one of each port. */
  readonly queues: number;
}

/** Of a device that changes its MTU. Whoever wraps it has the same object. */
export type ChangingCapabilities = Omit<Capabilities, 'mtu'> & { mtu: number };

export interface DeviceStats {
  rxFrames: number;
  rxBytes: number;
  txFrames: number;
  txBytes: number;
  /** Frames lost before `rx` could take them, as far as the system tells: its buffer was full. */
  missed: number;
  /** Times the device refused or failed a frame, by errno name; cold. */
  errors: Record<string, number>;
}

export interface Device {
  /** As given on the command line: `tap:tap0`, `memory:client`. */
  readonly name: string;
  readonly caps: Capabilities;
  readonly stats: DeviceStats;
  /** File descriptor to poll for input, -1 when there is none. It may change at any time. */
  readonly fd: number;
  /** Further descriptors to poll for input, for a device that has several; as `fd`. The array stays the same. */
  readonly moreFds?: Int32Array;
  /** False while there is no link (unplugged, set down, no peer, closed): rx gives nothing, tx takes nothing. */
  readonly up: boolean;
  /** The device comes back by itself when `up` is false: `rx` looks for it. Absent: what is down is gone for good. */
  readonly revives?: boolean;
  /** What an operator should know of the device beyond `up`, in one sentence; empty or absent: nothing. Cold. */
  readonly notice?: string;
  /**
   * Milliseconds (rounded up) until the device has something to do without new input, such as releasing a delayed frame;
   * -1 or absent: nothing. `rx` and `tx` do what is due. The loop sleeps no longer than this.
   */
  readonly nextDueMs?: number;
  /** Frames it has taken and not let go of yet: on their way out in place, or delayed on purpose. Absent: none, ever. Cold. */
  readonly held?: number;
  /**
   * Called right before the loop sleeps: arms whatever will wake it (an interrupt, a need-wakeup flag), and only then looks
   * whether input is there already. False = it is, do not sleep. `rx` disarms. Absent: polling the descriptors is enough.
   */
  prepareSleep?(): boolean;
  /** An address became ours (or is no longer): for links that share an interface with the kernel and are told whose is what. */
  claim?(addr: Ipv4, ours: boolean): void;
  /** Whether IPv4 packets to our MAC address and `dst` come out of `rx`. Absent: all do. Cold. */
  brings?(dst: Ipv4): boolean;
  /** Fills `out[0..n)` with received frames (off, len, flags, gso and checksum metadata set) and returns n <= max. */
  rx(out: Int32Array, max: number): number;
  /** Sends `frames[from..to)`; returns how many were accepted, counted from `from`. */
  tx(frames: Int32Array, from: number, to: number): number;
  /** Gives every frame still held back to the context and frees what the device holds. Further calls do nothing. */
  close(): void;
}

export const BURST = 64;

/** Bytes that may come on top of the MTU: an Ethernet header and one VLAN tag. */
export const FRAME_OVERHEAD = 18;

/** `moreFds` of a device that has none. */
export const NO_FDS = new Int32Array(0);

export const newStats = (): DeviceStats => ({
  rxFrames: 0,
  rxBytes: 0,
  txFrames: 0,
  txBytes: 0,
  missed: 0,
  errors: {},
});

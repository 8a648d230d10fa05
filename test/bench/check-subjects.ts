/** What of the stack and the balancer is checked in memory (check.ts), and how much of it. */
import { OFFLOAD_WIRE, PLAIN_WIRE } from '../../stack/netif/memory.ts';
import { echo } from './echo.ts';
import { forwarding } from './forward.ts';
import { LAYER4, merging, opening, passing } from './l4.ts';
import { bulk } from './tcp-memory.ts';

export interface Counted {
  /** Heap bytes per million operations. */
  readonly bytes: number;
  /** Functions that were deoptimised after the warm-up, and why; one as often as it happened. */
  readonly deoptimised: readonly string[];
}

export interface Subject {
  /** Makes what does n operations. */
  readonly make: () => (n: number) => void;
  /** Operations of the shorter run. */
  readonly n: number;
}

const FLOWS = 1 << 10;

export const SUBJECTS: Readonly<Record<string, Subject>> = {
  ping: { make: echo, n: 100_000 },
  'TCP, mtu 1500': { make: () => bulk(PLAIN_WIRE), n: 50_000 },
  'TCP, gso': { make: () => bulk(OFFLOAD_WIRE), n: 500_000 },
  'IPv4 forwarding': { make: () => forwarding(FLOWS), n: 200_000 },
  ...Object.fromEntries(
    LAYER4.map(({ name, mode, proto }) => [name, { make: () => passing(mode, FLOWS, proto), n: 200_000 }]),
  ),
  'FullNAT, segments merged': { make: merging, n: 200_000 },
  'new connections': { make: opening, n: 10_000 },
};

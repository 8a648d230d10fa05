/**
 * What a memif client has brought to our server: regions, which worker 0 has mapped, and rings within them. Worker 0 writes it while
 * there is no connection (memif-connection.ts), and all workers read it while there is one.
 *
 * Layout: three counts, then numbers of 64 bits: (address, bytes) for each region, (region, offset, log2, descriptor) for each ring, of which
 * those from the client come first.
 */
import type { RingPlace } from './memif-message.ts';

/** A client with 16 workers brings 17. */
export const MAX_REGIONS = 32;
const COUNTS = 4;
const REGION = 2;
const RING = 4;

export interface BroughtRegion {
  readonly address: number;
  readonly size: number;
}

export interface BroughtRing {
  readonly region: number;
  readonly offset: number;
  readonly log2: number;
  /** The descriptor of its interrupts. */
  readonly interrupt: number;
}

/** For as many queues. */
export const broughtMemory = (queues: number): SharedArrayBuffer =>
  new SharedArrayBuffer((COUNTS + MAX_REGIONS * REGION + queues * 2 * RING) * 8);

export class MemifBrought {
  private readonly words: Float64Array;
  private readonly most: number;

  constructor(memory: SharedArrayBuffer, queues: number) {
    this.words = new Float64Array(memory);
    this.most = queues;
  }

  clear(): void {
    this.words.fill(0, 0, COUNTS);
  }

  addRegion({ address, size }: BroughtRegion): void {
    const { words } = this;
    words.set([address, size], COUNTS + words[0]! * REGION);
    words[0]! += 1;
  }

  /** Precondition: there is room for it. */
  addRing({ toServer, region, offset, log2 }: RingPlace, interrupt: number): void {
    const kind = toServer ? 1 : 2;
    this.words.set([region, offset, log2, interrupt], this.ringAt(toServer, this.words[kind]!));
    this.words[kind]! += 1;
  }

  private ringAt(fromClient: boolean, i: number): number {
    return COUNTS + MAX_REGIONS * REGION + (i + (fromClient ? 0 : this.most)) * RING;
  }

  regions(): BroughtRegion[] {
    const { words } = this;
    return Array.from({ length: words[0]! }, (_, i) => {
      const [address = 0, size = 0] = words.subarray(COUNTS + i * REGION);
      return { address, size };
    });
  }

  rings(fromClient: boolean): BroughtRing[] {
    const { words } = this;
    return Array.from({ length: words[fromClient ? 1 : 2]! }, (_, i) => {
      const [region = 0, offset = 0, log2 = 0, interrupt = -1] = words.subarray(this.ringAt(fromClient, i));
      return { region, offset, log2, interrupt };
    });
  }
}

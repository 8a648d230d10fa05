/**
 * What of each link other threads may see: state, MAC address, frames and bytes. The worker copies it to shared memory now and then,
 * beside the counters (stats.ts); the control socket reads it (src/control/network.ts).
 */
import type { Port } from '../../stack/netif/port.ts';

/** Float64 per link. */
const WORDS = 9;
/** Of which counts are those from here on. */
const COUNTS = 3;

export interface LinkNumbers {
  readonly up: boolean;
  readonly macHi: number;
  readonly macLo: number;
  readonly rxFrames: number;
  readonly rxBytes: number;
  readonly txFrames: number;
  readonly txBytes: number;
  /** Lost before we could take them; refused by the device. */
  readonly missed: number;
  readonly errors: number;
}

export const linkMemory = (links: number): SharedArrayBuffer => new SharedArrayBuffer(links * WORDS * 8);

export class LinkStats {
  private readonly words: Float64Array;
  /** What a worker counted that has died, and whose memory this was. */
  private readonly before: Float64Array;

  constructor(memory: SharedArrayBuffer) {
    this.words = new Float64Array(memory);
    this.before = this.words.slice();
  }

  publish(ports: readonly Port[]): void {
    ports.forEach(({ device, macHi, macLo }, i) => {
      const { rxFrames, rxBytes, txFrames, txBytes, missed, errors } = device.stats;
      const failed = Object.values(errors).reduce((sum, n) => sum + n, 0);
      const at = i * WORDS;
      this.words.set([Number(device.up), macHi, macLo], at);
      [rxFrames, rxBytes, txFrames, txBytes, missed, failed].forEach((n, k) => {
        this.words[at + COUNTS + k] = n + this.before[at + COUNTS + k]!;
      });
    });
  }

  /** Of the link with this index. */
  read(index: number): LinkNumbers {
    const at = (word: number): number => this.words[index * WORDS + word]!;
    return {
      ...{ up: at(0) !== 0, macHi: at(1), macLo: at(2), rxFrames: at(3), rxBytes: at(4) },
      ...{ txFrames: at(5), txBytes: at(6), missed: at(7), errors: at(8) },
    };
  }
}

/**
 * What of each link other threads may see: state, MAC address, frames and bytes. The worker copies it to shared memory now and then,
 * beside the counters (stats.ts); the control socket reads it (src/control/network.ts).
 */
import type { Port } from '../../stack/netif/port.ts';

/** Float64 per link. */
const WORDS = 9;

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

  constructor(memory: SharedArrayBuffer) {
    this.words = new Float64Array(memory);
  }

  publish(ports: readonly Port[]): void {
    ports.forEach(({ device, macHi, macLo }, i) => {
      const { rxFrames, rxBytes, txFrames, txBytes, missed, errors } = device.stats;
      const failed = Object.values(errors).reduce((sum, n) => sum + n, 0);
      this.words.set(
        [Number(device.up), macHi, macLo, rxFrames, rxBytes, txFrames, txBytes, missed, failed],
        i * WORDS,
      );
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

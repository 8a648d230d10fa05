/**
 * What of each link other threads may see: state, MAC address, frames and bytes. The worker copies it to shared memory now and then,
 * beside the counters (stats.ts); the control socket reads it (src/control/network.ts).
 */
import type { Port } from '../../stack/netif/port.ts';
import type { RemoteState } from '../../stack/steer/handover.ts';

/** Float64 per link. */
const WORDS = 10;
/** The fourth. */
const MTU = 3;
/** Of which counts are those from here on. */
const COUNTS = 4;

export interface LinkNumbers {
  readonly up: boolean;
  readonly macHi: number;
  readonly macLo: number;
  /** Of the interface, in bytes. */
  readonly mtu: number;
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
      this.words.set([Number(device.up), macHi, macLo, device.caps.mtu], at);
      [rxFrames, rxBytes, txFrames, txBytes, missed, failed].forEach((n, k) => {
        this.words[at + COUNTS + k] = n + this.before[at + COUNTS + k]!;
      });
    });
  }

  /** What a worker has to know at any time of a link that this one drives for it; `mtu` until that has told. @hot */
  of(index: number, mtu: number): RemoteState {
    const { words } = this;
    const at = index * WORDS;
    return {
      get up() {
        return words[at] !== 0;
      },
      get mtu() {
        return words[at + MTU] || mtu;
      },
    };
  }

  /** Of the link with this index. */
  read(index: number): LinkNumbers {
    const at = (word: number): number => this.words[index * WORDS + word]!;
    return {
      ...{ up: at(0) !== 0, macHi: at(1), macLo: at(2), mtu: at(3), rxFrames: at(4), rxBytes: at(5) },
      ...{ txFrames: at(6), txBytes: at(7), missed: at(8), errors: at(9) },
    };
  }
}

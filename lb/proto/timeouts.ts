/**
 * How long connections of one protocol may be silent, by state: the profile's seconds, changed for all
 * (`set`, as `ipvsadm --set`) or for one service (`setService`, as `--conn-timeout`). A change is felt by each
 * connection with its next packet. `of` is @hot: per packet, two loads. The rest is control.
 */
import { type Profile, type Protocol, STATES } from './protocol.ts';

/** The longest timeout that can be asked for, seconds: one less than a year. */
export const MAX_TIMEOUT_S = 31_535_999;
/** The longest that is kept, milliseconds: what the ticks of the tables can hold, 24 days and 20 hours. */
export const MAX_KEPT_MS = 2_147_000_000;

export class Timeouts {
  readonly protocol: Protocol;
  /** Seconds for everyone, by state. */
  private readonly seconds: Int32Array;
  /** Seconds by service. */
  private readonly services = new Map<number, number>();
  /** Milliseconds: a row of STATES for everyone, then one for each service that has its own. */
  private ms = new Int32Array(STATES);
  /** Where the service's row begins. */
  private readonly rowOf: Int32Array;

  constructor(protocol: Protocol, profile: Profile, maxServices: number) {
    this.protocol = protocol;
    this.seconds = Int32Array.from(protocol.timeouts[profile]);
    this.rowOf = new Int32Array(maxServices + 1);
    this.compile();
  }

  /** Milliseconds for a connection of the service that is in `state`. */
  of(service: number, state: number): number {
    return this.ms[this.rowOf[service] + state];
  }

  /** Seconds for everyone. */
  get(state: number): number {
    return this.seconds[state]!;
  }

  /** For everyone whose service has no timeout of its own. Throws RangeError. */
  set(state: number, seconds: number): void {
    if (this.protocol.states[state] === undefined) throw new RangeError(`${this.protocol.name} has no state ${state}`);
    this.seconds[state] = checked(seconds);
    this.compile();
  }

  /** What the service has chosen, 0 = nothing. */
  getService(service: number): number {
    return this.services.get(service) ?? 0;
  }

  /** For the `settable` states of one service; 0 seconds = as everyone. Throws RangeError. */
  setService(service: number, seconds: number): void {
    if (!(service > 0 && service < this.rowOf.length)) throw new RangeError(`service ${service}`);
    if (seconds === 0) this.services.delete(service);
    else this.services.set(service, checked(seconds));
    this.compile();
  }

  private compile(): void {
    const everyone = this.seconds.map(toMs);
    const ms = new Int32Array((this.services.size + 1) * STATES);
    ms.set(everyone);
    this.rowOf.fill(0);
    let row = 0;
    for (const [service, seconds] of this.services) {
      row += STATES;
      ms.set(everyone, row);
      for (const state of this.protocol.settable) ms[row + state] = toMs(seconds);
      this.rowOf[service] = row;
    }
    this.ms = ms;
  }
}

function toMs(seconds: number): number {
  return Math.min(seconds * 1000, MAX_KEPT_MS);
}

function checked(seconds: number): number {
  if (Number.isInteger(seconds) && seconds >= 1 && seconds <= MAX_TIMEOUT_S) return seconds;
  throw new RangeError(`a timeout of ${seconds} s: it takes 1 to ${MAX_TIMEOUT_S}`);
}

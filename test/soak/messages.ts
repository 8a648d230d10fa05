/**
 * What the soak and its peer process tell each other, over a channel of their own beside the network under test.
 */
import type { Plans } from './plan.ts';

/** From the soak to the peer. */
export type Order =
  /** Listens on `address`; what listened before is closed. */
  | {
      readonly type: 'listen';
      readonly address: string;
      readonly port: number;
      readonly plans: Plans;
    }
  /** Opens connection `n`. */
  | { readonly type: 'open'; readonly n: number; readonly address: string; readonly port: number };

/** How one end of a connection fared. */
export interface Outcome {
  /** The connection's number; -1 where it was not known when the end came. */
  readonly n: number;
  /** `normal`, `aborted` (it did the resetting), `reset`, `refused`, or what else the system called it. */
  readonly how: string;
  readonly sent: number;
  readonly received: number;
  /** It saw the other side's FIN. */
  readonly fin: boolean;
  /** Position of the first wrong byte received; -1 = none. */
  readonly wrongAt: number;
}

/** From the peer to the soak. */
export type Report =
  | { readonly type: 'listening' }
  /** `tsvsPort` is the port on our side. */
  | { readonly type: 'end'; readonly outcome: Outcome; readonly tsvsPort: number; readonly kernelPort: number };

/** Services of layer 4 for tests and benchmarks. */
import type { L4Service } from '../../lb/l4.ts';

/** A service of this mode (conn-row.ts), with `more`; what is not said is as the configuration has it by default. */
export const layer4Service = (mode: number, more: Partial<L4Service> = {}): L4Service => ({
  mode,
  localAddresses: [],
  inTurn: true,
  mss: 0,
  translatesTimestamps: false,
  timeoutS: 0,
  expireQuiescent: 'off',
  persistence: null,
  onePacket: false,
  byConnectionId: false,
  fragments: 'reassemble',
  ...more,
});

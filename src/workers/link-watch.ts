/**
 * Watches the links of a worker: tells when one goes down, comes back, or has something an operator should know, and whether
 * there is any left. Cold; the worker asks at each housekeeping.
 */
import type { Device } from '../../stack/netif/device.ts';
import type { WorkerEvent } from './events.ts';

export class LinkWatch {
  private readonly devices: readonly Device[];
  private readonly changed: (down: number) => void;
  private readonly tell: (event: WorkerEvent) => void;
  /** As it was told; nothing is told of a link that is up from the start. */
  private readonly up: boolean[];
  /** As routes have it, which were made just before us. */
  private readonly routed: boolean[];
  private readonly notices: string[];

  /** `changed` is called when links have gone down, so many of them, or come back: routes follow. */
  constructor(devices: readonly Device[], changed: (down: number) => void, tell: (event: WorkerEvent) => void) {
    this.devices = devices;
    this.changed = changed;
    this.tell = tell;
    this.up = devices.map(() => true);
    this.routed = devices.map(({ up }) => up);
    this.notices = devices.map(() => '');
  }

  /** False when every link is gone for good. */
  look(): boolean {
    let left = false;
    let changes = 0;
    let down = 0;
    for (const [i, device] of this.devices.entries()) {
      const { name, up, revives = false, notice = '' } = device;
      if (up || revives) left = true;
      if (notice !== this.notices[i]) {
        this.notices[i] = notice;
        if (notice !== '') this.tell({ type: 'linkNotice', name, notice });
      }
      if (up !== this.routed[i]) changes++;
      this.routed[i] = up;
      if (up === this.up[i]) continue;
      this.up[i] = up;
      if (up) this.tell({ type: 'linkUp', name });
      else {
        down++;
        this.tell({ type: revives ? 'linkDown' : 'linkGone', name });
      }
    }
    if (changes > 0) this.changed(down);
    return left;
  }
}

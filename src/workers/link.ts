/**
 * Links by name: `tap:tap0`. Opened in the main thread, where privileges and error messages are; driven in the worker.
 */
import type { Context } from '../../stack/context.ts';
import type { Device } from '../../stack/netif/device.ts';
import { Fault } from '../../stack/netif/middleware/fault.ts';
import type { LinkConfig } from '../config/model.ts';
import { LinkError } from '../links/syscall.ts';
import { TapDevice } from '../links/tap.ts';
import { openTap, type TapHandle } from '../links/tap-open.ts';
import type { FaultPlan } from './plan.ts';
import { SeededRandom } from './seeded.ts';

/** Frames that faults may hold back per direction, duplicates included. */
const FAULT_CAPACITY = 8192;

/** An opened link as it travels to the worker. */
export interface LinkHandle {
  readonly kind: 'tap';
  readonly tap: TapHandle;
}

/** Opens what the configuration names. Throws LinkError with what to do. */
export function openLink(link: LinkConfig): LinkHandle {
  switch (link.kind) {
    case 'tap':
      return { kind: 'tap', tap: openTap({ name: link.device, offload: link.offload === 'on' }) };
    default:
      throw new LinkError('NOT_A_PORT', `${link.kind}: a running tsvs needs a link to a network, such as tap:tap0`);
  }
}

export function driveLink(ctx: Context, handle: LinkHandle): Device {
  return TapDevice.fromFd(ctx, handle.tap);
}

/** The device, wrapped in the faults that were asked for. */
export function injectFaults(ctx: Context, device: Device, plan: FaultPlan | null): Device {
  if (plan === null) return device;
  const { rules, seed } = plan;
  return new Fault(ctx, device, { rx: rules, tx: rules, capacity: FAULT_CAPACITY }, new SeededRandom(seed));
}

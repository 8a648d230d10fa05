/**
 * Links by name: `tap:tap0`, `packet:eth0`. A row per kind: `open` runs in the main thread, where privileges and error messages
 * are, and returns plain data that travels to the worker; `drive` makes a device of that there.
 */
import type { Context } from '../../stack/context.ts';
import type { Device } from '../../stack/netif/device.ts';
import { Fault } from '../../stack/netif/middleware/fault.ts';
import { formatMac, macBytes, macFromIpv4 } from '../config/address.ts';
import type { Config, Ipv4, LinkConfig, LinkKind, Mac } from '../config/model.ts';
import { PacketDevice } from '../links/packet.ts';
import { openPacket, type PacketHandle } from '../links/packet-open.ts';
import { LinkError } from '../links/syscall.ts';
import { TapDevice } from '../links/tap.ts';
import { openTap, type TapHandle } from '../links/tap-open.ts';
import type { Plug } from './pipeline.ts';
import type { FaultPlan } from './plan.ts';
import { SeededRandom } from './seeded.ts';

/** Frames that faults may hold back per direction, duplicates included. */
const FAULT_CAPACITY = 8192;

/** What each kind of link opens in the main thread; plain data. */
interface Opened {
  tap: TapHandle;
  packet: PacketHandle;
}
type OpenKind = keyof Opened & LinkKind;

interface Driver<H> {
  /** Throws LinkError with what to do. */
  open(link: LinkConfig): H;
  drive(ctx: Context, handle: H): Device;
  /** The MAC address of the interface where ours is its own; absent: the configuration names ours. */
  mac?(handle: H): Mac;
}

const DRIVERS: { readonly [K in OpenKind]: Driver<Opened[K]> } = {
  tap: {
    open: (link) => openTap({ name: link.device, offload: link.offload === 'on' }),
    drive: (ctx, handle) => TapDevice.fromFd(ctx, handle),
  },
  packet: {
    open: ({ device, offload, mac }) =>
      openPacket({ name: device, offload: offload === 'on', mac: mac === null ? null : macBytes(mac), ring: true }),
    drive: (ctx, handle) => new PacketDevice(ctx, handle),
    mac: (handle) => formatMac(handle.mac),
  },
};

/** An opened link as it travels to the worker. */
export type LinkHandle = {
  readonly [K in OpenKind]: { readonly kind: K; readonly handle: Opened[K]; readonly name: string; readonly mac: Mac };
}[OpenKind];

/** Opens what the configuration names, in its order. Throws LinkError with what to do. */
export function openLinks({ links, services }: Config): LinkHandle[] {
  return links.map((link) => openLink(link, services[0]?.vip ?? 0));
}

function openLink(link: LinkConfig, vip: Ipv4): LinkHandle {
  const { kind, device } = link;
  if (!Object.hasOwn(DRIVERS, kind)) {
    throw new LinkError('NOT_A_PORT', `${kind}:${device}: a running tsvs needs a link to a network, such as tap:tap0`);
  }
  return openWith(kind as OpenKind, link, vip);
}

function openWith<K extends OpenKind>(kind: K, link: LinkConfig, vip: Ipv4): LinkHandle {
  const driver: Driver<Opened[K]> = DRIVERS[kind];
  const handle = driver.open(link);
  const mac = link.mac ?? driver.mac?.(handle) ?? macFromIpv4(vip);
  return { kind, handle, name: link.name, mac } as LinkHandle;
}

/** The devices of the links that openLinks opened, each with our MAC address there. */
export function driveLink(ctx: Context, { kind, handle, mac }: LinkHandle): Plug {
  const driver: Driver<typeof handle> = DRIVERS[kind];
  return { device: driver.drive(ctx, handle), mac };
}

/** The device of link `name`, the `index`-th, wrapped in the faults that were asked for. */
export function injectFaults(
  ctx: Context,
  device: Device,
  name: string,
  index: number,
  plan: FaultPlan | null,
): Device {
  if (plan === null || (plan.link !== null && plan.link !== name)) return device;
  const { rules, seed } = plan;
  return new Fault(ctx, device, { rx: rules, tx: rules, capacity: FAULT_CAPACITY }, new SeededRandom(seed + index));
}

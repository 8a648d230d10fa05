/**
 * Links by name: `tap:tap0`, `packet:eth0`. A row per kind: `open` runs in the main thread, where privileges and error messages
 * are, and returns plain data that travels to the worker; `drive` makes a device of that there.
 */
import type { Context } from '../../stack/context.ts';
import { FramePool, type PoolShare } from '../../stack/mem/frame-pool.ts';
import type { Device } from '../../stack/netif/device.ts';
import { Exception } from '../../stack/netif/middleware/exception.ts';
import { Fault } from '../../stack/netif/middleware/fault.ts';
import { IPV4_MIN_MTU } from '../../stack/wire/ipv4.ts';
import { formatMac, macBytes, macFromIpv4 } from '../config/address.ts';
import type { Config, Ipv4, LinkConfig, LinkKind, Mac } from '../config/model.ts';
import { MemifClient } from '../links/memif-client.ts';
import { type MemifHandle, openMemif, type PoolFile, sharePool } from '../links/memif-open.ts';
import { MemifServer } from '../links/memif-server.ts';
import { PacketDevice } from '../links/packet.ts';
import { openPacket, openPacketGroup, type PacketHandle, type PacketOptions } from '../links/packet-open.ts';
import { PcapDevice } from '../links/pcap.ts';
import { openPcap, type PcapHandle } from '../links/pcap-open.ts';
import { LinkError, syscalls } from '../links/syscall.ts';
import { TapDevice } from '../links/tap.ts';
import { openTapQueues } from '../links/tap-crew.ts';
import { openTap, type TapHandle } from '../links/tap-open.ts';
import { XdpDevice } from '../links/xdp.ts';
import { openXdp, PATIENT, takeOverXdp, type XdpHandle } from '../links/xdp-open.ts';
import { umemOf } from '../links/xdp-socket.ts';
import { type Account, findAccount } from '../privileges/account.ts';
import type { Plug } from './pipeline.ts';
import type { FaultPlan } from './plan.ts';
import { SeededRandom } from './seeded.ts';

/** Frames that faults may hold back per direction, duplicates included. */
const FAULT_CAPACITY = 8192;

/** What each kind of link opens in the main thread; plain data. */
interface Opened {
  tap: TapHandle;
  packet: PacketHandle;
  xdp: XdpHandle;
  pcap: PcapHandle;
  memif: MemifHandle;
}
type OpenKind = keyof Opened & LinkKind;

/** What links that are opened together have in common. */
interface Around {
  /** By worker; their slots are not ours to take here. */
  readonly pools: readonly FramePool[];
  /** By worker: the AF_XDP socket that has the pool registered, which further ones share; -1 = none yet. */
  readonly umemSockets: number[];
  /** By worker: the memory file under the pool; empty when no link needs it. */
  readonly poolFiles: readonly PoolFile[];
  /** Whom tsvs becomes when the links are open; null = it stays who it is. */
  readonly account: Account | null;
}

interface Driver<H> {
  /** For each worker what it drives, for fewer where there are fewer queues, the lowest first. Throws LinkError with what to do. */
  open(link: LinkConfig, workers: number, around: Around): H[];
  /** `changed` is told when the device has something else open instead. */
  drive(ctx: Context, handle: H, changed: (handle: H) => void): Device;
  /** What a thread goes on with that takes the place of one that died with this handle. Absent: the same. */
  takeOver?(handle: H, pool: FramePool): H;
  /** The MAC address of the interface where ours is its own; absent: the configuration names ours. */
  mac?(handle: H): Mac;
}

const packetOptions = ({ device, offload, mac }: LinkConfig): PacketOptions => ({
  ...{ name: device, offload: offload === 'on', mac: mac === null ? null : macBytes(mac), ring: true },
});

const DRIVERS: { readonly [K in OpenKind]: Driver<Opened[K]> } = {
  tap: {
    open(link, workers) {
      const options = { name: link.device, offload: link.offload === 'on' };
      return workers === 1 ? [openTap(options)] : openTapQueues(options, workers);
    },
    drive: (ctx, handle, changed) => TapDevice.fromFd(ctx, handle, changed),
  },
  packet: {
    open: (link, workers) =>
      workers === 1 ? [openPacket(packetOptions(link))] : openPacketGroup(packetOptions(link), workers),
    drive: (ctx, handle) => new PacketDevice(ctx, handle),
    mac: (handle) => formatMac(handle.mac),
  },
  xdp: {
    open({ device, mac, xdpMode }, workers, { pools, umemSockets }) {
      const options = { name: device, mac: mac === null ? null : macBytes(mac), mode: xdpMode };
      const places = pools
        .slice(0, workers)
        .map((pool, w) => ({ umem: umemOf(syscalls(), pool), share: umemSockets[w]! }));
      const handles = openXdp(options, places, PATIENT);
      for (const { worker, queues } of handles) if (umemSockets[worker]! < 0) umemSockets[worker] = queues[0]!.fd;
      return handles;
    },
    drive: (ctx, handle, changed) => new XdpDevice(ctx, handle, changed),
    takeOver: (handle, pool) => takeOverXdp(handle, umemOf(syscalls(), pool)),
    mac: (handle) => formatMac(handle.mac),
  },
  pcap: {
    open: ({ device }, _workers, { account }) => [openPcap({ name: device, account })],
    drive: (ctx, handle) => new PcapDevice(ctx, handle),
    mac: (handle) => formatMac(handle.mac),
  },
  memif: {
    open: ({ device, mtu, memif: { ring, ...rest } }, workers, { poolFiles }) =>
      openMemif({ ...rest, path: device, mtu, log2: Math.log2(ring) }, poolFiles, workers),
    drive: (ctx, handle) => (handle.role === 'client' ? new MemifClient(ctx, handle) : new MemifServer(ctx, handle)),
  },
};

/** A link that has no queue for a worker: another one sends for it, and receives. */
export interface RemoteLink {
  readonly kind: 'remote';
  /** The worker that does. */
  readonly via: number;
  readonly name: string;
  readonly mac: Mac;
  /** As devices are called: `xdp:eth0`. */
  readonly device: string;
  readonly mtu: number;
}

/** An opened link as it travels to the worker that drives it. */
export type LinkHandle = {
  readonly [K in OpenKind]: {
    readonly kind: K;
    readonly handle: Opened[K];
    readonly name: string;
    readonly mac: Mac;
    readonly exception: TapHandle | null;
  };
}[OpenKind];

/**
 * Opens what the configuration names, in its order, for the workers that have these pools: for each worker its links. Throws LinkError
 * with what to do.
 */
export function openLinks(
  { global, links, services }: Config,
  shares: readonly PoolShare[],
): (LinkHandle | RemoteLink)[][] {
  const pools = shares.map((share) => FramePool.attach(share, false));
  // Before anybody else has the kernel look at the pools: what lies there is replaced.
  const shared = links.some(({ kind, memif }) => kind === 'memif' && memif.role === 'client');
  const around: Around = {
    ...{ pools, umemSockets: pools.map(() => -1), poolFiles: shared ? pools.map(sharePool) : [] },
    account: global.user === null ? null : findAccount(global.user, global.group),
  };
  const opened = links.map((link) => openLink(link, services[0]?.vip ?? 0, around));
  return shares.map((_, worker) => opened.map((handles, i) => handles[worker] ?? remote(handles, worker, links[i]!)));
}

function remote(handles: readonly LinkHandle[], worker: number, { kind, device, mtu }: LinkConfig): RemoteLink {
  const via = worker % handles.length;
  const { name, mac } = handles[via]!;
  return { kind: 'remote', via, name, mac, device: `${kind}:${device}`, mtu };
}

function openLink(link: LinkConfig, vip: Ipv4, around: Around): LinkHandle[] {
  const { kind, device } = link;
  if (!Object.hasOwn(DRIVERS, kind)) {
    throw new LinkError('NOT_A_PORT', `${kind}:${device}: a running tsvs needs a link to a network, such as tap:tap0`);
  }
  return openWith(kind as OpenKind, link, vip, around);
}

function openWith<K extends OpenKind>(kind: K, link: LinkConfig, vip: Ipv4, around: Around): LinkHandle[] {
  const driver: Driver<Opened[K]> = DRIVERS[kind];
  // What is the host's leaves through one TAP, so it has to come in through one queue.
  const handles = driver.open(link, link.exception === null ? around.pools.length : 1, around);
  checkMtu(link, handles[0]!.mtu);
  const mac = link.mac ?? driver.mac?.(handles[0]!) ?? macFromIpv4(vip);
  // Segments and unfinished checksums pass between two TAPs as they are.
  const offload = kind === 'tap' && link.offload === 'on';
  const exception = link.exception === null ? null : openTap({ name: link.exception, offload });
  return handles.map((handle) => ({ kind, handle, name: link.name, mac, exception }) as LinkHandle);
}

/** Linux, too, gives IPv4 up on an interface with less. Throws LinkError. */
function checkMtu({ kind, device }: LinkConfig, mtu: number): void {
  if (mtu >= IPV4_MIN_MTU) return;
  throw new LinkError(
    'MTU',
    `${kind} ${device}: its MTU is ${mtu} bytes, and IPv4 needs ${IPV4_MIN_MTU}: 'ip link set ${device} mtu 1500'`,
  );
}

/** The same link for a thread that goes on where one that died left it. `share` is its pool. */
export function takeOver(link: LinkHandle | RemoteLink, share: PoolShare): LinkHandle | RemoteLink {
  if (link.kind === 'remote') return link;
  const { kind, handle } = link;
  const driver: Driver<typeof handle> = DRIVERS[kind];
  if (driver.takeOver === undefined) return link;
  return { ...link, handle: driver.takeOver(handle, FramePool.attach(share, false)) } as LinkHandle;
}

/** The device of a link that openLinks opened, with our MAC address there. `changed`: it has something else open instead. */
export function driveLink(ctx: Context, link: LinkHandle, changed: (link: LinkHandle) => void): Plug {
  const { kind, handle, mac, exception } = link;
  const driver: Driver<typeof handle> = DRIVERS[kind];
  let current = link;
  const change = (next: object): void => changed((current = { ...current, ...next } as LinkHandle));
  const device = driver.drive(ctx, handle, (next) => change({ handle: next }));
  if (exception === null) return { device, mac };
  const [a = 0, b = 0, c = 0, d = 0, e = 0, f = 0] = macBytes(mac);
  const options = {
    macHi: (a << 8) | b,
    macLo: (c << 24) | (d << 16) | (e << 8) | f,
    sharesMac: formatMac(exception.hostMac) === mac,
  };
  return {
    device: new Exception(
      ctx,
      device,
      TapDevice.fromFd(ctx, exception, (next) => change({ exception: next })),
      options,
    ),
    mac,
  };
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

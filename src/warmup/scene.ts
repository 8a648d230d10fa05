/**
 * What warming plays with: the configuration of a worker with its links and services exchanged for addresses that nobody has (RFC
 * 2544's 198.18.0.0/15), on which the worker's own data plane is built once more, small, in memory of its own.
 */
import { DestTable } from '../../lb/dest.ts';
import { L4, type L4Limits } from '../../lb/l4.ts';
import { SessionTable } from '../../lb/l7/session.ts';
import { ServiceColumns } from '../../lb/service-columns.ts';
import type { Context } from '../../stack/context.ts';
import { NeighTable } from '../../stack/neigh/table.ts';
import type { Device } from '../../stack/netif/device.ts';
import { Handover } from '../../stack/steer/handover.ts';
import { Steering } from '../../stack/steer/steering.ts';
import type { Ipv4 } from '../../stack/types.ts';
import { formatMac } from '../config/address.ts';
import type { Config, Mode, ServiceConfig } from '../config/model.ts';
import { SMALL_HOST } from '../simulated/network.ts';
import { buildPipeline, type Pipeline } from '../workers/pipeline.ts';
import { isLayer4, MAX_DESTS, MAX_SERVICES } from '../workers/plan.ts';

const NET = (198 << 24) | (18 << 16);
export const PREFIX = 24;
export const CLIENT: Ipv4 = NET | 1;
export const VIP: Ipv4 = NET | 10;
export const LOCAL: Ipv4 = NET | 11;
export const SERVER: Ipv4 = NET | 20;
export const PORT = 80;
/** Our MAC address, and the others': MAC_HI, then the IPv4 address. */
export const MAC_HI = 0x0200;
const OUR_MAC = formatMac([2, 0, ...[24, 16, 8, 0].map((bits) => (VIP >>> bits) & 255)]);

/**
 * Microseconds at which warming begins: what a worker's clock says after 36 minutes, when it is no small integer any more. Code that has
 * seen small ones only would be compiled anew by then, while frames wait.
 */
export const START_US = 2 ** 31;

const LIMITS: L4Limits = { tcp: 4096, udp: 4096, icmp: 16, templates: 16 };
const SESSIONS = 256;
const QUIET = { onConflict() {}, connectFailed() {}, noServer() {}, portsScarce() {}, healthChanged() {} };

/** What is to be warmed: each way that services of a configuration take. */
export interface Way {
  readonly mode: Mode;
  readonly proto: 'tcp' | 'udp';
}

/** Each way once. Those that only a change at run time could bring are not among them. */
export function waysOf({ services }: Config): Way[] {
  const ways = new Map<string, Way>();
  for (const { mode, proto } of services) {
    const way: Way = { mode, proto: proto === 'udp' ? 'udp' : 'tcp' };
    if (mode !== 'snat') ways.set(`${way.mode} ${way.proto}`, way);
  }
  return [...ways.values()];
}

/** A configuration with one service, that goes this way, to one server. */
export function sceneConfig(config: Config, way: Way): Config {
  const pattern = config.services.find(({ mode }) => mode === way.mode)!;
  const service: ServiceConfig = {
    // Its timeouts and limits of TCP stay.
    ...pattern,
    ...{ name: 'warm', proto: way.proto, vip: VIP, port: PORT, match: null, scheduler: 'rr', schedOptions: {} },
    localAddresses: way.mode === 'fnat' ? [LOCAL] : [],
    ...{ persistence: null, onePacket: false, fragments: 'reassemble', check: null, slowStartMs: 0 },
    ...{ maxConnections: 0, queueTimeoutMs: 0, proxyProtocol: 'off', acceptProxy: [], backup: null },
    dests: [{ name: 'server', af: 4, ip: SERVER, port: PORT, weight: 1, mac: null }],
  };
  const link = { ...config.links[0]!, name: 'warm', device: 'warm', mac: OUR_MAC, mtu: 1500 };
  return {
    ...config,
    links: [{ ...link, addresses: [], routes: [], exception: null }],
    network: { gateway: null, prefixLen: PREFIX, localAddresses: [] },
    marks: [],
    services: [service],
  };
}

/** The data plane over `device`. With several workers frames pass what divides them, and all are this one's. */
export function buildScene(ctx: Context, config: Config, device: Device, several: boolean): Pipeline {
  const handover = several ? new Handover(ctx, new Steering(0, 1), [null], [null], () => {}) : null;
  const shared = (bytes: number): SharedArrayBuffer => new SharedArrayBuffer(bytes);
  return buildPipeline(
    ctx,
    config,
    [{ device: handover === null ? device : handover.around(device), mac: OUR_MAC }],
    {
      neighbours: shared(NeighTable.bytes(SMALL_HOST.neigh.maxNeighbours)),
      services: shared(ServiceColumns.bytes(MAX_SERVICES)),
      dests: shared(DestTable.bytes(MAX_DESTS)),
      sessions: SessionTable.memory(SESSIONS),
      connections: config.services.some(isLayer4) ? shared(L4.bytes(LIMITS)) : null,
    },
    QUIET,
    SMALL_HOST,
    LIMITS,
    { worker: 0, workers: 1, handover },
  );
}

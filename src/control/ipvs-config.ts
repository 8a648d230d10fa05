/**
 * The layer-4 services of a configuration as ipvsadm's table, and back. The table has less than the configuration (no health checks,
 * MAC addresses, names): on the way back everything it does not know stays as it is. Services of mode `proxy` are not in it,
 * but their addresses are taken. Pure; called by src/control/ipvs.ts.
 */
import { ESTABLISHED, FIN_WAIT, TCP } from '../../lb/proto/tcp.ts';
import { ONEWAY, UDP } from '../../lb/proto/udp.ts';
import { checkScheduler } from '../../lb/sched/index.ts';
import { formatEndpoint } from '../config/address.ts';
import { load } from '../config/load.ts';
import { matchId } from '../config/match.ts';
import {
  type AddressRange,
  type Config,
  type DestConfig,
  type GlobalConfig,
  isSchedulerFile,
  MATCH_PROTOS,
  type Mode,
  type PersistenceConfig,
  PROTOS,
  type ServiceConfig,
} from '../config/model.ts';
import { homeOf } from '../config/own-addresses.ts';
import { type Address, ipv4 } from '../ipvsadm/address.ts';
import {
  type DestSettings,
  type Forward,
  HASH_TARGETS,
  type HashTarget,
  type ServiceId,
  type ServiceSettings,
  type Timeouts,
  type Tunnel,
} from '../ipvsadm/ops.ts';
import { type Dest, isAnyPort, type Service, type Table, ZERO_STATS } from '../ipvsadm/table.ts';

/** What the table asks for and there is not. */
export class Unsupported extends Error {}

const FORWARD: Readonly<Record<Exclude<Mode, 'proxy'>, Forward>> = {
  fnat: 'fullnat',
  nat: 'masq',
  dr: 'route',
  tun: 'tunnel',
  snat: 'snat',
};
const MODE_OF: Readonly<Record<Forward, Mode>> = {
  fullnat: 'fnat',
  masq: 'nat',
  route: 'dr',
  tunnel: 'tun',
  snat: 'snat',
};

/** `hash_key` by what conhash hashes. */
const KEY_OF: Readonly<Record<HashTarget, string>> = { sip: 'source', qid: 'quic', '5tuple': '5tuple' };

/** Options of schedulers by the bits of -b. */
const FLAGS: Readonly<Record<string, readonly string[]>> = { sh: ['fallback', 'port'], mh: ['fallback', 'port'] };

// From the configuration to the table

/** Mode `proxy` has no words in the table. */
const hasWords = ({ mode }: ServiceConfig): boolean => mode !== 'proxy';

export function tableOf(config: Config): Table {
  const services = config.services.filter(hasWords);
  return { services: services.map((service) => serviceOf(service, config)), timeouts: timeoutsOf(config.global) };
}

function serviceOf(service: ServiceConfig, config: Config): Service {
  const { dests, localAddresses, mode } = service;
  const deviceOf = (addr: number): string => config.links[homeOf(config, addr).link]!.name;
  const ours = localAddresses.map((addr) => ({
    ...{ address: ipv4(addr), device: deviceOf(addr) },
    ...{ conflicts: 0n, conns: 0 },
  }));
  return {
    id: idOf(service),
    settings: settingsOf(service),
    stats: ZERO_STATS,
    dests: mode === 'snat' ? localAddresses.map(poolAddress) : dests.map((dest) => destOf(dest, service)),
    laddrs: mode === 'snat' ? [] : ours,
    deny: [],
    allow: [],
  };
}

function idOf({ proto, vip, port, match }: ServiceConfig): ServiceId {
  if (proto === 'mark') return { kind: 'fwmark', mark: vip >>> 0, family: 4 };
  if (match === null) return { kind: 'address', protocol: proto === 'match' ? 'tcp' : proto, address: ipv4(vip), port };
  const { from, to, iif, oif } = match;
  const range = (of: AddressRange | null) => of && { low: ipv4(of.low), high: ipv4(of.high), ...portsOf(of, 0) };
  return {
    kind: 'match',
    protocol: match.proto,
    family: 4,
    match: { from: range(from), to: range(to), iif: iif ?? '', oif: oif ?? '' },
  };
}

function settingsOf({
  scheduler,
  schedOptions,
  expireQuiescent,
  persistence,
  onePacket,
  connTimeoutMs,
}: ServiceConfig): ServiceSettings {
  const options = FLAGS[scheduler] ?? [];
  const schedFlags = options.reduce((bits, option, i) => bits | (schedOptions[option] === 'on' ? 1 << i : 0), 0);
  return {
    ...PLAIN,
    scheduler,
    schedFlags,
    persistSec: Math.ceil((persistence?.timeoutMs ?? 0) / 1000),
    mask: persistence?.netmask ?? -1,
    ops: onePacket,
    connTimeoutSec: Math.ceil(connTimeoutMs / 1000),
    expireQuiescent: expireQuiescent === 'on',
    hashTarget:
      scheduler === 'conhash' ? (HASH_TARGETS.find((word) => KEY_OF[word] === schedOptions['key']) ?? null) : null,
  };
}

const DEFAULT_TUNNEL: Tunnel = { type: 'ipip', port: 0, checksum: 'nocsum' };

/** What the table can say and we cannot. */
const PLAIN = {
  pe: '',
  synproxy: false,
  proxyProtocol: 'disable',
  quic: false,
  destCheck: null,
} as const satisfies Partial<ServiceSettings>;

/** What a server has done so far. */
const NOTHING = {
  ...{ stats: ZERO_STATS, activeConns: 0, inactConns: 0, persistConns: 0 },
  ...{ inhibited: false, overloaded: false },
};

function destOf(dest: DestConfig, service: ServiceConfig): Dest {
  return { address: ipv4(dest.ip), port: dest.port, settings: destSettingsOf(dest, service), ...NOTHING };
}

/** With SNAT the servers are the addresses that connections leave from, as in DPVS. */
const poolAddress = (addr: number): Dest => ({
  ...{ address: ipv4(addr), port: 0, ...NOTHING },
  settings: { forward: 'snat', weight: 1, upper: 0, lower: 0, tunnel: DEFAULT_TUNNEL },
});

function destSettingsOf({ mode, weight, upper, lower }: DestConfig, service: ServiceConfig): DestSettings {
  const { maxConnections } = service;
  return {
    forward: FORWARD[(mode ?? service.mode) as keyof typeof FORWARD],
    weight,
    upper: upper ?? maxConnections,
    lower: lower ?? (upper === undefined ? maxConnections : 0),
    tunnel: DEFAULT_TUNNEL,
  };
}

function timeoutsOf({ timeoutProfile, connTimeouts }: GlobalConfig): Timeouts {
  const { tcpMs, tcpFinMs, udpMs } = connTimeouts;
  const seconds = (ms: number | null, profile: number): number => (ms === null ? profile : Math.ceil(ms / 1000));
  return {
    tcp: seconds(tcpMs, TCP.timeouts[timeoutProfile][ESTABLISHED]!),
    tcpfin: seconds(tcpFinMs, TCP.timeouts[timeoutProfile][FIN_WAIT]!),
    udp: seconds(udpMs, UDP.timeouts[timeoutProfile][ONEWAY]!),
  };
}

// And back

/** The configuration whose table this is. Throws Unsupported. */
export function withTable(config: Config, table: Table): Config {
  const before = tableOf(config);
  const proxies = config.services.filter((service) => !hasWords(service));
  const known = new Map(config.services.map((service) => [keyOf(service), service]));
  const names = new Set(config.services.map(({ name }) => name));
  const wanted = table.services.map((service): ServiceConfig => {
    const place = addressOf(service);
    return serviceConfig(service, known.get(keyOf(place)) ?? newService(place, names));
  });
  // Those that stay keep their place among those of mode proxy.
  const byKey = new Map([...proxies, ...wanted].map((service) => [keyOf(service), service]));
  const kept = config.services.flatMap((service) => byKey.get(keyOf(service)) ?? []);
  const added = wanted.filter((service) => !known.has(keyOf(service)));
  const global = withTimeouts(config.global, before.timeouts, table.timeouts);
  return { ...config, global, services: [...kept, ...added] };
}

export type Endpointed = Pick<ServiceConfig, 'proto' | 'vip' | 'port'>;
const keyOf = ({ proto, vip, port }: Endpointed): string => `${proto} ${vip} ${port}`;

/** Throws Unsupported. */
export function addressOf({ id }: Pick<Service, 'id'>): Endpointed & Pick<ServiceConfig, 'match'> {
  const family = id.kind === 'address' ? id.address.family : id.family;
  if (family === 6) throw new Unsupported('IPv6');
  if (id.kind === 'fwmark') return { proto: 'mark', vip: id.mark | 0, port: 0, match: null };
  const { protocol } = id;
  if (id.kind === 'match') return addressOfMatch(id);
  const proto = PROTOS.find((word) => word === protocol);
  if (proto === undefined) throw new Unsupported(`services of ${id.protocol}`);
  return { proto, vip: id.address.words[0]!, port: id.port, match: null };
}

function addressOfMatch({ protocol, match: { from, to, iif, oif } }: Extract<ServiceId, { kind: 'match' }>) {
  const proto = MATCH_PROTOS.find((word) => word === protocol);
  if (proto === undefined) throw new Unsupported(`services of ${protocol}`);
  const range = (of: typeof from) => of && { low: of.low.words[0]!, high: of.high.words[0]!, ...portsOf(of, MAX_PORT) };
  const match = { proto, from: range(from), to: range(to), iif: iif || null, oif: oif || null };
  return { proto: 'match' as const, vip: matchId(match), port: 0, match };
}

/** Any port ends at `any` in the table or in the configuration. */
const portsOf = (of: Ports, any: number): Ports => {
  const { lowPort, highPort } = of;
  return { lowPort, highPort: isAnyPort(of) ? any : highPort };
};
type Ports = Pick<AddressRange, 'lowPort' | 'highPort'>;
const MAX_PORT = 65_535;

/** A service of layer 4 with the defaults of lb.conf. */
const BLANK = blankService();

function blankService(): ServiceConfig {
  const loaded = load(
    `[network]\nnetmask = 255.255.255.0\n[service blank]\nip = 10.0.0.10\nports = 1\nmode = nat\ncount = 0\n`,
    'blank',
  );
  if ('errors' in loaded) throw new Error(JSON.stringify(loaded.errors));
  return { ...loaded.model.services[0]!, scheduler: 'wlc', schedOptions: {} };
}

/** A service as `-A` makes it. Its mode is that of its first server. */
function newService({ proto, vip, port, match }: ReturnType<typeof addressOf>, names: Set<string>): ServiceConfig {
  const place = proto === 'mark' || proto === 'match' ? String(vip >>> 0) : formatEndpoint(vip, port);
  const wanted = `${proto}-${place}`;
  const name = freeName(wanted, names);
  names.add(name);
  return { ...BLANK, name, proto, vip, port, match };
}

function freeName(wanted: string, taken: ReadonlySet<string>): string {
  for (let n = 1; ; n++) {
    const name = n === 1 ? wanted : `${wanted}-${n}`;
    if (!taken.has(name)) return name;
  }
}

function serviceConfig(service: Service, old: ServiceConfig): ServiceConfig {
  const { settings, dests, laddrs, deny, allow } = service;
  const missing = lacking(settings);
  if (missing !== null) throw new Unsupported(missing);
  if (deny.length + allow.length > 0) throw new Unsupported('deny and allow lists');
  const modes = dests.map((dest) => modeOf(dest.settings));
  const isSnat = modes.includes('snat') || (old.mode === 'snat' && modes.length === 0);
  const localAddresses = isSnat ? poolOf(service) : laddrs.map(ipOf);
  const mode = isSnat ? 'snat' : commonMode(old.mode, modes, localAddresses.length > 0);
  const names = new Set(old.dests.map(({ name }) => name));
  return {
    ...old,
    mode,
    scheduler: settings.scheduler,
    schedOptions: optionsOf(settings, old),
    expireQuiescent:
      settings.expireQuiescent === (old.expireQuiescent === 'on')
        ? old.expireQuiescent
        : settings.expireQuiescent
          ? 'on'
          : 'off',
    connTimeoutMs: connTimeoutOf(settings, old),
    persistence: persistenceOf(settings, old),
    onePacket: settings.ops,
    localAddresses,
    dests: isSnat ? [] : dests.map((dest, i) => destConfig(dest, modes[i]!, mode, old, names)),
  };
}

function ipOf({ address }: { readonly address: Address }): number {
  if (address.family === 6) throw new Unsupported('IPv6');
  return address.words[0]!;
}

/** The addresses that a service of SNAT has for servers. Throws Unsupported. */
function poolOf({ dests, laddrs }: Service): number[] {
  if (laddrs.length > 0) throw new Unsupported('local addresses of SNAT besides its servers (-a -r ADDRESS:0 -J)');
  return dests.map(({ address, port, settings: { forward, weight, upper } }) => {
    if (forward !== 'snat') throw new Unsupported('SNAT beside other ways of forwarding');
    if (port !== 0) throw new Unsupported('an address of SNAT with a port');
    if (weight === 0) throw new Unsupported('an address of SNAT with weight 0');
    if (upper > 0) throw new Unsupported('limits of connections with SNAT');
    return ipOf({ address });
  });
}

/** The mode of the service: that of all its servers; FullNAT while it has local addresses, which no other mode may have. */
function commonMode(old: Mode, modes: readonly Mode[], hasLocals: boolean): Mode {
  if (hasLocals) return 'fnat';
  const [first] = modes;
  if (first === undefined || modes.includes(old)) return modes.every((mode) => mode === first) ? (first ?? old) : old;
  return first;
}

function modeOf({ forward, tunnel }: DestSettings): Mode {
  const mode = MODE_OF[forward];
  if (mode === 'tun' && tunnel.type !== 'ipip') throw new Unsupported(`tunnels of ${tunnel.type}`);
  return mode;
}

function destConfig(dest: Dest, mode: Mode, common: Mode, service: ServiceConfig, names: Set<string>): DestConfig {
  const [ip, port] = [ipOf(dest), dest.port];
  let old = service.dests.find((one) => one.ip === ip && one.port === port);
  if (old === undefined) {
    old = { name: freeName(formatEndpoint(ip, port), names), af: 4, ip, port, weight: 0, mac: null };
    names.add(old.name);
  }
  const { weight, upper, lower } = dest.settings;
  const { mode: _, upper: oldUpper, lower: oldLower, ...rest } = old;
  const was = destSettingsOf(old, service);
  const limits =
    was.upper === upper && was.lower === lower
      ? { ...(oldUpper !== undefined && { upper: oldUpper }), ...(oldLower !== undefined && { lower: oldLower }) }
      : { upper, ...(lower > 0 && { lower }) };
  return { ...rest, weight, ...(mode !== common && { mode }), ...limits };
}

function lacking(settings: ServiceSettings): string | null {
  if (settings.pe !== '') return 'persistence engines';
  if (settings.synproxy) return 'SYN proxy at layer 4';
  if (settings.proxyProtocol !== 'disable') return 'the PROXY protocol at layer 4';
  if (settings.quic) return 'servers named by connection ids of QUIC';
  if (settings.destCheck !== null) return 'checks of servers by the director (lb.conf has health checks)';
  const known = FLAGS[settings.scheduler] ?? [];
  return settings.schedFlags >> known.length > 0 ? 'this flag of the scheduler' : null;
}

/** As it was, unless it shows otherwise in seconds. */
function connTimeoutOf({ connTimeoutSec }: ServiceSettings, { connTimeoutMs }: ServiceConfig): number {
  return Math.ceil(connTimeoutMs / 1000) === connTimeoutSec ? connTimeoutMs : connTimeoutSec * 1000;
}

function persistenceOf(
  { persistSec, mask }: ServiceSettings,
  { persistence }: ServiceConfig,
): PersistenceConfig | null {
  if (persistSec === 0) return null;
  const timeoutMs =
    Math.ceil((persistence?.timeoutMs ?? 0) / 1000) === persistSec ? persistence!.timeoutMs : persistSec * 1000;
  return { timeoutMs, netmask: mask, expireQuiescent: persistence?.expireQuiescent ?? false };
}

function optionsOf({ scheduler, schedFlags, hashTarget }: ServiceSettings, old: ServiceConfig): Record<string, string> {
  // One of a file has no options, and is not known before it has been judged.
  const known = isSchedulerFile(scheduler) ? {} : checkScheduler(scheduler, {}).options;
  const defaults = Object.entries(known).map(([option, [first]]) => [option, first!]);
  const kept = scheduler === old.scheduler ? old.schedOptions : {};
  const flags = (FLAGS[scheduler] ?? []).map((option, i) => [option, (schedFlags >> i) & 1 ? 'on' : 'off'] as const);
  const key = hashTarget === null ? [] : [['key', KEY_OF[hashTarget]] as const];
  return { ...Object.fromEntries(defaults), ...kept, ...Object.fromEntries([...flags, ...key]) };
}

function withTimeouts(global: GlobalConfig, before: Timeouts, after: Timeouts): GlobalConfig {
  const { tcpMs, tcpFinMs, udpMs } = global.connTimeouts;
  const changed = (old: number | null, was: number, is: number): number | null => (was === is ? old : is * 1000);
  return {
    ...global,
    connTimeouts: {
      tcpMs: changed(tcpMs, before.tcp, after.tcp),
      tcpFinMs: changed(tcpFinMs, before.tcpfin, after.tcpfin),
      udpMs: changed(udpMs, before.udp, after.udp),
    },
  };
}

/**
 * What has to change to get from one configuration to another; pure. Sections are compared by their lines as save.ts
 * writes them: a key that nobody has listed below as one that can be changed at run time is refused by its name, so a new
 * key is refused until somebody has thought about it.
 *
 * Called for every change at run time, by file or by control socket (src/control/operator.ts).
 */
import { type Action, applyTo, type KeyChange, type ServiceRef, serverKey, serviceKey } from './actions.ts';
import type { Config, DestConfig, ServiceConfig } from './model.ts';
import { ownAddresses } from './own-addresses.ts';
import { tcpLines } from './rows/tcp.ts';
import { globalLines, type Line, linkLines, markLines, networkLines, serviceLines } from './save.ts';

/** A key that only a restart changes. */
export interface Refusal extends KeyChange {
  /** As between the brackets. */
  readonly section: string;
  readonly why: string;
}

export interface Diff {
  /** In the order in which they are to be applied; empty when nothing changes, or when something is refused. */
  readonly actions: readonly Action[];
  readonly refused: readonly Refusal[];
}

export interface DiffOptions {
  /** The worker has what layer 4 needs. */
  readonly layer4: boolean;
}

/** Keys that can be changed while tsvs runs. */
const LIVE = {
  global: [
    ...['mode', 'log_level', 'drain_timeout', 'xmit_ttl', 'slow_start'],
    ...['tcp_timeout', 'tcp_fin_timeout', 'udp_timeout'],
  ],
  tcp: [
    ...['ecn', 'mss_clamp', 'user_timeout', 'max_half_open', 'syn_cookies', 'time_wait'],
    ...['keepalive_idle', 'keepalive_interval', 'keepalive_count'],
  ],
  network: ['gateway', 'local_address'],
  link: ['address', 'routes'],
  service: [
    ...['name', 'mode', 'scheduler', 'hash_key', 'sh_port', 'sh_fallback', 'mh_port', 'mh_fallback', 'mh_table'],
    ...['connect_timeout', 'client_timeout', 'server_timeout', 'fin_timeout', 'retries'],
    ...['local_address', 'mss_clamp', 'timestamps', 'conn_timeout', 'expire_quiescent', 'backup'],
    ...['persistence', 'persistence_netmask', 'expire_quiescent_template', 'one_packet', 'fragments'],
    ...['proxy_protocol', 'accept_proxy', 'queue_timeout', 'slow_start'],
    ...['keepalive_idle', 'keepalive_interval', 'keepalive_count', 'max_half_open'],
    ...['check', 'check_port', 'check_interval', 'check_timeout', 'rise', 'fall', 'check_start', 'check_passive'],
    ...['check_method', 'check_path', 'check_host', 'check_status', 'check_body'],
  ],
} as const;

const RESTART = 'is fixed while tsvs runs: restart it';

const isLayer4 = ({ mode }: ServiceConfig): boolean => mode !== 'proxy';

export function diff(
  before: Config,
  after: Config,
  { layer4 }: DiffOptions = { layer4: before.services.some(isLayer4) },
): Diff {
  const refused: Refusal[] = [];
  const live = (section: string, keys: readonly string[], changes: readonly KeyChange[]): readonly KeyChange[] => {
    for (const change of changes) if (!keys.includes(change.key)) refused.push({ section, ...change, why: RESTART });
    return changes;
  };

  const actions: Action[] = diffLinks(before, after, live);
  // Whether there is a layer 4 is settled at the start; a file that would do without one need not be refused.
  const linesOf = ({ global }: Config): Line[] => globalLines({ ...global, layer4: false });
  const global = live('global', LIVE.global, changed(linesOf(before), linesOf(after)));
  if (global.length > 0) actions.push({ do: 'editGlobal', global: after.global, changes: global });
  const tcp = live('tcp', LIVE.tcp, changed(tcpLines(before.tcp), tcpLines(after.tcp)));
  if (tcp.length > 0) actions.push({ do: 'editTcp', tcp: after.tcp, changes: tcp });
  const network = live('network', LIVE.network, changed(networkLines(before.network), networkLines(after.network)));
  if (network.length > 0) actions.push({ do: 'editNetwork', network: after.network, changes: network });

  const marks = changed(ruleLines(before), ruleLines(after));
  if (marks.length > 0) actions.push({ do: 'editMarks', marks: after.marks, changes: marks });

  const { add, remove } = diffAddresses(before, after);
  actions.push(...add, ...diffServices(before, after, live), ...remove);
  for (const service of after.services) {
    if (!isLayer4(service) || layer4) continue;
    const why = 'needs a restart: tsvs was started without layer 4 ([global] layer4 = on has it always)';
    refused.push({ section: `service ${service.name}`, key: 'mode', from: null, to: service.mode, why });
  }
  if (refused.length > 0) return { actions: [], refused };
  return { actions: [...actions, ...reorder(applyTo(before, actions), after)], refused };
}

/** Their order counts: a rule that another one comes before is another rule. */
const ruleLines = ({ marks }: Config): Line[] =>
  marks.map((rule, i) => [
    `mark ${rule.name}`,
    `${i + 1}. ${markLines(rule)
      .map(([key, value]) => `${key} = ${value}`)
      .join(', ')}`,
  ]);

type Live = (section: string, keys: readonly string[], changes: readonly KeyChange[]) => readonly KeyChange[];

function diffLinks(before: Config, after: Config, live: Live): Action[] {
  const lines = (config: Config, i: number): Line[] => {
    const link = config.links[i];
    return link === undefined ? [] : [['name', link.name], ...linkLines(link)];
  };
  const actions: Action[] = [];
  for (let index = 0; index < Math.max(before.links.length, after.links.length); index++) {
    const { name } = (before.links[index] ?? after.links[index])!;
    const changes = live(`link ${name}`, LIVE.link, changed(lines(before, index), lines(after, index)));
    const link = after.links[index];
    if (changes.length > 0 && link !== undefined) actions.push({ do: 'editLink', index, link, changes });
  }
  return actions;
}

/** New addresses are there before their services are; old ones go when nobody listens there any more. */
function diffAddresses(before: Config, after: Config): { add: Action[]; remove: Action[] } {
  const [old, wanted] = [ownAddresses(before), ownAddresses(after)];
  const add = [...wanted].flatMap(([addr, role]): Action[] =>
    old.get(addr) === role ? [] : [{ do: 'addAddress', addr, role }],
  );
  const remove = [...old].flatMap(([addr, role]): Action[] =>
    wanted.has(addr) ? [] : [{ do: 'removeAddress', addr, role }],
  );
  return { add, remove };
}

function diffServices(before: Config, after: Config, live: Live): Action[] {
  /** A service that changes between proxy and layer 4 is another one: their connections have nothing in common. */
  const kindKey = (service: ServiceConfig): string => `${serviceKey(service)} ${isLayer4(service)}`;
  const old = new Map(before.services.map((service) => [kindKey(service), service]));
  const wanted = new Set(after.services.map(kindKey));
  const removed = before.services.filter((service) => !wanted.has(kindKey(service)));
  return [
    ...removed.map((service): Action => ({ do: 'removeService', at: refOf(service) })),
    ...after.services.flatMap((service): Action[] => {
      const was = old.get(kindKey(service));
      return was === undefined ? [{ do: 'addService', service }] : diffService(was, service, live);
    }),
  ];
}

function diffService(before: ServiceConfig, after: ServiceConfig, live: Live): Action[] {
  const at = refOf(after);
  const lines = (service: ServiceConfig): Line[] => [['name', service.name], ...serviceLines(service)];
  const changes = live(`service ${after.name}`, LIVE.service, changed(lines(before), lines(after)));
  const { dests: _, ...settings } = after;
  return [
    ...(changes.length > 0 ? [{ do: 'editService', at: refOf(before), settings, changes } as const] : []),
    ...diffServers(at, before.dests, after.dests),
  ];
}

function diffServers(at: ServiceRef, before: readonly DestConfig[], after: readonly DestConfig[]): Action[] {
  const old = new Map(before.map((server) => [serverKey(server), server]));
  const wanted = new Set(after.map(serverKey));
  return [
    ...before
      .filter((server) => !wanted.has(serverKey(server)))
      .map(({ name, ip, port }): Action => ({ do: 'removeServer', at, server: { name, ip, port } })),
    ...after.flatMap((server): Action[] => {
      const was = old.get(serverKey(server));
      if (was === undefined) return [{ do: 'addServer', at, server }];
      const changes = changed(serverLines(was), serverLines(server));
      return changes.length === 0 ? [] : [{ do: 'editServer', at, server, changes }];
    }),
  ];
}

/** Everything a server has, its address and port apart. */
function serverLines({ ip: _ip, port: _port, af: _af, ...rest }: DestConfig): Line[] {
  return Object.entries(rest).map(([key, value]) => [key, key === 'mac' ? (value ?? 'asked for') : String(value)]);
}

/** What brings services and servers into their order, once there are the same ones. */
function reorder(before: Config, after: Config): Action[] {
  const differ = <T>(one: readonly T[], other: readonly T[], keyOf: (item: T) => string): boolean =>
    one.some((item, i) => keyOf(item) !== keyOf(other[i]!));
  const servers = after.services.flatMap((service): Action[] => {
    const now = before.services.find((other) => serviceKey(other) === serviceKey(service))!.dests;
    if (!differ(now, service.dests, serverKey)) return [];
    const order = service.dests.map(({ name, ip, port }) => ({ name, ip, port }));
    return [{ do: 'orderServers', at: refOf(service), servers: order }];
  });
  if (!differ(before.services, after.services, serviceKey)) return servers;
  return [...servers, { do: 'orderServices', services: after.services.map(refOf) }];
}

const refOf = ({ name, proto, vip, port }: ServiceConfig): ServiceRef => ({ name, proto, vip, port });

/** The keys whose lines differ. */
function changed(before: readonly Line[], after: readonly Line[]): KeyChange[] {
  const [old, now] = [new Map(before), new Map(after)];
  const text = (value: string | number | undefined): string | null => (value === undefined ? null : String(value));
  return [...new Set([...old.keys(), ...now.keys()])]
    .map((key) => ({ key, from: text(old.get(key)), to: text(now.get(key)) }))
    .filter(({ from, to }) => from !== to);
}

/**
 * A draft judged as a whole and turned into the model: what no single value can tell, such as a VIP outside the network, two services
 * on one port, or servers without any weight. Every finding names the line that causes it.
 */
import { formatIpv4, formatNetwork, macFromIpv4, networkOf, reservedRole } from './address.ts';
import { checkRules, markedAddresses, placesOf } from './check-rules.ts';
import type { Draft, DraftLink, DraftService } from './draft.ts';
import type { ErrorList, Located, Where } from './error.ts';
import type { Config, InterfaceAddress, Ipv4, LinkConfig, Mode, ServiceConfig } from './model.ts';
import { INTERFACE_KINDS } from './model.ts';
import type { ServerKeys } from './read-section.ts';
import type { ServerValue } from './values.ts';

/** The model, or null when the draft has errors: those found before or added to draft.errors here. */
export function buildModel(draft: Draft): Config | null {
  const { errors, network, services } = draft;
  const { netmaskMissing, prefixLen } = network;
  if (!prefixLen && netmaskMissing) errors.add(netmaskMissing.where, netmaskMissing.message, netmaskMissing.hint);
  checkLinkNetworks(draft);
  if (prefixLen) checkNetwork(draft, prefixLen.value);
  checkVips(services, errors);
  checkRules(draft);
  for (const service of services) {
    checkDests(draft, service);
    checkServerKeys(draft, service);
    checkMode(draft, service);
  }
  const links = buildLinks(draft);
  const built = services.flatMap((service) => buildServices(service, draft));
  checkNames(built, services, errors);
  if (!errors.empty || !prefixLen) return null;
  return {
    global: { ...draft.global, layer4: draft.global.layer4 || built.some(({ mode }) => mode !== 'proxy') },
    tcp: draft.tcp,
    links,
    network: {
      gateway: network.gateway?.value ?? null,
      prefixLen: prefixLen.value,
      localAddresses: network.localAddresses.map((local) => local.value),
    },
    marks: draft.marks.map(({ name, mark, match }) => ({ name, mark: mark!.value, match: match!.value })),
    services: built,
  };
}

function vipsOf(draft: Draft): Located<Ipv4>[] {
  return [...draft.services.flatMap((service) => (service.vip ? [service.vip] : [])), ...markedAddresses(draft)];
}

/** A network that a link has by an address of its own. */
interface LinkNetwork extends InterfaceAddress {
  readonly link: DraftLink;
  readonly where: Where;
}

const linkNetworks = ({ links }: Draft): LinkNetwork[] =>
  links.flatMap((link) => (link.addresses?.value ?? []).map((own) => ({ ...own, link, where: link.addresses! })));

const isIn = ({ ip, prefixLen }: InterfaceAddress, addr: Ipv4): boolean =>
  networkOf(ip, prefixLen) === networkOf(addr, prefixLen);

/** Links after the first have a network of their own; networks do not overlap, and routers are in one of them. */
function checkLinkNetworks(draft: Draft): void {
  const { errors, links, network } = draft;
  const networks = linkNetworks(draft);
  for (const [i, { ip, prefixLen, link, where }] of networks.entries()) {
    const text = formatNetwork(ip, prefixLen);
    const role = reservedRole(ip, prefixLen);
    if (role)
      errors.add(where, `${formatIpv4(ip)} is the ${role} address of its network`, "write a host's own address");
    const other = networks
      .slice(0, i)
      .find((one) => one.link !== link && (isIn(one, ip) || isIn({ ip, prefixLen }, one.ip)));
    if (other)
      errors.add(where, `${text} overlaps a network of [${other.link.where.section}]`, 'give each link its own');
  }
  for (const link of links.slice(1)) {
    if (!link.addresses)
      errors.add({ ...link.where, key: 'address' }, 'key is missing', 'add address = 10.1.0.2/24, as of this link');
  }
  for (const link of links) {
    if (!link.routes) continue;
    for (const { gateway } of link.routes.value) {
      const here = networks.some((one) => one.link === link && isIn(one, gateway));
      const atFirst =
        link === links[0] &&
        vipsOf(draft).some((vip) => isIn({ ip: vip.value, prefixLen: network.prefixLen?.value ?? 1 }, gateway));
      if (here || atFirst) continue;
      const message = `the router ${formatIpv4(gateway)} is in no network of this link`;
      errors.add(link.routes, message, 'correct it, or add an address of its network');
    }
  }
}

/** Gateway, VIPs and local addresses are in the network of [network] or one of a link; servers may be elsewhere behind a router. */
function checkNetwork(draft: Draft, prefixLen: number): void {
  const { errors, network, services } = draft;
  const vips = vipsOf(draft);
  const locals = [...network.localAddresses, ...services.flatMap((service) => service.localAddresses)];
  const others = linkNetworks(draft);
  const atLink = (addr: Ipv4): LinkNetwork | undefined => others.find((one) => isIn(one, addr));
  const all = [...(network.gateway ? [network.gateway] : []), ...vips, ...locals];
  for (const address of all) {
    const role = reservedRole(address.value, atLink(address.value)?.prefixLen ?? 32);
    if (role) errors.add(address, `${formatIpv4(address.value)} is a ${role} address`, "write a host's own address");
  }
  const own = all.filter((address) => !atLink(address.value));
  if (own.length === 0) return;
  const servers = services.flatMap(allServers).filter((server) => !atLink(server.value.ip));
  const routed = (addr: Ipv4): boolean =>
    draft.links.some(({ routes }) => routes?.value.some((route) => networkOf(addr, route.prefixLen) === route.network));
  const home = commonNetwork(
    own,
    servers.map((server) => server.value.ip),
    prefixLen,
  );
  const homeText = formatNetwork(home, prefixLen);

  for (const address of own) {
    const text = formatIpv4(address.value);
    const role = reservedRole(address.value, prefixLen);
    if (networkOf(address.value, prefixLen) !== home) {
      const hint = 'VIPs, gateway and local addresses share one network: correct the address or the netmask';
      errors.add(address, `${text} is outside the network ${homeText}`, hint);
    } else if (role) errors.add(address, `${text} is the ${role} address of ${homeText}`, "write a host's own address");
    if (address !== network.gateway && address.value === network.gateway?.value) {
      errors.add(address, `${text} is the gateway`, 'write an address of our own');
    }
  }
  for (const server of servers) {
    const { ip } = server.value;
    if (networkOf(ip, prefixLen) === home) {
      const role = reservedRole(ip, prefixLen);
      if (role)
        errors.add(server, `${formatIpv4(ip)} is the ${role} address of ${homeText}`, "write a host's own address");
    } else if (!network.gateway && !routed(ip)) {
      const message = `${formatIpv4(ip)} is outside the network ${homeText}, and there is no gateway`;
      errors.add(server, message, 'add gateway to [network], or correct the address');
    }
  }
}

/**
 * The network that most addresses agree on, so that the odd one out gets the blame. Servers have a vote, but only for a network that one of
 * ours is in; a draw goes to the gateway, then to the first VIP.
 */
function commonNetwork(own: readonly Located<Ipv4>[], servers: readonly Ipv4[], prefixLen: number): Ipv4 {
  const votes = new Map<Ipv4, number>();
  for (const { value } of own) {
    const network = networkOf(value, prefixLen);
    votes.set(network, (votes.get(network) ?? 0) + 1);
  }
  for (const server of new Set(servers)) {
    const network = networkOf(server, prefixLen);
    const count = votes.get(network);
    if (count !== undefined) votes.set(network, count + 1);
  }
  return [...votes].reduce((best, entry) => (entry[1] > best[1] ? entry : best))[0];
}

/** An address and port belong to one service. */
function checkVips(services: readonly DraftService[], errors: ErrorList): void {
  const owner = new Map<string, DraftService>();
  for (const service of services) {
    if (!service.vip || !service.ports) continue;
    for (const port of service.ports.value) {
      const endpoint = `${formatIpv4(service.vip.value)}:${port}`;
      const first = owner.get(`${service.proto} ${endpoint}`);
      if (first) {
        const message = `${endpoint} belongs to [${first.where.section}] already (line ${first.where.line})`;
        errors.add(service.ports, message, 'give it to one of them');
      } else owner.set(`${service.proto} ${endpoint}`, service);
    }
  }
}

const modeOf = (service: DraftService, draft: Draft): Mode => service.mode ?? draft.global.mode;

/** The modes of a service and of those of its servers that have one of their own. */
function modesOf(service: DraftService, draft: Draft): ReadonlySet<Mode> {
  return new Set([modeOf(service, draft), ...service.dests.flatMap(({ keys }) => keys.mode?.value ?? [])]);
}

/** FullNAT's own addresses, or those of [network]. */
function localsOf(service: DraftService, draft: Draft): readonly Located<Ipv4>[] {
  const modes = modesOf(service, draft);
  if (!(modes.has('fnat') || modes.has('snat')) || service.noLocals) return [];
  return service.localAddresses.length > 0 ? service.localAddresses : draft.network.localAddresses;
}

/** What a mode demands of protocol, ports, servers and local addresses. */
function checkMode(draft: Draft, service: DraftService): void {
  const { errors } = draft;
  const mode = modeOf(service, draft);
  const at = (key: string): Where => ({ ...service.where, key });
  if (mode === 'proxy' && service.proto === 'udp') {
    errors.add(at('proto'), 'mode proxy carries TCP only', 'choose mode fnat, nat, dr or tun');
  }
  checkOptions(draft, service, mode);
  const modes = modesOf(service, draft);
  if (modes.has('fnat') || modes.has('snat')) checkLocals(draft, service, mode, at('local_address'));
  else
    for (const local of service.localAddresses.slice(0, 1)) {
      errors.add(local, `mode ${mode} has no local addresses of its own`, 'remove it, or choose mode fnat');
    }
  if (mode === 'proxy') return;
  const direct = service.dests.filter(({ keys }) => isDirect(keys.mode?.value ?? mode));
  if (!isDirect(mode) && direct.length === 0) return;
  const vips = new Set(vipsOf(draft).map((vip) => vip.value));
  if (!draft.network.localAddresses.some((local) => !vips.has(local.value))) {
    const word = isDirect(mode) ? mode : direct[0]!.keys.mode!.value;
    const message = `mode ${word} needs an address of ours besides the VIP: servers that have the VIP do not hear one who calls himself so`;
    errors.add(at('mode'), message, 'add local_address = 192.168.100.20 to [network]');
  }
  for (const { server, keys } of service.backup && isDirect(mode)
    ? [...direct, { server: service.backup, keys: {} as ServerKeys }]
    : direct) {
    const other = service.ports?.value.find((port) => port !== 0 && port !== server.value.port);
    if (other !== undefined) {
      const message = `mode ${keys.mode?.value ?? mode} does not translate ports: port ${other} cannot become ${server.value.port}`;
      errors.add(server, message, 'let the server listen on the port of the service');
    }
  }
}

/** The server answers the client itself. */
const isDirect = (mode: Mode): boolean => mode === 'dr' || mode === 'tun';

/** What serverN_* keys demand of the service and of each other. */
function checkServerKeys(draft: Draft, service: DraftService): void {
  const { errors } = draft;
  const named = new Set<string>();
  for (const { name, server, keys } of service.dests) {
    const { mode, upper, lower } = keys;
    if (named.has(name)) errors.add(keys.name ?? server, `two servers are called '${name}'`, 'rename one of them');
    named.add(name);
    if (mode && (mode.value === 'proxy' || modeOf(service, draft) === 'proxy')) {
      errors.add(mode, 'mode proxy is for all servers of a service or for none', 'choose a mode of layer 4 for both');
    }
    if (lower && lower.value > (upper?.value ?? 0)) {
      errors.add(
        lower,
        `${lower.value} is more than ${lower.key.replace('lower', 'upper')}`,
        'make it at most as large',
      );
    }
  }
}

/** What a mode does not have. */
function checkOptions({ errors }: Draft, service: DraftService, mode: Mode): void {
  const at = (key: string): Where => ({ ...service.where, key });
  if (mode === 'proxy' && service.persistence !== null) {
    const hint = 'choose scheduler sh or conhash with hash_key = source, or a mode of layer 4';
    errors.add(at('persistence'), 'mode proxy remembers no clients', hint);
  }
  if (service.onePacket) {
    if (service.proto !== 'udp' && !service.mark && !service.match)
      errors.add(at('one_packet'), 'only UDP can be scheduled packet by packet', 'leave it out');
    else if (mode === 'fnat') {
      const message = 'mode fnat cannot answer what it has forgotten: the client of a local port';
      errors.add(at('one_packet'), message, 'choose mode nat, dr or tun');
    }
  }
  if (mode !== 'proxy') {
    const hint = 'choose mode proxy, or leave it out';
    const noHeader = `mode ${mode} has no PROXY protocol`;
    if (service.proxyProtocol !== 'off') errors.add(at('proxy_protocol'), noHeader, hint);
    if (service.acceptProxy.length > 0) errors.add(at('accept_proxy'), noHeader, hint);
    if (service.queueTimeoutMs > 0)
      errors.add(at('queue_timeout'), `mode ${mode} has no sessions that could wait`, hint);
    if (service.check?.passive) errors.add(at('check_passive'), `mode ${mode} has no sessions that could tell`, hint);
  }
}

const allServers = ({ dests, backup }: DraftService): readonly Located<ServerValue>[] => [
  ...dests.map((dest) => dest.server),
  ...(backup ? [backup] : []),
];

/** A local address serves FullNAT or the proxy: they do not know of each other's ports. */
function checkLocals(draft: Draft, service: DraftService, mode: Mode, where: Where): void {
  const { errors } = draft;
  const locals = localsOf(service, draft);
  if (locals.length === 0 && !service.noLocals) {
    errors.add(
      where,
      `mode ${mode === 'snat' ? 'snat' : 'fnat'} needs local addresses`,
      'add local_address = 192.168.100.30, an address of its own',
    );
  }
  const vips = new Set(vipsOf(draft).map((vip) => vip.value));
  for (const local of locals) {
    if (vips.has(local.value)) errors.add(local, `${formatIpv4(local.value)} is a VIP`, 'write an address of its own');
  }
  const proxies = draft.services.some((other) => modeOf(other, draft) === 'proxy');
  const theirs = new Set(proxies ? draft.network.localAddresses.map((local) => local.value) : []);
  const shared = locals.find((local) => theirs.has(local.value));
  if (shared) {
    const message = `${formatIpv4(shared.value)} is the local address of mode proxy`;
    errors.add(where, message, 'give the service a local_address of its own');
  }
}

function checkDests(draft: Draft, service: DraftService): void {
  const { errors } = draft;
  const vips = new Set(vipsOf(draft).map((vip) => vip.value));
  const ours = [...draft.network.localAddresses, ...draft.services.flatMap((other) => other.localAddresses)];
  const locals = new Set(ours.map((local) => local.value));
  const firstLine = new Map<string, number>();
  for (const server of allServers(service)) {
    const { ip, port } = server.value;
    const endpoint = `${formatIpv4(ip)}:${port}`;
    const first = firstLine.get(endpoint);
    if (first !== undefined) {
      errors.add(
        server,
        `duplicate server ${endpoint}, first in line ${first}`,
        'keep one, with the sum of the weights',
      );
    } else firstLine.set(endpoint, server.line);

    if (vips.has(ip)) {
      const self = service.vip?.value === ip && service.ports?.value.includes(port);
      const message = self ? `${endpoint} is the service itself` : `${formatIpv4(ip)} is a VIP`;
      errors.add(server, message, 'write the address of a real server');
    } else if (locals.has(ip)) {
      errors.add(server, `${formatIpv4(ip)} is a local address`, 'write the address of a real server');
    }
  }
  const weightless = service.dests.length > 0 && service.dests.every(({ server }) => server.value.weight === 0);
  if (service.complete && modeOf(service, draft) === 'proxy' && (weightless || service.dests.length === 0)) {
    if (service.dests.length === 0) {
      const hint = 'add server1 and count them, or choose a mode of layer 4';
      errors.add({ ...service.where, key: 'count' }, 'mode proxy needs servers', hint);
      return;
    }
    const message = 'no server has a weight: all are 0';
    errors.add(service.dests[0].server, message, 'give one server at least a weight above 0');
  }
}

/** The plain form without [link]: one TAP with everything it can. */
const PLAIN_LINK = {
  ...({ name: 'tap0', kind: 'tap', device: 'tap0', offload: 'on', xdpMode: 'auto', mtu: 1500 } as const),
  memif: { role: 'client', id: 0, secret: '', queues: 1, ring: 1024 } as const,
  addresses: [],
  routes: [],
  exception: null,
};
/** Linux's IFNAMSIZ without the final zero. */
const INTERFACE_NAME_MAX = 15;

function buildLinks(draft: Draft): LinkConfig[] {
  const { errors, vipMac } = draft;
  const firstVip = vipsOf(draft)[0]?.value ?? 0;
  if (draft.links.length === 0) return [{ ...PLAIN_LINK, mac: vipMac?.value ?? macFromIpv4(firstVip) }];

  const devices = new Map<string, DraftLink>();
  return draft.links.map((link, i) => {
    checkDevice(link, errors);
    const word = `${link.kind}:${link.device.value}`;
    const twin = devices.get(word);
    if (twin)
      errors.add(link.device, `${word} is the device of [${twin.where.section}] already`, 'give each link its own');
    else devices.set(word, link);
    if (i === 0 && link.mac && vipMac && link.mac.value !== vipMac.value) {
      const message = `${link.mac.value} is not the mac of [vip], ${vipMac.value} (line ${vipMac.line})`;
      errors.add(link.mac, message, 'keep one of them');
    }
    checkException(link, errors);
    checkNatOnXdp(draft, link, i === 0 && vipMac !== null);
    const { name, kind, device, offload, xdpMode, memif, mtu } = link;
    const addresses = link.addresses?.value ?? [];
    const made = INTERFACE_KINDS.includes(kind)
      ? null
      : macFromIpv4((i > 0 ? addresses[0]?.ip : undefined) ?? firstVip);
    const mac = link.mac?.value ?? (i === 0 ? vipMac?.value : undefined) ?? made;
    return {
      name,
      kind,
      device: device.value,
      offload,
      xdpMode,
      memif,
      mac,
      mtu,
      addresses,
      routes: link.routes?.value ?? [],
      exception: link.exception?.value ?? null,
    };
  });
}

/** Answers of servers are addressed to the clients in mode nat: an xdp link knows them as ours by the MAC address alone. */
function checkNatOnXdp(draft: Draft, link: DraftLink, hasMac: boolean): void {
  if (link.kind !== 'xdp' || link.mac || hasMac) return;
  if (!draft.services.some((service) => modeOf(service, draft) === 'nat')) return;
  const message = 'mode nat on an xdp link needs a MAC address that is not the one of the interface';
  draft.errors.add({ ...link.where, key: 'mac' }, message, 'add mac = 02:00:00:64:00:0a');
}

/** Only a link that takes frames away from the kernel has to give some back. */
function checkException({ kind, device, exception }: DraftLink, errors: ErrorList): void {
  if (!exception) return;
  if (INTERFACE_KINDS.includes(kind)) {
    errors.add(exception, `the kernel has what is not ours of a link of kind ${kind} anyway`, 'leave it out');
  } else if (kind === 'tap' && device.value === exception.value) {
    errors.add(exception, `tap:${exception.value} is the link itself`, 'name another TAP, as in tap:host0');
  }
}

function checkDevice({ kind, device }: DraftLink, errors: ErrorList): void {
  if (
    (kind !== 'tap' && !INTERFACE_KINDS.includes(kind)) ||
    new RegExp(`^[^\\s/:]{1,${INTERFACE_NAME_MAX}}$`).test(device.value)
  )
    return;
  const hint = `up to ${INTERFACE_NAME_MAX} characters without / : and spaces, as in tap0`;
  errors.add(device, `'${device.value}' cannot be the name of an interface`, hint);
}

const plainServer = ({ value: { ip, port, weight, mac } }: Located<ServerValue>): ServerValue => ({
  ip,
  port,
  weight,
  mac,
});

/** One service of the model per port. */
function buildServices(service: DraftService, draft: Draft): ServiceConfig[] {
  const { scheduler, schedOptions, timeouts, retries, mssClamp } = service;
  const { expireQuiescent, persistence, onePacket, fragments } = service;
  const places = placesOf(service);
  const dests = service.dests.map(({ name, server, keys: { mode, upper, lower } }) => ({
    ...{ name, af: 4 as const },
    ...plainServer(server),
    ...(mode && { mode: mode.value }),
    ...(upper && { upper: upper.value }),
    ...(lower && { lower: lower.value }),
  }));
  return places.map((place) => ({
    name: places.length === 1 ? service.name : `${service.name}:${place.port}`,
    af: 4,
    ...place,
    mode: service.mode ?? draft.global.mode,
    scheduler,
    schedOptions,
    timeouts,
    keepAlive: { ...draft.tcp.keepAlive, ...service.keepAlive },
    maxHalfOpen: service.maxHalfOpen,
    retries,
    localAddresses: localsOf(service, draft).map((local) => local.value),
    mssClamp,
    expireQuiescent,
    persistence,
    onePacket,
    fragments,
    check: service.check,
    slowStartMs: service.slowStartMs ?? draft.global.slowStartMs,
    maxConnections: service.maxConnections,
    queueTimeoutMs: service.queueTimeoutMs,
    proxyProtocol: service.proxyProtocol,
    acceptProxy: service.acceptProxy,
    backup: service.backup && { name: 'backup', af: 4 as const, ...service.backup.value },
    dests,
  }));
}

/** [service web] with ports 80,81 makes a `web:80`, which [service web:80] may not be as well. */
function checkNames(built: readonly ServiceConfig[], services: readonly DraftService[], errors: ErrorList): void {
  const names = built.map((service) => service.name);
  for (const name of new Set(names.filter((other, i) => names.indexOf(other) !== i))) {
    const culprit = services.findLast((service) => name === service.name || name.startsWith(`${service.name}:`));
    if (culprit) errors.add(culprit.where, `two services are called '${name}'`, 'rename one of the sections');
  }
}

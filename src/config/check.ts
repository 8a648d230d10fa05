/**
 * A draft judged as a whole and turned into the model: what no single value can tell, such as a VIP outside the network, two services
 * on one port, or servers without any weight. Every finding names the line that causes it.
 */
import { formatIpv4 } from './address.ts';
import { buildLinks } from './check-links.ts';
import { checkMode, checkServerKeys, localsOf, modeOf } from './check-modes.ts';
import { checkLinkNetworks, checkNetwork } from './check-network.ts';
import { checkRules, placesOf, vipsOf } from './check-rules.ts';
import { allServers, type Draft, type DraftService } from './draft.ts';
import type { ErrorList, Located } from './error.ts';
import { type Config, MAX_DESTS, MAX_SERVICES, type ServiceConfig } from './model.ts';
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
  checkRoom(built, services, errors);
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

function checkDests(draft: Draft, service: DraftService): void {
  const { errors } = draft;
  const vips = new Set(vipsOf(draft).map((vip) => vip.value));
  const ours = [...draft.network.localAddresses, ...draft.services.flatMap((other) => other.localAddresses)];
  const locals = new Set([
    ...ours.map((local) => local.value),
    ...draft.links.flatMap(({ addresses }) => (addresses?.value ?? []).map((own) => own.ip)),
  ]);
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

const plainServer = ({ value: { ip, port, weight, mac } }: Located<ServerValue>): ServerValue => ({
  ip,
  port,
  weight,
  mac,
});

/** One service of the model per port. */
function buildServices(service: DraftService, draft: Draft): ServiceConfig[] {
  const { scheduler, schedOptions, timeouts, retries, mssClamp } = service;
  const { timestamps, connTimeoutMs, expireQuiescent, persistence, onePacket, fragments } = service;
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
    timestamps,
    connTimeoutMs,
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

function checkRoom(built: readonly ServiceConfig[], services: readonly DraftService[], errors: ErrorList): void {
  const servers = built.reduce((n, { mode, dests, localAddresses, backup }) => {
    return n + (mode === 'snat' ? localAddresses : dests).length + (backup === null ? 0 : 1);
  }, 0);
  const last = services.at(-1);
  if (last === undefined) return;
  if (built.length > MAX_SERVICES) {
    errors.add(
      last.where,
      `${built.length} services, each port one, are too many`,
      `there is room for ${MAX_SERVICES}`,
    );
  }
  if (servers > MAX_DESTS) {
    errors.add(last.where, `${servers} servers of all services are too many`, `there is room for ${MAX_DESTS}`);
  }
}

/** [service web] with ports 80,81 makes a `web:80`, which [service web:80] may not be as well. */
function checkNames(built: readonly ServiceConfig[], services: readonly DraftService[], errors: ErrorList): void {
  const names = built.map((service) => service.name);
  for (const name of new Set(names.filter((other, i) => names.indexOf(other) !== i))) {
    const culprit = services.findLast((service) => name === service.name || name.startsWith(`${service.name}:`));
    if (culprit) errors.add(culprit.where, `two services are called '${name}'`, 'rename one of the sections');
  }
}

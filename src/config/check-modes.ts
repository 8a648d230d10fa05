/** What the mode of a service demands of its protocol, ports, servers, options and local addresses. Called by check.ts. */
import { formatIpv4 } from './address.ts';
import { vipsOf } from './check-rules.ts';
import type { Draft, DraftService } from './draft.ts';
import type { Located, Where } from './error.ts';
import type { Ipv4, Mode } from './model.ts';
import type { ServerKeys } from './read-section.ts';

export const modeOf = (service: DraftService, draft: Draft): Mode => service.mode ?? draft.global.mode;

/** The modes of a service and of those of its servers that have one of their own. */
function modesOf(service: DraftService, draft: Draft): ReadonlySet<Mode> {
  return new Set([modeOf(service, draft), ...service.dests.flatMap(({ keys }) => keys.mode?.value ?? [])]);
}

/** FullNAT's own addresses, or those of [network]. */
export function localsOf(service: DraftService, draft: Draft): readonly Located<Ipv4>[] {
  const modes = modesOf(service, draft);
  if (!(modes.has('fnat') || modes.has('snat')) || service.noLocals) return [];
  return service.localAddresses.length > 0 ? service.localAddresses : draft.network.localAddresses;
}

/** What a mode demands of protocol, ports, servers and local addresses. */
export function checkMode(draft: Draft, service: DraftService): void {
  const { errors } = draft;
  const mode = modeOf(service, draft);
  const at = (key: string): Where => ({ ...service.where, key });
  if (mode === 'proxy' && service.proto === 'udp') {
    errors.add(at('proto'), 'mode proxy carries TCP only', 'choose mode fnat, nat, dr or tun');
  }
  checkWorkers(draft, service, mode);
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
export function checkServerKeys(draft: Draft, service: DraftService): void {
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

/** Workers know by address and port which flows have to meet at one of them; a rule tells nothing of the kind. */
function checkWorkers({ global, errors }: Draft, service: DraftService, mode: Mode): void {
  if (global.workers === 1 || (!service.mark && !service.match)) return;
  const at = (key: string): Where => ({ ...service.where, key });
  const message = 'cannot be divided among several workers when the service goes by a rule';
  // Without servers it has no mode yet: ipvsadm adds them afterwards.
  const translates = service.dests.some(({ keys }) => (keys.mode?.value ?? mode) === 'nat');
  if (translates) errors.add(at('mode'), `mode nat ${message}`, 'set workers = 1, or choose mode fnat');
  if (service.persistence !== null) errors.add(at('persistence'), `persistence ${message}`, 'set workers = 1');
}

const mayBeUdp = ({ proto, mark, match }: DraftService): boolean => proto === 'udp' || mark !== null || match !== null;

/** What a mode does not have. */
function checkOptions({ errors }: Draft, service: DraftService, mode: Mode): void {
  const at = (key: string): Where => ({ ...service.where, key });
  if (mode === 'proxy' && service.persistence !== null) {
    const hint = 'choose scheduler sh or conhash with hash_key = source, or a mode of layer 4';
    errors.add(at('persistence'), 'mode proxy remembers no clients', hint);
  }
  if (service.schedOptions['key'] === 'quic' && (mode === 'proxy' || !mayBeUdp(service))) {
    errors.add(at('hash_key'), 'only UDP carries QUIC', 'choose proto = udp, or hash_key = 5tuple or source');
  }
  if (service.onePacket) {
    if (!mayBeUdp(service)) errors.add(at('one_packet'), 'only UDP can be scheduled packet by packet', 'leave it out');
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

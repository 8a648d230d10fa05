/**
 * Addresses against networks: gateway, VIPs, local addresses and servers are in a network of ours or behind a router, links have networks
 * of their own. Called by check.ts.
 */
import { formatIpv4, formatNetwork, networkOf, reservedRole } from './address.ts';
import { vipsOf } from './check-rules.ts';
import { allServers, type Draft, type DraftLink } from './draft.ts';
import type { Located, Where } from './error.ts';
import type { InterfaceAddress, Ipv4 } from './model.ts';

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
export function checkLinkNetworks(draft: Draft): void {
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
  const homes = [...vipsOf(draft), ...network.localAddresses];
  for (const link of links) {
    if (!link.routes) continue;
    for (const { gateway } of link.routes.value) {
      const here = networks.some((one) => one.link === link && isIn(one, gateway));
      const atFirst =
        link === links[0] &&
        homes.some((own) => isIn({ ip: own.value, prefixLen: network.prefixLen?.value ?? 1 }, gateway));
      if (here || atFirst) continue;
      const message = `the router ${formatIpv4(gateway)} is in no network of this link`;
      errors.add(link.routes, message, 'correct it, or add an address of its network');
    }
  }
}

/** Gateway, VIPs and local addresses are in the network of [network] or one of a link; servers may be elsewhere behind a router. */
export function checkNetwork(draft: Draft, prefixLen: number): void {
  const { errors, network, services } = draft;
  const vips = vipsOf(draft);
  const locals = [...network.localAddresses, ...services.flatMap((service) => service.localAddresses)];
  const others = linkNetworks(draft);
  const atLink = (addr: Ipv4): LinkNetwork | undefined => others.find((one) => isIn(one, addr));
  const all = [...(network.gateway ? [network.gateway] : []), ...vips, ...locals];
  const backends = services.flatMap(allServers);
  for (const address of [...all, ...backends.map((server) => ({ ...server, value: server.value.ip }))]) {
    const role = reservedRole(address.value, atLink(address.value)?.prefixLen ?? 32);
    if (role) errors.add(address, `${formatIpv4(address.value)} is a ${role} address`, "write a host's own address");
  }
  const own = all.filter((address) => !atLink(address.value));
  if (own.length === 0) return;
  const servers = backends.filter((server) => !atLink(server.value.ip));
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
      const hint =
        'VIPs, gateway and local addresses share one network: correct the address or the netmask, or give a link its network or the address as a /32';
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

/**
 * Routes that follow from our own addresses: a host route to the address itself and a link route to its subnet.
 * A listener of the address table; cold.
 *
 * Two addresses in one subnet share the subnet's route: it goes with the last of them. Its source stays open, so that
 * LocalAddresses.sourceFor chooses among those that are left.
 */
import { type AddressListener, type LocalAddress, type LocalAddresses, maskOf } from '../inetaddr/addr.ts';
import { type Route4, type Routes4, SCOPE_HOST, SCOPE_LINK } from './route4.ts';

export class ConnectedRoutes implements AddressListener {
  private readonly routes: Routes4;
  private readonly addresses: LocalAddresses;

  /** Registers itself with the address table. */
  constructor(routes: Routes4, addresses: LocalAddresses) {
    this.routes = routes;
    this.addresses = addresses;
    addresses.listen(this);
  }

  added(address: LocalAddress): void {
    this.routes.add(hostRoute(address));
    if (address.prefixLen < 32 && !this.isShared(address)) this.routes.add(linkRoute(address));
  }

  removed(address: LocalAddress): void {
    this.routes.delete(hostRoute(address));
    if (address.prefixLen < 32 && !this.isShared(address)) this.routes.delete(linkRoute(address));
  }

  /** Another address of the same port is in the same subnet. */
  private isShared(address: LocalAddress): boolean {
    const { addr, prefixLen, port } = address;
    return this.addresses
      .list()
      .some(
        (a) =>
          a.port === port &&
          a.prefixLen === prefixLen &&
          a.addr !== addr &&
          ((a.addr ^ addr) & maskOf(prefixLen)) === 0,
      );
  }
}

const route = (a: LocalAddress, len: number, scope: number): Route4 => ({
  prefix: a.addr & maskOf(len),
  len,
  gateway: 0,
  port: a.port,
  metric: 0,
  src: 0,
  mtu: 0,
  scope,
});

const hostRoute = (a: LocalAddress): Route4 => route(a, 32, SCOPE_HOST);
const linkRoute = (a: LocalAddress): Route4 => route(a, a.prefixLen, SCOPE_LINK);

/**
 * Names of hosts and services, to and from numbers. The functions are given from outside: the parser and the listings know no resolver.
 * `namesFromFiles` makes them from the texts of /etc/hosts and /etc/services.
 */
import { type Address, parseIpv4Loosely, parseIpv6, sameAddress } from './address.ts';

export type Protocol = 'tcp' | 'udp' | 'sctp' | 'icmp' | 'icmpv6';

export interface Names {
  /** IPv4 only, as the tool's: an IPv6 server is written as an address. */
  readonly addressOf: (host: string) => Address | null;
  readonly hostOf: (address: Address) => string | null;
  readonly portOf: (service: string, protocol: Protocol) => number | null;
  readonly serviceOf: (port: number, protocol: Protocol) => string | null;
}

/** Nothing has a name. */
export const NO_NAMES: Names = {
  addressOf: () => null,
  hostOf: () => null,
  portOf: () => null,
  serviceOf: () => null,
};

interface ServiceLine {
  readonly names: readonly string[];
  readonly port: number;
  readonly protocol: string;
}

const fieldsOf = (text: string): string[][] =>
  text
    .split('\n')
    .map((line) => line.replace(/#.*/, '').trim())
    .filter((line) => line !== '')
    .map((line) => line.split(/\s+/));

/** The first line that fits wins, as in the C library. */
export function namesFromFiles(hosts: string, services: string): Names {
  const hostLines = fieldsOf(hosts).flatMap(([text = '', ...names]) => {
    const address = parseIpv6(text) ?? parseIpv4Loosely(text);
    return address === null ? [] : [{ address, names }];
  });
  const serviceLines = fieldsOf(services).map(([name = '', where = '', ...aliases]): ServiceLine => {
    const [port, protocol = ''] = where.split('/');
    return { names: [name, ...aliases], port: Number(port), protocol };
  });
  return {
    addressOf: (host) =>
      hostLines.find(({ address, names }) => address.family === 4 && names.includes(host))?.address ?? null,
    hostOf: (wanted) => hostLines.find(({ address }) => sameAddress(address, wanted))?.names[0] ?? null,
    portOf: (service, wanted) =>
      serviceLines.find(({ names, protocol }) => protocol === wanted && names.includes(service))?.port ?? null,
    serviceOf: (wanted, of) =>
      serviceLines.find(({ port, protocol }) => port === wanted && protocol === of)?.names[0] ?? null,
  };
}

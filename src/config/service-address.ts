/** Where a service is reached, in words: an address and port, a mark, or a match. Used by listings, log and `tsvs check`. */
import { formatEndpoint, formatIpv4 } from './address.ts';
import { formatMatch } from './match.ts';
import type { ServiceConfig } from './model.ts';

export function formatService({ proto, vip, port, match }: Omit<Addressed, 'match'> & Partial<Addressed>): string {
  if (proto === 'mark') return `mark ${vip >>> 0}`;
  if (proto === 'match') return match ? `match ${formatMatch(match)}` : 'match';
  return port === 0 ? formatIpv4(vip) : formatEndpoint(vip, port);
}

type Addressed = Pick<ServiceConfig, 'proto' | 'vip' | 'port' | 'match'>;

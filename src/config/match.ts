/**
 * What packets a rule is for, as text: `tcp,from=10.0.0.1-10.0.0.9:1024-65535,to=192.168.100.10:80,iif=lan,oif=wan`, the form
 * in which DPVS lists services that match. What is left out is any. Used by the schema, by save.ts and by messages.
 */
import { formatIpv4, networkOf, parseIpv4 } from './address.ts';
import { clip, type Fail } from './error.ts';
import { type AddressRange, type Ipv4, MATCH_PROTOS, type MatchConfig } from './model.ts';
import { type Value, value } from './values.ts';

const MAX_PORT = 65535;
const HINT = 'write it as in tcp,from=10.1.0.0/16,to=192.168.100.10:80-443,iif=lan';
const NAME = /^[A-Za-z0-9._:-]{1,64}$/;

export const match: Value<MatchConfig> = value((text, fail) => {
  const found: { -readonly [K in keyof MatchConfig]: MatchConfig[K] } = {
    ...{ proto: 'any', from: null, to: null, iif: null, oif: null },
  };
  const seen = new Set<string>();
  for (const part of text.split(',').map((item) => item.trim())) {
    const [, key, rest] = /^(from|to|iif|oif)=(.*)$/.exec(part) ?? [null, 'proto', part];
    if (seen.has(key!)) fail(`${key} appears twice`, 'name it once');
    seen.add(key!);
    if (key === 'from' || key === 'to') found[key] = readRange(rest!, fail);
    else if (key === 'iif' || key === 'oif') {
      if (!NAME.test(rest!)) fail(`'${clip(rest!)}' is not the name of a link`, HINT);
      found[key] = rest!;
    } else {
      const proto = MATCH_PROTOS.find((word) => word === rest);
      if (proto === undefined) fail(`'${clip(part)}' is not understood`, HINT);
      found.proto = proto ?? 'any';
    }
  }
  return found;
});

/** `A`, `A-B` or `A/len`, and `:p` or `:p-q` behind it. */
function readRange(text: string, fail: Fail): AddressRange {
  const [, addresses = '', ports] = /^([^:]*)(?::(.*))?$/.exec(text) ?? [];
  const [, first = '', last = first, length] = /^([^-/]*)(?:-([^/]*)|\/(\d{1,2}))?$/.exec(addresses) ?? [];
  const [low, high, bits] = [parseIpv4(first), parseIpv4(last), Number(length ?? 32)];
  const [, lowPort = '0', highPort = ports === undefined ? String(MAX_PORT) : lowPort] =
    /^(\d{1,5})(?:-(\d{1,5}))?$/.exec(ports ?? '') ?? [];
  if (low === null || high === null || bits > 32) fail(`'${clip(text)}' is not a range of addresses`, HINT);
  else if (low >>> 0 > high >>> 0) fail(`${addresses} is empty`, 'write the smaller address first');
  else if (length !== undefined && networkOf(low, bits) !== low) fail(`${addresses} has bits beyond its prefix`);
  if (ports !== undefined && !/^\d{1,5}(-\d{1,5})?$/.test(ports)) fail(`'${clip(ports)}' are no ports`, HINT);
  else if (Number(lowPort) > Number(highPort)) fail(`${ports} is empty`, 'write the smaller port first');
  else if (Number(highPort) > MAX_PORT) fail(`${ports} are no ports`, 'a port is 0..65535');
  const end = length === undefined ? (high ?? 0) : (low ?? 0) | (bits === 0 ? -1 : ~(-1 << (32 - bits))) | 0;
  return { low: low ?? 0, high: end, lowPort: Number(lowPort), highPort: Number(highPort) };
}

/** In the one spelling that a file saved has. */
export function formatMatch({ proto, from, to, iif, oif }: MatchConfig): string {
  const fields = [
    proto,
    ...(from === null ? [] : [`from=${formatRange(from)}`]),
    ...(to === null ? [] : [`to=${formatRange(to)}`]),
    ...(iif === null ? [] : [`iif=${iif}`]),
    ...(oif === null ? [] : [`oif=${oif}`]),
  ];
  return fields.join(',');
}

function formatRange({ low, high, lowPort, highPort }: AddressRange): string {
  const addresses = low === high ? formatIpv4(low) : `${formatIpv4(low)}-${formatIpv4(high)}`;
  if (lowPort === 0 && highPort === MAX_PORT) return addresses;
  return `${addresses}:${lowPort === highPort ? lowPort : `${lowPort}-${highPort}`}`;
}

/** A number that stands for a match where services have an address: FNV-1a of its text. */
export function matchId(of: MatchConfig): Ipv4 {
  let hash = 0x811c9dc5 | 0;
  for (const byte of new TextEncoder().encode(formatMatch(of))) hash = Math.imul(hash ^ byte, 0x01000193);
  return hash;
}

/** `--link kind:device` in place of the first configured link. */
import { macFromIpv4 } from '../config/address.ts';
import { type Config, INTERFACE_KINDS, LINK_KINDS, type LinkKind } from '../config/model.ts';
import { nearest } from '../config/nearest.ts';
import { EXIT, Failure } from './failure.ts';

/** Throws Failure when the word is no link. */
export function withLink(config: Config, word: string): Config {
  const colon = word.indexOf(':');
  const kind = word.slice(0, colon);
  const device = word.slice(colon + 1);
  if (colon < 1 || device === '') throw usage(word, 'expected KIND:DEVICE, such as tap:tap0');
  if (!isKind(kind)) {
    const near = nearest(kind, LINK_KINDS);
    throw usage(
      word,
      `no link is of kind '${kind}'${near ? `; did you mean '${near}'?` : ''} (there are ${LINK_KINDS.join(', ')})`,
    );
  }
  const [first, ...rest] = config.links;
  // A MAC address that was made for a TAP gives way to that of the interface.
  const ours = macFromIpv4(config.services[0]?.vip ?? 0);
  const mac = INTERFACE_KINDS.includes(kind) && first!.mac === ours ? null : (first!.mac ?? ours);
  return { ...config, links: [{ ...first!, name: device, kind, device, mac }, ...rest] };
}

const isKind = (word: string): word is LinkKind => (LINK_KINDS as readonly string[]).includes(word);

function usage(word: string, why: string): Failure {
  return new Failure(EXIT.USAGE, `--link ${word}: ${why}`);
}

/** `--link kind:device` in place of the configured link. */
import { type Config, LINK_KINDS, type LinkKind } from '../config/model.ts';
import { LinkError } from '../links/syscall.ts';

/** Throws LinkError when the word is no link. */
export function withLink(config: Config, word: string): Config {
  const colon = word.indexOf(':');
  const kind = word.slice(0, colon) as LinkKind;
  const device = word.slice(colon + 1);
  if (colon < 1 || !LINK_KINDS.includes(kind) || device === '') {
    throw new LinkError(
      'LINK',
      `--link ${word}: expected KIND:DEVICE, such as tap:tap0 (kinds: ${LINK_KINDS.join(', ')})`,
    );
  }
  const first = config.links[0]!;
  return { ...config, links: [{ ...first, kind, device }] };
}

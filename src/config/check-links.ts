/** The links of a draft, checked and turned into those of the model. Called by check.ts. */
import { macFromIpv4 } from './address.ts';
import { modeOf } from './check-modes.ts';
import { vipsOf } from './check-rules.ts';
import type { Draft, DraftLink } from './draft.ts';
import type { ErrorList } from './error.ts';
import { INTERFACE_KINDS, type LinkConfig } from './model.ts';

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

export function buildLinks(draft: Draft): LinkConfig[] {
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

/**
 * The form of mutations as they come over the control socket: src/ipvsadm/ops.ts for strangers. What is of this form can be handed to the
 * rules of the table, which say whether it makes sense. Used by changes.ts.
 */
import { z } from 'zod';
import { HASH_TARGETS } from '../ipvsadm/ops.ts';

const INT32 = z.int().min(-0x80000000).max(0xffffffff);
const PORT = z.int().min(0).max(65535);
const COUNT = z.int().min(0).max(0x7fffffff);

const ADDRESS = z.union([
  z.strictObject({ family: z.literal(4), words: z.tuple([INT32]) }),
  z.strictObject({ family: z.literal(6), words: z.tuple([INT32, INT32, INT32, INT32]) }),
]);
const ENDPOINT = z.strictObject({ address: ADDRESS, port: PORT });
const PROTOCOL = z.enum(['tcp', 'udp', 'sctp', 'icmp', 'icmpv6']);
const FAMILY = z.literal([4, 6]);
const RANGE = z.strictObject({ low: ADDRESS, high: ADDRESS, lowPort: PORT, highPort: PORT }).nullable();

const SERVICE = z.union([
  z.strictObject({ kind: z.literal('address'), protocol: PROTOCOL, address: ADDRESS, port: PORT }),
  z.strictObject({ kind: z.literal('fwmark'), mark: z.int().min(1).max(0xffffffff), family: FAMILY }),
  z.strictObject({
    kind: z.literal('match'),
    protocol: z.union([PROTOCOL, z.literal('any')]),
    family: FAMILY,
    match: z.strictObject({ from: RANGE, to: RANGE, iif: z.string(), oif: z.string() }),
  }),
]);

const SERVICE_SETTINGS = z.strictObject({
  scheduler: z.string(),
  schedFlags: z.int().min(0).max(7),
  persistSec: COUNT,
  mask: INT32,
  pe: z.string(),
  ops: z.boolean(),
  synproxy: z.boolean(),
  connTimeoutSec: COUNT,
  proxyProtocol: z.string(),
  hashTarget: z.enum(HASH_TARGETS).nullable(),
  expireQuiescent: z.boolean(),
  quic: z.boolean(),
  destCheck: z.looseObject({}).nullable(),
});
const DEST_SETTINGS = z.strictObject({
  forward: z.enum(['route', 'masq', 'tunnel', 'fullnat', 'snat']),
  weight: COUNT,
  upper: COUNT,
  lower: COUNT,
  tunnel: z.strictObject({ type: z.enum(['ipip', 'gue', 'gre']), port: PORT, checksum: z.string() }),
});
const SUBJECT = z.union([
  z.strictObject({ kind: z.literal('address'), address: ADDRESS }),
  z.strictObject({ kind: z.literal('ipset'), name: z.string() }),
]);

export const MUTATION = z.discriminatedUnion('op', [
  z.strictObject({ op: z.enum(['add-service', 'edit-service']), service: SERVICE, settings: SERVICE_SETTINGS }),
  z.strictObject({ op: z.literal('delete-service'), service: SERVICE }),
  z.strictObject({ op: z.literal('flush') }),
  z.strictObject({ op: z.literal('zero'), service: SERVICE.nullable() }),
  z.strictObject({ op: z.enum(['add-dest', 'edit-dest']), service: SERVICE, dest: ENDPOINT, settings: DEST_SETTINGS }),
  z.strictObject({ op: z.literal('delete-dest'), service: SERVICE, dest: ENDPOINT }),
  z.strictObject({
    op: z.literal('set-timeouts'),
    timeouts: z.strictObject({ tcp: COUNT, tcpfin: COUNT, udp: COUNT }),
  }),
  z.strictObject({ op: z.literal('start-daemon'), daemon: z.looseObject({}) }),
  z.strictObject({ op: z.literal('stop-daemon'), role: z.enum(['master', 'backup']) }),
  z.strictObject({
    op: z.enum(['add-laddr', 'delete-laddr']),
    service: SERVICE,
    local: z.strictObject({ address: ADDRESS, device: z.string() }),
  }),
  z.strictObject({
    op: z.enum(['add-subject', 'delete-subject']),
    list: z.enum(['deny', 'allow']),
    service: SERVICE,
    subject: SUBJECT,
  }),
]);

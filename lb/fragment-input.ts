/**
 * Fragments at PRE_ROUTING. Unless a service says otherwise (fragments.ts), those for an address of ours pass, and are put together by
 * the stack; those that a NAT server sends to its client, or a host behind us to the world, are put together here.
 *
 * Called by lb/core.ts; `datagram` is its way in for what is whole, or has the ports. Ownership: as core.
 * @hot
 */
import { LB_FRAGMENT } from '../stack/drop.ts';
import type { FrameId, Ipv4, Verdict } from '../stack/types.ts';
import { DROP, PASS } from '../stack/verdict.ts';
import { get32 } from '../stack/wire/bytes.ts';
import * as ip from '../stack/wire/ipv4.ts';
import { UDP_LEN } from '../stack/wire/udp.ts';
import type { Classifier } from './classify.ts';
import type { ConnTable } from './conn.ts';
import * as c from './conn-row.ts';
import type { CoreParts, CoreStack } from './core.ts';
import { DROP_ALL, FORWARD, type FragmentRules, REASSEMBLE } from './fragments.ts';
import type { NatServers } from './nat-servers.ts';
import type { ServiceTable } from './service.ts';
import type { Xmit } from './xmit/index.ts';

export class FragmentInput {
  private readonly stack: CoreStack;
  private readonly services: ServiceTable;
  private readonly xmit: Xmit;
  private readonly tcp: ConnTable;
  private readonly udp: ConnTable;
  private readonly rules: FragmentRules;
  private readonly classifier: Classifier;
  private readonly natServers: NatServers;
  private readonly datagram: (f: FrameId, l3: number) => Verdict;

  constructor(
    parts: CoreParts,
    rules: FragmentRules,
    classifier: Classifier,
    natServers: NatServers,
    datagram: (f: FrameId, l3: number) => Verdict,
  ) {
    this.stack = parts.stack;
    this.services = parts.services;
    this.xmit = parts.xmit;
    this.tcp = parts.tcp.table;
    this.udp = parts.udp.table;
    this.rules = rules;
    this.classifier = classifier;
    this.natServers = natServers;
    this.datagram = datagram;
  }

  /** A fragment from a NAT server to its client, or of a host behind us, is for nobody here: nobody else puts it together. */
  input(f: FrameId, l3: number): Verdict {
    const { pool } = this.stack.ctx;
    const { stack } = this;
    const src = ip.src(pool.buf, l3);
    const dst = ip.dst(pool.buf, l3);
    const own = this.rules.policy(ip.proto(pool.buf, l3), dst);
    const policy = this.rules.byRule === 0 ? own : this.ruled(f, l3, src, dst, own);
    if (policy === DROP_ALL) return DROP | LB_FRAGMENT;
    if (policy === FORWARD) return this.forwardFragment(f, l3, src, dst);
    if (!this.natServers.addresses.has(src) && !this.classifier.concerns(f, ip.proto(pool.buf, l3), src, dst))
      return PASS;
    if (stack.addresses.isLocal(dst)) return PASS;
    const verdict = stack.reassembler.input(f);
    const whole = stack.reassembler.outFrame;
    if (whole !== 0) {
      const own = this.datagram(whole, pool.l3[whole]);
      this.stack.ctx.settle(whole, own === PASS ? stack.ip4.route(whole) : own);
    }
    return verdict;
  }

  /** The policy of the service by mark or match that the datagram is for, `own` when it is for none. */
  private ruled(f: FrameId, l3: number, src: Ipv4, dst: Ipv4, own: number): number {
    const { pool, nowMs } = this.stack.ctx;
    const { buf } = pool;
    const { rules, services } = this;
    const proto = ip.proto(buf, l3);
    const word = (ip.id(buf, l3) << 16) | proto;
    if (ip.fragmentOffset(buf, l3) !== 0) return rules.followed(src, dst, word, nowMs, own);
    const l4 = pool.l4[f];
    const hasPorts = (proto === ip.PROTO_TCP || proto === ip.PROTO_UDP) && pool.off[f] + pool.len[f] - l4 >= UDP_LEN;
    const service = this.classifier.find(f, proto, src, dst, hasPorts ? get32(buf, l4) : 0);
    if (service === 0) return own;
    const { columns } = services;
    const policy = rules.policy(columns.proto[service], columns.vip[service]);
    if (policy === DROP_ALL) rules.noteDropped(src, dst, word, nowMs);
    return policy === FORWARD && !hasPorts ? REASSEMBLE : policy;
  }

  /** A fragment goes where the first one of its datagram went, without waiting for the others. */
  private forwardFragment(f: FrameId, l3: number, src: Ipv4, dst: Ipv4): Verdict {
    const { pool } = this.stack.ctx;
    const { buf } = pool;
    const { rules } = this;
    const proto = ip.proto(buf, l3);
    const word = (ip.id(buf, l3) << 16) | proto;
    const { nowMs } = this.stack.ctx;
    if (ip.fragmentOffset(buf, l3) !== 0) {
      if (!rules.find(src, dst, word, nowMs)) return DROP | LB_FRAGMENT;
      this.services.countIn(rules.dest, 1, pool.wireLength(f));
      return this.xmit.straight(f, rules.mode, rules.raddr, rules.dest);
    }
    const l4 = pool.l4[f];
    if (pool.off[f] + pool.len[f] - l4 < UDP_LEN) return DROP | LB_FRAGMENT;
    const ports = get32(buf, l4);
    const table = proto === ip.PROTO_TCP ? this.tcp : this.udp;
    const verdict = this.datagram(f, l3);
    const hit = verdict === PASS ? 0 : table.find(src, dst, ports);
    if (hit !== 0) {
      const at = c.rowOf(hit) << c.ROW_SHIFT;
      const mode = (table.rows[at + c.META] & c.MODE_MASK) >> c.MODE_SHIFT;
      if (!c.seesReplies(mode)) {
        rules.note(src, dst, word, table.rows[at + c.RADDR], table.rows[at + c.DEST], mode, nowMs);
      }
    }
    return verdict;
  }
}

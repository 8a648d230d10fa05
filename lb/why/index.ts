/**
 * `why`: what would become of a packet if it came now, step by step, or what holds for the flow it belongs to. Nothing is sent,
 * counted, opened, refreshed or taken, and no scheduler's turn moves on: tables are only read.
 *
 * It says again, for people, what ipv4/input.ts, core.ts, opener.ts and xmit do; where they decide, it asks the same functions.
 * test/packet/why.test.ts holds the two together: ask, feed the packet, compare. Of parts that chance decides (a local port never
 * used, `twos`) it says so. It knows addresses, ports, size, DF and TTL of the packet; checksums, options and fragments are taken to be in
 * order, and hooks of others at PRE_ROUTING are not asked.
 *
 * Cold. Called by the worker between two bursts.
 */
import {
  ICMP_IGNORED,
  IP_DESTINATION,
  IP_NO_ROUTE,
  IP_NOT_LOCAL,
  IP_REVERSE_PATH,
  IP_SOURCE,
  IP_TTL,
  LB_MODE,
  LB_QUIESCED,
  TCP_BACKLOG,
  TCP_NO_ROUTE_BACK,
  TCP_NO_SOCKET,
  UDP_NO_PORT,
} from '../../stack/drop.ts';
import type { Host } from '../../stack/host.ts';
import { isMulticast, isUnicast } from '../../stack/ipv4/input.ts';
import { STATE_NAMES } from '../../stack/tcp/state.ts';
import { TW_BASE } from '../../stack/tcp/timewait.ts';
import type { Ipv4 } from '../../stack/types.ts';
import { IPV4_LEN, PROTO_ICMP, PROTO_TCP, PROTO_UDP } from '../../stack/wire/ipv4.ts';
import type { ConnTable } from '../conn.ts';
import * as c from '../conn-row.ts';
import type { L4 } from '../l4.ts';
import * as icmp from '../proto/icmp.ts';
import { protocolOf } from '../proto/index.ts';
import { PROTO_MARK, PROTO_MATCH, type ServiceTable } from '../service.ts';
import { type Flow, newRow, schedule } from './choice.ts';
import { drop, type Found, findWay, leave } from './egress.ts';
import type { Answer, Asked, ConnFacts, End, Rule, Step, Tuple } from './steps.ts';

/** What is asked about; `l4` null = no service is of layer 4. */
export interface WhyParts {
  readonly host: Host;
  readonly services: ServiceTable;
  readonly l4: L4 | null;
}

const ECHO_REQUEST = 8;
const ECHO_REPLY = 0;

export function why(parts: WhyParts, asked: Asked): Answer {
  const packet = new Packet(parts, asked);
  const outcome = packet.arrive();
  return { asked, steps: packet.steps, outcome };
}

/** One question. */
class Packet {
  readonly steps: Step[] = [];
  private readonly host: Host;
  private readonly services: ServiceTable;
  private readonly l4: L4 | null;
  private readonly asked: Asked;
  private readonly iif: number;
  /** Source << 16 | destination, as the tables have them. */
  private ports: number;
  /** `kind`, once it is decided. */
  private isFirst: boolean;

  constructor({ host, services, l4 }: WhyParts, asked: Asked) {
    this.host = host;
    this.services = services;
    this.l4 = l4;
    this.asked = asked;
    this.iif = asked.iif || (host.routes.routeTo(asked.src)?.port ?? 1);
    this.ports = this.portsOf(asked.kind !== 'next');
    this.isFirst = asked.kind !== 'next';
    if (asked.kind !== 'auto' || asked.proto === PROTO_UDP) return;
    this.isFirst = !this.isKnown();
    this.ports = this.portsOf(this.isFirst);
  }

  arrive(): End {
    const { asked, host } = this;
    const { src } = asked;
    this.steps.push({
      at: 'arrival',
      port: this.iif,
      kind: asked.proto === PROTO_UDP ? '' : this.isFirst ? 'first' : 'next',
    });
    if (host.netif.port(this.iif)?.device.brings?.(asked.dst) === false) return { end: 'host', port: this.iif };
    const { addresses } = host;
    if (!isUnicast(src) || addresses.isLocal(src) || addresses.isBroadcast(src, this.iif)) return drop(IP_SOURCE);
    return (this.l4 === null ? null : this.balance(this.l4)) ?? this.route();
  }

  private portsOf(first: boolean): number {
    const { proto, sport, dport } = this.asked;
    if (proto !== PROTO_ICMP) return (sport << 16) | dport;
    return icmp.ports(first ? ECHO_REQUEST : ECHO_REPLY, 0, sport);
  }

  /** Whether a later packet of the flow would find something. */
  private isKnown(): boolean {
    const { proto, src, dst } = this.asked;
    const ports = this.portsOf(false);
    if (this.l4 !== null && tableOf(this.l4, proto).find(src, dst, ports) !== 0) return true;
    return proto === PROTO_TCP && this.host.tcp.flows.find(src, dst, ports) !== 0;
  }

  // Layer 4: null = it is the stack's.

  private balance(l4: L4): End | null {
    const { src, dst, proto } = this.asked;
    const table = tableOf(l4, proto);
    const hit = table.find(src, dst, this.ports);
    this.steps.push({ at: 'connection', conn: hit === 0 ? null : this.facts(table, hit) });
    if (hit === 0) return this.open(l4, table, 0);
    const row = c.rowOf(hit);
    const at = row << c.ROW_SHIFT;
    const dir = c.dirOf(hit);
    const dest = table.rows[at + c.DEST]!;
    const opener = (table.rows[at + c.META]! & c.F_OPENED_OUT) !== 0 ? c.OUT : c.IN;
    if (proto === PROTO_TCP && dir === opener) {
      if (this.isFirst && l4.core.endings.isOver(table.state(row), dest)) return this.anew(l4, table, row, 'reused');
      if (l4.core.endings.isQuiescent(table.service(row), dest)) {
        this.steps.push({ at: 'end of connection', why: 'quiesced' });
        return drop(LB_QUIESCED);
      }
    }
    if (proto !== PROTO_TCP && dir === opener && l4.core.endings.isQuiescent(table.service(row), dest)) {
      return this.anew(l4, table, row, 'quiesced');
    }
    return this.transmit(l4, table.rows.subarray(at, at + c.ROW_WORDS), dir);
  }

  /** The connection ends, and another one takes its place: its server is asked as it is without it. */
  private anew(l4: L4, table: ConnTable, row: number, ending: 'reused' | 'quiesced'): End | null {
    this.steps.push({ at: 'end of connection', why: ending });
    const { dests } = this.services;
    const dest = table.rows[(row << c.ROW_SHIFT) + c.DEST]!;
    const columns = [dests.activeConns, dests.inactConns, dests.refs, dests.flags] as const;
    const kept = columns.map((column) => column[dest]!);
    dests.connClose(dest, table.isActive(row));
    try {
      return this.open(l4, table, row);
    } finally {
      columns.forEach((column, i) => void (column[dest] = kept[i]!));
    }
  }

  private open(l4: L4, table: ConnTable, leaving: number): End | null {
    const { proto, src, dst } = this.asked;
    const isRequest = proto === PROTO_UDP || this.isFirst;
    const service =
      proto === PROTO_ICMP && !isRequest ? 0 : l4.core.classifier.findFrom(this.iif, proto, src, dst, this.ports);
    const serves = l4.core.serves(service);
    if (serves) this.noteService(service, null);
    if (!serves && proto === PROTO_UDP) return this.answerOf(l4);
    if (!serves || !isRequest) return null;
    if (l4.core.mode[service] === c.SNAT && this.host.routes.routeTo(src)?.port !== this.iif)
      return drop(IP_REVERSE_PATH);
    const row = newRow(l4, this.services, this.steps, table, service, this.flow, leaving);
    if (!(row instanceof Int32Array)) return row;
    return this.transmit(l4, row, (row[c.META]! & c.F_OPENED_OUT) !== 0 ? c.OUT : c.IN);
  }

  /** A datagram of a server whose service forgets its connections. */
  private answerOf({ core }: L4): End | null {
    const { src, dst } = this.asked;
    const dest = core.natServers.answerer(src, this.ports >>> 16);
    if (dest === 0 || this.host.addresses.isLocal(dst)) return null;
    const service = this.services.dests.service[dest]!;
    const { vip, port } = this.services.columns;
    const row = new Int32Array(c.ROW_WORDS);
    row[c.META] = c.NAT << c.MODE_SHIFT;
    row[c.CADDR] = dst;
    row[c.VADDR] = vip[service]!;
    row[c.CVPORTS] = (this.ports << 16) | (port[service] || this.ports >>> 16);
    return this.transmit(this.l4!, row, c.OUT);
  }

  private get flow(): Flow {
    const { proto, src, dst } = this.asked;
    return { proto, src, dst, ports: this.ports, now: this.host.ctx.now };
  }

  private noteService(service: number, rule: Rule | null): void {
    const { columns } = this.services;
    const proto = columns.proto[service]!;
    const own: Rule = columns.port[service] === 0 ? 'all ports' : 'address and port';
    const by = rule ?? (proto === PROTO_MARK ? 'mark' : proto === PROTO_MATCH ? 'match' : own);
    const mode = c.MODE_NAMES[this.l4?.core.mode[service] ?? 0]!;
    this.steps.push({ at: 'service', service, rule: by, value: by === 'mark' ? columns.vip[service]! : 0, mode });
  }

  // xmit

  private transmit({ xmit }: L4, row: Int32Array, dir: number): End {
    const { host, steps } = this;
    const mode = (row[c.META]! & c.MODE_MASK) >> c.MODE_SHIFT;
    if (mode < c.FNAT || mode > c.SNAT) return drop(LB_MODE);
    const to = dir === c.IN ? row[c.RADDR]! : row[c.CADDR]!;
    const hop = xmit.way.decrementTtl || mode === c.SNAT;
    const size = { ...this.asked, more: mode === c.TUN ? IPV4_LEN : 0, hop };
    const found = findWay(host, steps, to, size);
    if ('end' in found) return found;
    const outer = mode === c.TUN ? { src: found.src || host.addresses.sourceFor(to, found.port), dst: to } : null;
    if (outer?.src === 0) return drop(IP_NO_ROUTE);
    const delta = (row[c.META]! & c.F_SEQ_SHIFTED) !== 0 ? row[c.SEQ_DELTA]! : 0;
    const before = this.tuple;
    const after = c.seesReplies(mode) ? rewritten(row, dir) : before;
    steps.push({ at: 'rewrite', mode: c.MODE_NAMES[mode]!, before, after, outer, delta });
    return leave(host, steps, found);
  }

  private get tuple(): Tuple {
    const { src, dst } = this.asked;
    return { src, dst, sport: this.ports >>> 16, dport: this.ports & 0xffff };
  }

  // The stack's

  private route(): End {
    const { host, asked } = this;
    const { dst } = asked;
    if (host.addresses.isLocal(dst)) return this.deliver();
    if (isMulticast(dst) || host.addresses.isBroadcast(dst, this.iif)) return this.toGroup();
    if (!isUnicast(dst)) return drop(IP_DESTINATION);
    return host.ip4.forwards ? this.forward(dst) : drop(IP_NOT_LOCAL);
  }

  private forward(dst: Ipv4): End {
    const { host, steps, asked } = this;
    if (asked.ttl <= 1) return drop(IP_TTL, 'icmp');
    const found: Found | End = findWay(host, steps, dst, { ...asked, more: 0, hop: false });
    return 'end' in found ? found : leave(host, steps, found);
  }

  private toGroup(): End {
    const { proto, dst, dport } = this.asked;
    if (proto === PROTO_TCP) return drop(IP_DESTINATION);
    if (proto === PROTO_UDP && this.host.udp.find(dst, dport) !== null) return { end: 'local', what: 'socket' };
    return proto === PROTO_UDP ? drop(UDP_NO_PORT) : drop(ICMP_IGNORED);
  }

  private deliver(): End {
    const { proto, dst, dport } = this.asked;
    if (proto === PROTO_ICMP) return this.isFirst ? { end: 'local', what: 'echo' } : drop(ICMP_IGNORED);
    if (proto === PROTO_TCP) return this.toTcp();
    return this.host.udp.find(dst, dport) === null ? drop(UDP_NO_PORT, 'icmp') : { end: 'local', what: 'socket' };
  }

  private toTcp(): End {
    const { tcp: stack } = this.host;
    const { src, dst, dport } = this.asked;
    const value = stack.flows.find(src, dst, this.ports);
    if (value !== 0 && value < TW_BASE) {
      // A block that is not there is parked: its connection is established, and quiet.
      const state = stack.blocks[value]?.state;
      this.steps.push({ at: 'socket', state: state === undefined ? 'established' : STATE_NAMES[state]! });
      return { end: 'local', what: 'socket' };
    }
    const listener = stack.listeners.find(dst, dport);
    if (value >= TW_BASE && !this.isFirst) return { end: 'local', what: 'time-wait' };
    if (listener === null) return drop(TCP_NO_SOCKET, 'reset');
    const service = listener.tag;
    this.noteService(service, 'listener');
    if (!this.isFirst) return drop(TCP_NO_SOCKET, 'reset');
    if (stack.ip.mtuTowards(src) === 0) return drop(TCP_NO_ROUTE_BACK);
    const { synCookies } = stack.config;
    if (synCookies === 'always' || stack.listeners.isFull(listener)) {
      if (synCookies === 'off') return drop(TCP_BACKLOG);
      return { end: 'local', what: 'cookie' };
    }
    schedule(this.services, this.steps, service, this.flow);
    return { end: 'local', what: 'proxy' };
  }

  private facts(table: ConnTable, hit: number): ConnFacts {
    const { proto } = this.asked;
    const row = c.rowOf(hit);
    const at = row << c.ROW_SHIFT;
    const { cold, rows } = table;
    return {
      proto,
      direction: c.dirOf(hit) === c.IN ? 'in' : 'out',
      state: protocolOf(proto)!.states[table.state(row)]!,
      mode: c.MODE_NAMES[(rows[at + c.META]! & c.MODE_MASK) >> c.MODE_SHIFT]!,
      service: table.service(row),
      dest: rows[at + c.DEST]!,
      expiresMs: table.dueIn(row),
      ageS: Math.max(0, Math.floor(this.host.ctx.now / 1e6) - cold.openedS[row]!),
      packetsIn: cold.packets(row, c.IN),
      packetsOut: cold.packets(row, c.OUT),
      bytesIn: cold.bytes(row, c.IN),
      bytesOut: cold.bytes(row, c.OUT),
    };
  }
}

const tableOf = ({ tcp: ofTcp, udp, icmp: ofIcmp }: L4, proto: number): ConnTable =>
  proto === PROTO_TCP ? ofTcp : proto === PROTO_UDP ? udp : ofIcmp;

/** What the packet says after nat.ts. */
function rewritten(row: Int32Array, dir: number): Tuple {
  const [src, dst, ports] = dir === c.IN ? [c.LADDR, c.RADDR, c.RLPORTS] : [c.VADDR, c.CADDR, c.CVPORTS];
  return { src: row[src]!, dst: row[dst]!, sport: row[ports]! & 0xffff, dport: row[ports]! >>> 16 };
}

/**
 * A new connection, foreseen: template, scheduler, local port, row, as opener.ts would choose them; nothing is taken or counted.
 * Cold. Called by index.ts.
 */
import { LB_CONN_CLASH, LB_CONN_FULL, LB_NO_LOCAL_PORT, LB_NO_SERVER } from '../../stack/drop.ts';
import { PROTO_TCP } from '../../stack/wire/ipv4.ts';
import type { ConnTable } from '../conn.ts';
import * as c from '../conn-row.ts';
import { AVAILABLE, DRAINED, INHIBITED, MAINT, OVERLOAD, RAMP_STEPS, shareOf, UNHEALTHY } from '../dest.ts';
import type { L4 } from '../l4.ts';
import { isReusable } from '../proto/tcp.ts';
import { FlowKey } from '../sched/index.ts';
import type { ServiceTable } from '../service.ts';
import { drop } from './egress.ts';
import type { End, KeptOut, ServerFacts, Step } from './steps.ts';

/** The first packet of a connection. */
export interface Flow {
  readonly proto: number;
  readonly src: number;
  readonly dst: number;
  /** source << 16 | destination */
  readonly ports: number;
  /** Microseconds. */
  readonly now: number;
}

/** The scheduler's choice for a service, noted in `steps`: a server, 0 = none. */
export function schedule(
  services: ServiceTable,
  steps: Step[],
  service: number,
  flow: Flow,
  key: FlowKey = keyOf(flow),
): number {
  const dest = services.foresee(service, key);
  steps.push({
    at: 'scheduler',
    name: services.schedulerName(service),
    reason: services.explain(service, key),
    byChance: services.byChance(service),
    dest,
    servers: servers(services, service),
  });
  return dest;
}

function keyOf({ src, dst, ports, proto, now }: Flow): FlowKey {
  const key = new FlowKey();
  key.set(src, dst, ports >>> 16, ports & 0xffff, proto, now);
  return key;
}

function servers(services: ServiceTable, service: number): ServerFacts[] {
  const { dests } = services;
  const backup = services.backupOf(service);
  const ids = services.destIds(service);
  return [...ids, ...(backup === 0 || ids.includes(backup) ? [] : [backup])].map((dest) => ({
    dest,
    weight: dests.weight[dest]!,
    weightNow: shareOf(dests, dest) / RAMP_STEPS,
    active: dests.activeConns[dest]!,
    inactive: dests.inactConns[dest]!,
    keptOut: keptOut(dests.flags[dest]!, dests.weight[dest]!),
    backup: dest === backup,
  }));
}

/** In the order in which an operator should look at them. */
export function keptOut(flags: number, weight: number): KeptOut | null {
  if ((flags & AVAILABLE) === 0) return 'removed';
  if ((flags & MAINT) !== 0) return 'maint';
  if ((flags & DRAINED) !== 0) return 'drain';
  if ((flags & UNHEALTHY) !== 0) return 'down';
  if ((flags & INHIBITED) !== 0) return 'inhibited';
  if ((flags & OVERLOAD) !== 0) return 'overloaded';
  return weight === 0 ? 'weight 0' : null;
}

/** The row a new connection would get, by the words of conn-row.ts; or how its first packet ends. `leaving`: a row that is free by then. */
export function newRow(
  l4: L4,
  services: ServiceTable,
  steps: Step[],
  table: ConnTable,
  service: number,
  flow: Flow,
  leaving: number,
): Int32Array | End {
  const { opener } = l4.core;
  const { dests } = services;
  const out = l4.core.mode[service] === c.SNAT;
  const { proto, src, dst, ports } = flow;
  const [sport, dport] = [ports >>> 16, ports & 0xffff];
  const persistent = !out && opener.persistMs[service] !== 0;
  const choice = out ? poolAddress(l4, services, steps, service, flow) : null;
  if (choice !== null && 'end' in choice) return choice;
  const dest =
    choice?.dest ??
    ((persistent ? remembered(l4, steps, service, flow) : 0) || schedule(services, steps, service, flow));
  if (dest === 0) return drop(LB_NO_SERVER, 'icmp');
  const mode = out ? c.SNAT : opener.destMode[dest] || opener.mode[service]!;
  const raddr = out ? dst : dests.addr[dest]!;
  const rport = out ? dport : c.seesReplies(mode) ? opener.serverPort(service, dest, dport, persistent) : dport;
  const pooled = out || mode === c.FNAT;
  const own = { addr: src, port: sport };
  const local = choice ?? (pooled ? l4.locals.foresee(service, raddr, rport) : own);
  if (local === null) return drop(LB_NO_LOCAL_PORT, 'icmp');
  if (pooled) steps.push({ at: 'local address', addr: local.addr, port: local.port });

  const row = new Int32Array(c.ROW_WORDS);
  const words = out
    ? [dst, local.addr, (dport << 16) | local.port, src, dst, (sport << 16) | dport]
    : [src, dst, ports, raddr, local.addr, (rport << 16) | local.port];
  row.set(words);
  const forgotten = !out && opener.isForgotten(service, proto, mode, dest, rport);
  row[c.META] = (mode << c.MODE_SHIFT) | (forgotten ? c.F_ONE_PACKET : 0) | (out ? c.F_OPENED_OUT : 0);
  row[c.DEST] = dest;
  row[c.SERVICE_HOP] = service << 16;
  const taken = (at: number): boolean => {
    const rival = c.rowOf(table.find(row[at]!, row[at + 1]!, row[at + 2]!));
    const over = proto === PROTO_TCP && isReusable(table.state(rival));
    return rival !== 0 && rival !== leaving && !over;
  };
  // A port that chance chooses is nobody's.
  const isKnown = local.port !== 0 && !forgotten;
  if (isKnown && (taken(c.CADDR) || (c.seesReplies(mode) && taken(c.RADDR)))) return drop(LB_CONN_CLASH);
  if (table.size() - (leaving === 0 ? 0 : 1) >= table.max) return drop(LB_CONN_FULL);
  return row;
}

/** SNAT: the address of the pool that the scheduler chooses, and its port; the next one where it has none left. */
function poolAddress({ locals }: L4, services: ServiceTable, steps: Step[], service: number, flow: Flow): Pooled | End {
  const key = keyOf(flow);
  for (let tries = 0; ; tries++) {
    const dest = schedule(services, steps, service, flow, key);
    if (dest === 0) return tries === 0 ? drop(LB_NO_SERVER, 'icmp') : drop(LB_NO_LOCAL_PORT, 'icmp');
    const addr = services.dests.addr[dest]!;
    const port = locals.foreseeOf(addr, flow.dst, flow.ports & 0xffff);
    if (port >= 0) return { dest, addr, port };
    if (!key.avoid(dest)) return drop(LB_NO_LOCAL_PORT, 'icmp');
  }
}

interface Pooled {
  readonly dest: number;
  readonly addr: number;
  readonly port: number;
}

/** The server of the client's template, noted in `steps`; 0 when there is none or it holds no more. */
function remembered({ core, templates }: L4, steps: Step[], service: number, { proto, src, dst, ports }: Flow): number {
  const template = core.opener.findTemplate(service, proto, src, dst, ports & 0xffff);
  if (template === 0) return 0;
  const dest = templates.dest(template);
  const holds = core.opener.holds(service, dest);
  steps.push({ at: 'persistence', dest, holds, expiresMs: templates.table.dueIn(template) });
  return holds ? dest : 0;
}

/**
 * What a running director does to the table, read back from a recorded listing: counters, statistics, connections. With these numbers
 * given, the listings must come out as recorded, in every form.
 */
import { bracketed, parseIpv4Loosely, parseIpv6 } from '../../../src/ipvsadm/address.ts';
import type { Daemon, Endpoint } from '../../../src/ipvsadm/ops.ts';
import { sortDests, sortServices } from '../../../src/ipvsadm/order.ts';
import type { Connection, Dest, Service, Snapshot, Stats } from '../../../src/ipvsadm/table.ts';

/** The snapshot with the live numbers of `text`, a listing of it. */
export function withNumbersOf(snapshot: Snapshot, command: string, text: string): Snapshot {
  if (/-\w*c\b/.test(command)) return { ...snapshot, conns: connsOf(text, snapshot.conns) };
  if (command.includes('--daemon')) return { ...snapshot, daemons: daemonsOf(text) };
  return { ...snapshot, services: servicesWith(snapshot.services, command, text) };
}

function servicesWith(services: readonly Service[], command: string, text: string): Service[] {
  const rows = text.split('\n');
  const at = (name: string): number[] => {
    const row = rows.find((line) => line.includes(` ${name} `)) ?? '';
    return row.slice(33).trim().split(/\s+/).map(Number);
  };
  return sortServices(services).map((service): Service => {
    if (service.id.kind !== 'address') return service;
    const name = `${service.id.protocol.toUpperCase().padEnd(4)} ${nameOf(service.id)}`;
    const start = rows.findIndex((row) => row.startsWith(`${name} `));
    const dests = sortDests(service.dests).map((dest, i) => destWith(dest, command, rows[start + 1 + i] ?? ''));
    const stats = /--(stats|rate)/.test(command)
      ? statsWith(service.stats, command, at(nameOf(service.id)))
      : service.stats;
    return start < 0 ? service : { ...service, dests, stats };
  });
}

function destWith(dest: Dest, command: string, row: string): Dest {
  const numbers = row.slice(33).trim().split(/\s+/).map(Number);
  if (/--(stats|rate)/.test(command)) return { ...dest, stats: statsWith(dest.stats, command, numbers) };
  const [activeConns = 0, inactConns = 0] = numbers.slice(-2);
  const persistConns = command.includes('--persistent-conn') ? (numbers.at(-3) ?? 0) : dest.persistConns;
  return { ...dest, activeConns, inactConns, persistConns };
}

function statsWith(stats: Stats, command: string, numbers: number[]): Stats {
  const [a = 0n, b = 0n, c = 0n, d = 0n, e = 0n] = numbers.map(BigInt);
  return command.includes('--stats')
    ? { ...stats, conns: a, inPkts: b, outPkts: c, inBytes: d, outBytes: e }
    : { ...stats, cps: a, inPps: b, outPps: c, inBps: d, outBps: e };
}

const nameOf = ({ address, port }: Endpoint): string => `${bracketed(address)}:${port}`;

/** Rows without numbers (`-Lc`) take theirs from the connections known before, by the client. */
function connsOf(text: string, before: readonly Connection[]): Connection[] {
  return text.split('\n').flatMap((row): Connection[] => {
    const [protocol = '', expires = '', state = '', ...ends] = row.trim().split(/\s+/);
    if (!/^\d\d:\d\d$/.test(expires)) return [];
    const [minutes = 0, seconds = 0] = expires.split(':').map(Number);
    const [client, virtual, dest] = ends.map(endpointOf);
    if (client === undefined || client === null) throw new Error(`no client in ${row}`);
    const known = before.find((conn) => nameOf(conn.client) === nameOf(client));
    return [
      {
        protocol: protocol.toLowerCase() as Connection['protocol'],
        expireSec: minutes * 60 + seconds,
        state,
        client,
        virtual: virtual ?? known?.virtual ?? client,
        dest: dest ?? known?.dest ?? client,
        local: null,
        worker: 0,
        template: state === 'ASSURED',
        pe: null,
      },
    ];
  });
}

function endpointOf(text: string): Endpoint | null {
  const [, host = '', port] = /^(.*):(\d+)$/.exec(text) ?? [];
  const address = host.startsWith('[') ? parseIpv6(host.slice(1, -1)) : parseIpv4Loosely(host);
  return address === null ? null : { address, port: Number(port) };
}

function daemonsOf(text: string): Daemon[] {
  return [
    ...text.matchAll(
      /^(master|backup) .*mcast=(\S+), syncid=(\d+), maxlen=(\d+), group=(\S+), port=(\d+), ttl=(\d+)/gm,
    ),
  ].map(([, role = '', device = '', syncId, maxLen, group = '', port, ttl]) => ({
    role: role === 'master' ? 'master' : 'backup',
    device,
    syncId: Number(syncId),
    maxLen: Number(maxLen),
    group,
    port: Number(port),
    ttl: Number(ttl),
  }));
}

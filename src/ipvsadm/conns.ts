/** The listings of connections: LVS's lines with a head, and DPVS's, which also tell the worker and the local address. */

import { endpointName } from './format.ts';
import type { Names, Protocol } from './names.ts';
import type { ListFormat, SocketPair } from './ops.ts';
import { type Connection, sameEndpoint } from './table.ts';

const HEAD = 'pro expire state       source             virtual            destination';
const PE_HEAD = '        pe name          pe_data';

/** LVS's form. Connections come in the order of the snapshot. */
export function formatConns(conns: readonly Connection[], format: ListFormat, names: Names): string {
  const head = `IPVS connection entries\n${HEAD}${format.persistentConn ? PE_HEAD : ''}\n`;
  return head + conns.map((conn) => lvsLine(conn, format, names)).join('');
}

function lvsLine(conn: Connection, format: ListFormat, names: Names): string {
  const { client, virtual, dest, expireSec, state, pe } = conn;
  const protocol = conn.protocol === 'ip' ? null : conn.protocol;
  const [source, service, server] = [client, virtual, dest].map((endpoint) =>
    endpointName(endpoint, protocol, format.numeric, names),
  );
  const two = (number: number): string => String(number).padStart(2, '0');
  const expires = `${two(Math.floor(expireSec / 60))}:${two(expireSec % 60)}`;
  const head = `${conn.protocol.toUpperCase().padEnd(3)} ${expires.padEnd(6)} ${(conn.protocol === 'udp' ? 'UDP' : state).padEnd(11)}`;
  const line = `${head} ${source?.padEnd(18)} ${service?.padEnd(18)}`;
  if (!format.persistentConn || pe === null) return `${line} ${server}\n`;
  return `${line} ${server?.padEnd(16)} ${pe.name.padEnd(18)} ${pe.data}\n`;
}

/** DPVS's form: `[worker]proto expires state client virtual local server`; --persistent-conn shows the templates alone. */
export function formatDpvsConns(conns: readonly Connection[], format: ListFormat, names: Names): string {
  return conns
    .filter(({ template }) => template === format.persistentConn)
    .map((conn) => {
      const protocol: Protocol | null = conn.protocol === 'ip' ? null : conn.protocol;
      const cells = [conn.client, conn.virtual, conn.local ?? conn.client].map((endpoint) =>
        endpointName(endpoint, protocol, format.numeric, names).padEnd(18),
      );
      const head = `[${conn.worker}]${(protocol ?? '--').padEnd(3)} ${`${conn.expireSec}s`.padEnd(6)} ${conn.state.padEnd(11)}`;
      return `${head} ${cells.join(' ')} ${endpointName(conn.dest, protocol, format.numeric, names)}\n`;
    })
    .join('');
}

/** The connections of a socket pair: its client and the virtual address. */
export function ofPair(conns: readonly Connection[], { protocol, source, target }: SocketPair): Connection[] {
  return conns.filter(
    (conn) => conn.protocol === protocol && sameEndpoint(conn.client, source) && sameEndpoint(conn.virtual, target),
  );
}

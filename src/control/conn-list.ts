/**
 * Connections of layer 4 as the control socket lists them: read from the worker's tables in shared memory, a page at a time, so that
 * a million of them neither stops the worker nor this thread for long. Called by server.ts.
 */
import { z } from 'zod';
import * as c from '../../lb/conn-row.ts';
import type { ConnView } from '../../lb/conn-view.ts';
import { L4 } from '../../lb/l4.ts';
import { PROTOCOLS, protocolOf } from '../../lb/proto/index.ts';
import { formatEndpoint, parseIpv4 } from '../config/address.ts';
import { CLOCK_MS, MAX_CONNS, type WorkerShare } from '../workers/plan.ts';
import type { ConnReply, ConnsReply } from './api.ts';
import { ChangeError } from './running-config.ts';

/** Rows looked at for one page at most, whether they match or not: some ten milliseconds. */
const SCAN_LIMIT = 65536;
export const MAX_PAGE = 10_000;
/** What IPVS calls a template's state. */
const TEMPLATE_STATE = 'ASSURED';

const STATES = new Set([...PROTOCOLS.flatMap(({ states }) => states), TEMPLATE_STATE]);

const isAddress = (text: string): boolean => {
  const [, address = '', port = '0'] = /^([\d.]+)(?::(\d{1,5}))?$/.exec(text) ?? [];
  return parseIpv4(address) !== null && Number(port) <= 65535;
};
const ADDRESS = z.string().refine(isAddress, { error: 'is no address: write it as 10.0.0.7 or 10.0.0.7:40000' });

/** What may be asked for; texts as ConnReply has them, addresses with or without port. */
const QUERY = z.strictObject({
  proto: z.enum(['tcp', 'udp', 'icmp', 'ip']).optional(),
  state: z
    .string()
    .transform((text) => text.toUpperCase())
    .refine((state) => STATES.has(state), { error: `is none of ${[...STATES].join(', ')}` })
    .optional(),
  service: z.string().optional(),
  client: ADDRESS.optional(),
  vip: ADDRESS.optional(),
  /** Or its name. */
  server: z.string().optional(),
  limit: z.coerce.number().int().min(0).max(MAX_PAGE).default(MAX_PAGE),
  after: z
    .string()
    .regex(/^\d+\/\d+$/)
    .default('0/0'),
});
export type ConnQuery = z.infer<typeof QUERY>;

export const CONN_QUERY_HINT =
  'filters are proto, state, service, client, vip and server; limit and after page, as in ?client=10.0.0.7&limit=100';

/** Names of rows. */
export interface ConnNames {
  serviceName(id: number): string;
  serverName(dest: number): string;
}

interface Table {
  readonly view: ConnView;
  /** Of its worker. */
  readonly control: Int32Array;
  readonly names: ConnNames;
}

export class ConnList {
  /** The tables of the first worker, then those of the next. */
  private readonly tables: readonly Table[];

  /** `names`: by worker. */
  constructor(shares: readonly WorkerShare[], names: readonly ConnNames[]) {
    this.tables = shares.flatMap(({ connections, control }, worker) =>
      (connections === null ? [] : L4.views(connections, MAX_CONNS)).map((view) => ({
        ...{ view, control: new Int32Array(control), names: names[worker]! },
      })),
    );
  }

  /** `search`: what stands behind the question mark of the path. Throws ChangeError. */
  page(search: string): ConnsReply {
    const read = QUERY.safeParse(Object.fromEntries(new URLSearchParams(search)));
    if (!read.success) {
      const { path, message } = read.error.issues[0]!;
      throw new ChangeError(400, `the query is not understood: ${String(path[0] ?? '')} ${message}`, CONN_QUERY_HINT);
    }
    const query = read.data;
    const total = this.tables.reduce((sum, { view }) => sum + view.size, 0);
    const conns: ConnReply[] = [];
    let [table, row] = query.after.split('/').map(Number) as [number, number];
    for (let scanned = 0; table < this.tables.length; ) {
      const { view } = this.tables[table]!;
      if (conns.length >= query.limit || scanned++ >= SCAN_LIMIT) return { total, conns, next: `${table}/${row}` };
      row = view.next(row);
      if (row === 0) table += 1;
      else if (view.read(row)) {
        const conn = this.describe(this.tables[table]!);
        if (matches(conn, query)) conns.push(conn);
      }
    }
    return { total, conns, next: null };
  }

  private describe({ view, control, names }: Table): ConnReply {
    const { row, protocol, mode } = view;
    const cvports = row[c.CVPORTS]!;
    const rlports = row[c.RLPORTS]!;
    const template = protocol === null;
    return {
      template,
      proto: (protocol ?? protocolOf(cvports >>> 16))?.name.toLowerCase() ?? 'ip',
      state: template ? TEMPLATE_STATE : view.state,
      expiresMs: view.dueIn(Atomics.load(control, CLOCK_MS)),
      mode,
      service: names.serviceName(view.service),
      name: names.serverName(view.dest),
      client: formatEndpoint(row[c.CADDR]!, template ? 0 : cvports >>> 16),
      vip: formatEndpoint(row[c.VADDR]!, cvports & 0xffff),
      server: formatEndpoint(row[c.RADDR]!, rlports >>> 16),
      local: mode === 'FNAT' ? formatEndpoint(row[c.LADDR]!, rlports & 0xffff) : null,
      packetsIn: view.packetsIn,
      packetsOut: view.packetsOut,
      bytesIn: view.bytesIn,
      bytesOut: view.bytesOut,
    };
  }
}

function matches(conn: ConnReply, query: ConnQuery): boolean {
  const { proto, state, service, client, vip, server } = query;
  const isAt = (endpoint: string, wanted: string | undefined): boolean =>
    wanted === undefined || endpoint === wanted || endpoint.startsWith(`${wanted}:`);
  return (
    (proto === undefined || conn.proto === proto) &&
    (state === undefined || conn.state === state) &&
    (service === undefined || conn.service === service) &&
    isAt(conn.client, client) &&
    isAt(conn.vip, vip) &&
    (isAt(conn.server, server) || conn.name === server)
  );
}

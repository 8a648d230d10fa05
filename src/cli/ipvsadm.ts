/**
 * `tsvs ipvsadm ...` and the program `ipvsadm`: command lines of ipvsadm against a running tsvs, through its control socket. The
 * grammar, the listings and the messages are those of src/ipvsadm; here is only the holder of the table.
 */
import { readFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { isSchedulerFile } from '../config/model.ts';
import {
  type ConnReply,
  type ConnsReply,
  type IpvsChangeReply,
  type IpvsReply,
  type IpvsRequest,
  PATHS,
} from '../control/api.ts';
import { AskError, ask, send } from '../control/client.ts';
import type { LedgerStats } from '../control/ledger.ts';
import { defaultSocket } from '../control/socket.ts';
import { parseIpv4Loosely, sameAddress } from '../ipvsadm/address.ts';
import { isErrno } from '../ipvsadm/errno.ts';
import { type Names, namesFromFiles } from '../ipvsadm/names.ts';
import type { Endpoint, Mutation, ServiceId } from '../ipvsadm/ops.ts';
import {
  ipvsadm,
  ipvsadmRestore,
  ipvsadmSave,
  type Refusal,
  type Result,
  type SnapshotOf,
  type Surroundings,
  type Target,
} from '../ipvsadm/run.ts';
import type { Connection, Snapshot, Stats } from '../ipvsadm/table.ts';
import { request } from './request.ts';

export const IPVSADM_PROGRAMS = ['ipvsadm', 'ipvsadm-save', 'ipvsadm-restore'] as const;
export type IpvsadmProgram = (typeof IPVSADM_PROGRAMS)[number];

/** Exit status of the tool when there is nobody to ask. */
const EXIT_NOBODY = 2;

/** Runs one call and returns its exit status. */
export async function runIpvsadm(program: IpvsadmProgram, words: readonly string[]): Promise<number> {
  const around: Surroundings = {
    target: new RemoteTable(defaultSocket()),
    names: systemNames(),
    stdin: () => readFileSync(0, 'utf8'),
    program: 'ipvsadm',
  };
  const { exitCode, stdout, stderr } = await call(program, words, around);
  process.stdout.write(stdout);
  process.stderr.write(stderr);
  return exitCode;
}

async function call(program: IpvsadmProgram, words: readonly string[], around: Surroundings): Promise<Result> {
  try {
    switch (program) {
      case 'ipvsadm':
        return await ipvsadm(words, around);
      case 'ipvsadm-save':
        return await ipvsadmSave(words, around);
      case 'ipvsadm-restore':
        return await ipvsadmRestore(around);
    }
  } catch (error) {
    if (!(error instanceof AskError)) throw error;
    return { exitCode: EXIT_NOBODY, stdout: '', stderr: `Can't initialize ipvs: ${await explain(error)}\n` };
  }
}

/** What the tool says when it may not, and what is to be done otherwise. */
async function explain(error: AskError): Promise<string> {
  if (error.code === 'NO_PERMISSION') {
    const question = 'Are you sure that IP Virtual Server is built in the kernel or as module?';
    return `Permission denied (you must be root)\n${question}`;
  }
  // The hint about root's socket is the same for all commands.
  return request({}, () => Promise.reject(error)).catch(({ message }: Error) => message);
}

function systemNames(): Names {
  const read = (file: string): string => {
    try {
      return readFileSync(file, 'utf8');
    } catch {
      return '';
    }
  };
  return namesFromFiles(read('/etc/hosts'), read('/etc/services'));
}

/** The table of a running tsvs. Throws AskError. */
export class RemoteTable implements Target {
  private readonly socket: string;

  constructor(socket: string) {
    this.socket = socket;
  }

  async snapshot(of: SnapshotOf): Promise<Snapshot> {
    const { size, timeouts, services } = await ask<IpvsReply>(this.socket, PATHS.ipvs);
    const conns = of === 'conns' ? (await this.conns()).map(connectionOf) : [];
    return {
      tableSize: size,
      timeouts,
      services: services.map((service) => ({
        ...service,
        stats: statsOf(service.stats),
        dests: service.dests.map((dest) => ({ ...dest, stats: statsOf(dest.stats) })),
        laddrs: service.laddrs.map(({ address, device }) => {
          const here = conns.filter(({ local }) => local !== null && sameAddress(local.address, address));
          const own = here.filter(({ protocol, virtual }) => isOf(service.id, protocol, virtual));
          // A port that a connection to the same server has is never handed out.
          return { address, device, conflicts: 0n, conns: own.length };
        }),
      })),
      conns,
      daemons: [],
    };
  }

  async apply(mutation: Mutation): Promise<Refusal | null> {
    try {
      const [refusal] = await this.send([mutation]);
      return refusal!;
    } catch (error) {
      if (!(error instanceof AskError) || error.refusal === null || error.refusal.status >= 500) throw error;
      const { code, error: why, hint } = error.refusal.reply;
      return { errno: isErrno(code) ? code : 'EINVAL', why: hint === undefined ? why : `${why}; ${hint}` };
    }
  }

  /** What is refused as a whole may be so for one of them: then each is asked for by itself. */
  async applyAll(mutations: readonly Mutation[]): Promise<readonly (Refusal | null)[]> {
    try {
      return await this.send(mutations);
    } catch (error) {
      if (!(error instanceof AskError) || error.refusal === null || error.refusal.status >= 500) throw error;
    }
    const refusals: (Refusal | null)[] = [];
    for (const mutation of mutations) refusals.push(await this.apply(mutation));
    return refusals;
  }

  private async send(mutations: readonly Mutation[]): Promise<(Refusal | null)[]> {
    const body: IpvsRequest = { mutations: mutations.map(withPath) };
    const { results } = await send<IpvsChangeReply>(this.socket, 'POST', PATHS.ipvs, body);
    return results.map((refusal) => refusal && { errno: refusal.errno, why: refusal.error });
  }

  private async conns(): Promise<ConnReply[]> {
    const all: ConnReply[] = [];
    for (let after: string | null = '0/0'; after !== null; ) {
      const page: ConnsReply = await ask<ConnsReply>(this.socket, `${PATHS.conns}?after=${after}`);
      all.push(...page.conns);
      after = page.next;
    }
    return all;
  }
}

/** A scheduler in a file is looked for from where the command is typed, not from where tsvs runs. */
function withPath(mutation: Mutation): Mutation {
  if (mutation.op !== 'add-service' && mutation.op !== 'edit-service') return mutation;
  const { scheduler } = mutation.settings;
  if (!isSchedulerFile(scheduler)) return mutation;
  return { ...mutation, settings: { ...mutation.settings, scheduler: resolve(scheduler) } };
}

/** Services by mark and by match take connections to any address: theirs are not told apart. */
function isOf(id: ServiceId, protocol: Connection['protocol'], { address, port }: Endpoint): boolean {
  if (id.kind !== 'address') return true;
  return id.protocol === protocol && sameAddress(id.address, address) && (id.port === 0 || id.port === port);
}

function statsOf(stats: LedgerStats): Stats {
  const entries = Object.entries(stats).map(([key, value]) => [key, BigInt(Math.round(value as number))]);
  return Object.fromEntries(entries) as unknown as Stats;
}

function connectionOf(conn: ConnReply): Connection {
  return {
    protocol: conn.proto as Connection['protocol'],
    expireSec: Math.floor(conn.expiresMs / 1000),
    state: conn.state,
    client: endpointOf(conn.client),
    virtual: endpointOf(conn.vip),
    dest: endpointOf(conn.server),
    local: conn.local === null ? null : endpointOf(conn.local),
    worker: 0,
    template: conn.template,
    pe: null,
  };
}

function endpointOf(text: string): Endpoint {
  const [address = '', port] = text.split(':');
  return { address: parseIpv4Loosely(address)!, port: Number(port) };
}

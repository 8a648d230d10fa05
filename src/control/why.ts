/**
 * GET /v1/why: reads the question, has the worker answer it (lb/why), and gives its numbers names. Called by server.ts.
 */
import { z } from 'zod';
import type { Answer, Asked, End, Step, Tuple } from '../../lb/why/steps.ts';
import { DROP_REASONS } from '../../stack/drop.ts';
import { STALE, STATE_NAMES } from '../../stack/neigh/state.ts';
import { Steering } from '../../stack/steer/steering.ts';
import { ECHO_REQUEST } from '../../stack/wire/icmp4.ts';
import { PROTO_ICMP } from '../../stack/wire/ipv4.ts';
import { formatEndpoint, formatIpv4, formatMacWords, formatNetwork, parseIpv4 } from '../config/address.ts';
import type { Config } from '../config/model.ts';
import { ownAddresses } from '../config/own-addresses.ts';
import { steerKinds } from '../workers/kinds.ts';
import { protoOf } from '../workers/pipeline.ts';
import type { Asking } from '../workers/questions.ts';
import { linkIndex } from './network.ts';
import { ChangeError } from './running-config.ts';
import type { Snapshot } from './snapshot.ts';
import type { WhyOutcome, WhyReply, WhyStep } from './why-reply.ts';
import type { WorkerView } from './worker-view.ts';

/** Of a packet without data, headers included. */
const BARE = { tcp: 40, udp: 28, icmp: 28 } as const;

const QUERY = z.strictObject({
  from: z.string(),
  to: z.string(),
  proto: z.enum(['tcp', 'udp', 'icmp']).default('tcp'),
  kind: z.enum(['auto', 'first', 'next']).default('auto'),
  link: z.string().optional(),
  size: z.coerce.number().int().min(20).max(65535).optional(),
  ttl: z.coerce.number().int().min(1).max(255).default(64),
  df: z.enum(['on', 'off']).default('off'),
});
type Query = z.infer<typeof QUERY>;

export const WHY_HINT =
  'ask with ?from=10.0.0.7:40000&to=10.0.0.10:80; proto=tcp, udp or icmp, kind=first or next, link=, size=, ttl=, df=on as needed';

/** `search`: what stands behind the question mark. Throws ChangeError. */
export async function askWhy(search: string, worker: Asking, snapshot: Snapshot, config: Config): Promise<WhyReply> {
  const read = QUERY.safeParse(Object.fromEntries(new URLSearchParams(search)));
  if (!read.success) {
    const { path, message } = read.error.issues[0]!;
    throw new ChangeError(400, `the question is not understood: ${String(path[0] ?? '')} ${message}`, WHY_HINT);
  }
  const packet = packetOf(read.data, config);
  const owner = ownerOf(packet, snapshot.workers, config);
  const answer = await worker.ask({ ask: 'why', packet }, owner);
  if (!isKnown(answer)) {
    // A flow of what has been taken away since may be another's.
    for (let other = 0; other < snapshot.workers; other++) {
      if (other === owner) continue;
      const its = await worker.ask({ ask: 'why', packet }, other);
      if (isKnown(its)) return new Names(snapshot.of(other), config).reply(its);
    }
  }
  return new Names(snapshot.of(owner), config).reply(answer);
}

const isKnown = ({ steps }: Answer): boolean => steps.some((step) => step.at === 'connection' && step.conn !== null);

/** The worker that has, or would have, the packet's flow. */
function ownerOf({ proto, src, dst, sport, dport }: Asked, workers: number, config: Config): number {
  if (workers === 1) return 0;
  const steering = new Steering(0, workers);
  const own = ownAddresses(config);
  steering.kinds = steerKinds(config, (addr) => own.has(addr));
  return steering.ownerOfPorts(proto, src, dst, (sport << 16) | (proto === PROTO_ICMP ? ECHO_REQUEST << 8 : dport));
}

function packetOf(query: Query, config: Config): Asked {
  const { proto, kind, link, ttl, size, df } = query;
  const [src, sport] = endpoint(query.from, proto === 'icmp');
  const [dst, dport] = endpoint(query.to, proto === 'icmp');
  const iif = link === undefined ? 0 : linkIndex(config, link) + 1;
  return { proto: protoOf(proto), src, dst, sport, dport, kind, iif, bytes: size ?? BARE[proto], df: df === 'on', ttl };
}

/** Of ICMP what stands in the place of the port is the identifier, which nobody has to name. */
function endpoint(text: string, portless: boolean): [addr: number, port: number] {
  const [, address = '', port = portless ? '0' : ''] = /^([\d.]+)(?::(\d{1,5}))?$/.exec(text) ?? [];
  const addr = parseIpv4(address);
  if (addr === null || port === '' || Number(port) > 65535) {
    throw new ChangeError(400, `'${text}' is no address with a port`, 'write it as in 10.0.0.7:40000');
  }
  return [addr, Number(port)];
}

const KINDS: Readonly<Record<string, Readonly<Record<'first' | 'next', string>>>> = {
  tcp: { first: 'SYN', next: 'ACK' },
  icmp: { first: 'echo request', next: 'echo reply' },
};
const PROTOS: Readonly<Record<number, string>> = { 1: 'icmp', 6: 'tcp', 17: 'udp' };

/** Numbers of tables become what people call them. */
class Names {
  private readonly snapshot: WorkerView;
  private readonly config: Config;
  private proto = 'tcp';

  constructor(snapshot: WorkerView, config: Config) {
    this.snapshot = snapshot;
    this.config = config;
  }

  reply({ asked, steps, outcome }: Answer): WhyReply {
    this.proto = PROTOS[asked.proto]!;
    const arrival = steps.find((step) => step.at === 'arrival')!;
    const from = this.end(asked.src, asked.sport);
    const to = this.proto === 'icmp' ? formatIpv4(asked.dst) : this.end(asked.dst, asked.dport);
    const kind = arrival.kind === '' ? 'datagram' : KINDS[this.proto]![arrival.kind]!;
    return {
      packet: { proto: this.proto, from, to, link: this.link(arrival.port), kind, bytes: asked.bytes },
      steps: steps.flatMap((step) => (step.at === 'arrival' ? [] : [this.step(step, from, to)])),
      outcome: this.outcome(outcome),
    };
  }

  private step(step: Exclude<Step, { at: 'arrival' }>, from: string, to: string): WhyStep {
    const { snapshot } = this;
    switch (step.at) {
      case 'connection': {
        if (step.conn === null) return { at: step.at, known: false };
        const { proto: _, dest, service, ageS, ...same } = step.conn;
        const names = { service: snapshot.serviceName(service), server: snapshot.serverName(dest) };
        return { at: step.at, known: true, ...names, ageMs: ageS * 1000, ...same };
      }
      case 'end of connection':
        return step;
      case 'service': {
        const { at, rule, value, mode } = step;
        return { at, service: snapshot.serviceName(step.service), rule, mark: value, mode: mode.toLowerCase() };
      }
      case 'persistence': {
        const { dest, ...same } = step;
        return { ...same, server: snapshot.serverName(dest) };
      }
      case 'scheduler':
        return this.choice(step);
      case 'local address':
        return { at: step.at, address: formatIpv4(step.addr), port: step.port || null };
      case 'route': {
        const { at, prefix, len, gateway, port, mtu, fragments } = step;
        const via = gateway === 0 ? null : formatIpv4(gateway);
        const route = { prefix: formatNetwork(prefix, len), gateway: via, link: this.link(port), mtu, fragments };
        return { at, to: formatIpv4(step.to), ...route };
      }
      case 'rewrite': {
        const { at, mode, outer, delta, before, after } = step;
        const tunnel = outer === null ? null : `${formatIpv4(outer.src)} > ${formatIpv4(outer.dst)}`;
        const both = { before: this.tuple(before), after: this.tuple(after) };
        return { at, mode: mode.toLowerCase(), ...both, outer: tunnel, sequenceDelta: delta >>> 0 };
      }
      case 'neighbour': {
        const { at, ip, port, state, macHi, macLo } = step;
        const mac = state >= STALE ? formatMacWords(macHi, macLo) : null;
        return { at, address: formatIpv4(ip), link: this.link(port), state: STATE_NAMES[state]!, mac };
      }
      case 'socket': {
        const { sessions } = snapshot.sessions();
        const ends = [from, to].sort().join();
        const isIt = (a: string | null, b: string | null): boolean => [a ?? '', b ?? ''].sort().join() === ends;
        const session = sessions.find((one) => isIt(one.client, one.vip) || isIt(one.local, one.serverAddress));
        return { at: step.at, state: step.state.toLowerCase(), session: session ?? null };
      }
    }
  }

  private choice({ at, name, reason, byChance, dest, servers }: Extract<Step, { at: 'scheduler' }>): WhyStep {
    const { snapshot } = this;
    const listed = servers.map(({ dest: id, ...facts }) => ({
      name: snapshot.serverName(id),
      address: snapshot.serverAddress(id),
      ...facts,
      chosen: id === dest,
    }));
    return { at, name, reason, byChance, server: dest === 0 ? null : snapshot.serverName(dest), servers: listed };
  }

  private outcome(outcome: End): WhyOutcome {
    if (outcome.end === 'local') return outcome;
    if (outcome.end !== 'drop') return { end: outcome.end, link: this.link(outcome.port) };
    const { name, sentence } = DROP_REASONS[outcome.reason]!;
    return { end: 'drop', reason: name, sentence, told: outcome.told };
  }

  private tuple({ src, sport, dst, dport }: Tuple): string {
    if (this.proto === 'icmp') return `${formatIpv4(src)} > ${formatIpv4(dst)}`;
    return `${this.end(src, sport)} > ${this.end(dst, dport)}`;
  }

  private end(addr: number, port: number): string {
    if (this.proto === 'icmp') return formatIpv4(addr);
    return formatEndpoint(addr, port);
  }

  private link(port: number): string {
    return this.config.links[port - 1]?.name ?? `port ${port}`;
  }
}

/** A worker's shared memory as a running worker would have filled it, without one. */
import { DestTable } from '../../../../lb/dest.ts';
import { RELAYING, SessionTable } from '../../../../lb/l7/session.ts';
import { ServiceTable } from '../../../../lb/service.ts';
import { ServiceColumns } from '../../../../lb/service-columns.ts';
import { parseIpv4 } from '../../../../src/config/address.ts';
import { load } from '../../../../src/config/load.ts';
import type { Config } from '../../../../src/config/model.ts';
import { Snapshot } from '../../../../src/control/snapshot.ts';
import {
  CLOCK_MS,
  MAX_DESTS,
  MAX_SERVICES,
  OPEN,
  planWorker,
  RUNNING,
  STATUS,
  type WorkerShare,
} from '../../../../src/workers/plan.ts';
import { FATE_CREATED, FATE_DELIVERED, FATE_DROPPED, FATE_RECEIVED, FATE_SENT } from '../../../../stack/context.ts';
import { TCP_NO_SOCKET, TCP_PAWS } from '../../../../stack/drop.ts';
import { Counters } from '../../../../stack/mem/counters.ts';
import { INCOMPLETE, REACHABLE } from '../../../../stack/neigh/state.ts';
import { CONFIRMED, NeighTable, Q_LEN } from '../../../../stack/neigh/table.ts';
import { PROTO_TCP } from '../../../../stack/wire/ipv4.ts';

export const ip = (text: string): number => parseIpv4(text) as number;

export const CONF = `
[global]
mode = proxy
[link lan]
kind = tap
device = tap7
mac = 02:00:00:00:00:01
[network]
netmask = 255.255.255.0
[service web]
ip = 10.0.0.10
ports = 80
scheduler = rr
count = 2
server1 = 10.0.0.11:8000:1:00:00:00:00:00:00
server2 = 10.0.0.12:8000:3:00:00:00:00:00:00
`;

export function config(): Config {
  const loaded = load(CONF, 'lb.conf');
  if (!('model' in loaded)) throw new Error(JSON.stringify(loaded.errors));
  return loaded.model;
}

export interface Fabricated {
  readonly share: WorkerShare;
  readonly control: Int32Array;
  readonly drops: Float64Array;
  readonly services: ServiceTable;
  readonly dests: DestTable;
  readonly sessions: SessionTable;
  readonly neighbours: NeighTable;
  readonly snapshot: Snapshot;
}

/** One service, two servers, a session, two neighbours, some counts; the worker's clock stands at 100 s. */
export function fabricate(): Fabricated {
  const share = planWorker(config());
  const control = new Int32Array(share.control);
  control[STATUS] = RUNNING;
  control[OPEN] = 1;
  control[CLOCK_MS] = 100_000;

  const fate = new Float64Array(share.fate);
  fate[FATE_RECEIVED] = 1000;
  fate[FATE_CREATED] = 500;
  fate[FATE_SENT] = 900;
  fate[FATE_DELIVERED] = 590;
  fate[FATE_DROPPED] = 7;
  const drops = new Float64Array(share.drops);
  drops[TCP_PAWS] = 2;
  drops[TCP_NO_SOCKET] = 5;

  const counters = Counters.attach(share.counters, 0);
  counters.add(counters.index('proxy.accepted'), 12);

  const random = { next: () => 12345 };
  const dests = DestTable.create(share.dests, 0, MAX_DESTS);
  const columns = ServiceColumns.create(share.services, 0, MAX_SERVICES);
  const services = new ServiceTable(columns, dests, { random, worker: 0, workers: 1 });
  const web = services.add({ proto: PROTO_TCP, vip: ip('10.0.0.10'), port: 80, scheduler: 'rr' });
  services.setDests(web, [
    { addr: ip('10.0.0.11'), port: 8000, weight: 1 },
    { addr: ip('10.0.0.12'), port: 8000, weight: 3 },
  ]);
  const [first, second] = [1, 2].map((n) => dests.find(web, ip(`10.0.0.1${n}`), 8000)) as [number, number];
  services.connOpen(first);
  dests.connActive(first);
  services.countIn(first, 0, 1500);
  services.countOut(first, 0, 2_500_000);
  services.connOpen(second);
  services.countConnectFailure(second);

  const sessions = SessionTable.own(share.sessions);
  const id = sessions.open(web, ip('10.0.0.1'), 40000, ip('10.0.0.10'), 80, 96_500);
  sessions.tryServer(id, first, ip('10.0.0.10'), 50000, ip('10.0.0.11'), 8000);
  sessions.setState(id, RELAYING);
  sessions.toServer[id] = 1500;
  sessions.toClient[id] = 2_500_000;

  const neighbours = NeighTable.create(share.neighbours, 0, random);
  const known = neighbours.insert(ip('10.0.0.11'), 1);
  neighbours.putMac(known, 0x0200, 0x0a0b0c0d);
  neighbours.words[(known << 4) + CONFIRMED] = 98_000;
  neighbours.putState(known, REACHABLE);
  const wanted = neighbours.insert(ip('10.0.0.2'), 1);
  neighbours.words[(wanted << 4) + Q_LEN] = 3;
  neighbours.putState(wanted, INCOMPLETE);

  const info = { version: '1.2.3', pid: 42, uptimeMs: () => 60_000 };
  const snapshot = new Snapshot(config(), [share], info);
  return { share, control, drops, services, dests, sessions, neighbours, snapshot };
}

/** The schedulers against what IPVS chose (test/golden/README.md). */
import { readFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { DestSpec } from '../../../../lb/dest.ts';
import { FlowKey, type SchedOptions } from '../../../../lb/sched/index.ts';
import { makeServices } from '../../../lib/services.ts';

interface Case {
  readonly scheduler: string;
  readonly weights: readonly number[];
  readonly options?: SchedOptions;
  readonly servers: string;
}
interface Recorded {
  readonly sequences: readonly (Case & { readonly connections: 'held' | 'closed' })[];
  readonly hashed: readonly (Case & { readonly clients: 'addresses' | 'ports' })[];
  readonly drained: readonly (Case & { readonly drained: number; readonly firstPort: number })[];
  readonly edited: readonly { readonly begin: Omit<Case, 'servers'>; readonly steps: readonly Step[] }[];
}
interface Step {
  readonly weight?: readonly [server: number, weight: number];
  readonly remove?: number;
  readonly add?: readonly [server: number, weight: number];
  readonly scheduler?: string;
  readonly servers: string;
}

const recorded: Recorded = JSON.parse(
  readFileSync(new URL('../../../golden/schedulers.json', import.meta.url), 'utf8'),
);

const VIP = 0x0a000164;
const CLIENT = 0x0a00010a;
const NET = 0xc0a8000a | 0;

/** The service of a case, its servers added one by one, each at the head of the list. */
function rig({ scheduler, weights, options = {} }: Omit<Case, 'servers'>) {
  const services = makeServices();
  const id = services.add({ proto: 6, vip: VIP, port: 80, scheduler, options });
  const spec = (n: number, weight: number): DestSpec => ({ addr: NET + n, port: 80, weight });
  let list: DestSpec[] = [];
  const prepend = (n: number, weight: number): void => services.setDests(id, (list = [spec(n, weight), ...list]));
  const reweigh = (n: number, weight: number): void => {
    list = list.map((other) => (other.addr === NET + n ? spec(n, weight) : other));
    services.editDest(id, spec(n, weight));
  };
  const remove = (n: number): void => services.setDests(id, (list = list.filter(({ addr }) => addr !== NET + n)));
  weights.forEach((weight, i) => {
    prepend(i + 1, weight);
  });
  const flow = new FlowKey();
  const connect = (src: number, sport: number, after: 'held' | 'closed' = 'held'): string => {
    flow.set(src, VIP, sport, 80, 6, 0);
    const dest = services.schedule(id, flow);
    if (dest === 0) return '-';
    services.connOpen(dest);
    services.dests.connActive(dest);
    if (after === 'closed') services.dests.connInactive(dest);
    return String(services.dests.addr[dest]! - NET);
  };
  const run = (servers: string, one: (i: number) => string): void => {
    const want = servers.split(' ');
    assert.is(want.map((_, i) => one(i)).join(' '), servers);
  };
  return { services, id, reweigh, prepend, remove, connect, run };
}

const titleOf = ({ scheduler, weights, options = {} }: Omit<Case, 'servers'>): string =>
  `${[scheduler, ...Object.keys(options)].join(' ')}, weights ${weights.join(' ')}`;

for (const entry of recorded.sequences) {
  test(`${titleOf(entry)}: chooses as IPVS while connections are ${entry.connections}`, () => {
    const { run, connect } = rig(entry);
    run(entry.servers, (i) => connect(CLIENT, 40000 + i, entry.connections));
  });
}

for (const entry of recorded.hashed) {
  test(`${titleOf(entry)}: maps clients' ${entry.clients} as IPVS`, () => {
    const { run, connect } = rig(entry);
    run(entry.servers, (i) => connect(CLIENT + (entry.clients === 'addresses' ? i : 0), 40000 + i));
  });
}

for (const entry of recorded.drained) {
  test(`${titleOf(entry)}: does as IPVS when a server's weight becomes 0`, () => {
    const { run, connect, reweigh } = rig(entry);
    reweigh(entry.drained, 0);
    run(entry.servers, (i) => connect(CLIENT + i, entry.firstPort + i));
  });
}

for (const { begin, steps } of recorded.edited) {
  test(`${titleOf(begin)}: goes on as IPVS when the list changes`, () => {
    const { run, connect, services, id, reweigh, prepend, remove } = rig(begin);
    for (const { weight, remove: gone, add, scheduler, servers } of steps) {
      if (weight) reweigh(...weight);
      if (gone) remove(gone);
      if (add) prepend(...add);
      if (scheduler) services.edit(id, scheduler);
      run(servers, (i) => connect(CLIENT, 40000 + i));
    }
  });
}

test('the recordings are all there', () => {
  const names = new Set([...recorded.sequences, ...recorded.hashed].map(({ scheduler }) => scheduler));
  assert.equal([...names].sort(), ['dh', 'lblcr', 'lc', 'mh', 'nq', 'ovf', 'rr', 'sed', 'sh', 'wlc', 'wrr']);
});

test.run();

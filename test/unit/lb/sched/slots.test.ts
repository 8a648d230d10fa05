/** dh and sh: the table of 256 slots. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { SLOTS, slotOf } from '../../../../lb/sched/slots.ts';
import { addrOf } from '../../../lib/services.ts';
import { type Rig, rig } from './rig.ts';

/** A destination (dh) or source (sh) address for every slot. */
const addressOf = new Int32Array(SLOTS);
for (let address = 1, found = 0; found < SLOTS; address++) {
  if (addressOf[slotOf(address)] !== 0) continue;
  addressOf[slotOf(address)] = address;
  found++;
}

const bySource = ({ flow, pick }: Rig): number[] =>
  [...addressOf].map((src) => {
    flow.set(src, 1, 2, 3, 6, 0);
    return pick();
  });
const byDestination = ({ flow, pick }: Rig): number[] =>
  [...addressOf].map((dst) => {
    flow.set(1, dst, 2, 3, 6, 0);
    return pick();
  });
const count = (owners: readonly number[], n: number): number => owners.filter((owner) => owner === n).length;

test('dh deals the slots in turn, whatever the weights', () => {
  const owners = byDestination(rig('dh', [4, 3, 2]));
  assert.equal(owners.slice(0, 7), [1, 2, 3, 1, 2, 3, 1]);
  assert.equal(
    [1, 2, 3].map((n) => count(owners, n)),
    [86, 85, 85],
  );
});

test('dh looks at the destination only', () => {
  const { flow, pick } = rig('dh', [1, 1, 1]);
  flow.set(1, 99, 1, 80, 6, 0);
  const first = pick();
  for (let i = 0; i < 50; i++) {
    flow.set(i * 7919, 99, i, 443, 17, 0);
    assert.is(pick(), first);
  }
});

test('dh refuses on the slots of a server that is away, and only there', () => {
  const some = rig('dh', [1, 1, 1]);
  const before = byDestination(some);
  some.services.dests.inhibit(some.row(2), true);
  assert.equal(
    byDestination(some),
    before.map((owner) => (owner === 2 ? 0 : owner)),
  );
  some.services.dests.inhibit(some.row(2), false);
  some.reweigh(3, 0);
  assert.equal(
    byDestination(some),
    before.map((owner) => (owner === 3 ? 0 : owner)),
    'weight 0 keeps its slots',
  );
});

test('sh deals as many neighbouring slots as a server has weight', () => {
  const owners = bySource(rig('sh', [4, 3, 2]));
  assert.equal(owners.slice(0, 12), [1, 1, 1, 1, 2, 2, 2, 3, 3, 1, 1, 1]);
  assert.equal(
    [1, 2, 3].map((n) => count(owners, n)),
    [116, 84, 56],
  );
});

test('sh scales weights that sum up to more than the slots', () => {
  const owners = bySource(rig('sh', [65535, 30000, 10, 1000]));
  assert.equal(
    [1, 2, 3, 4].map((n) => count(owners, n)),
    [174, 79, 1, 2],
  );
});

test('sh: with more servers than slots the first 256 have one each, and fallback reaches the others', () => {
  const many = rig('sh', new Array<number>(300).fill(5), { options: { fallback: 'on' } });
  assert.is(new Set(bySource(many)).size, SLOTS);
  for (let n = 1; n <= 299; n++) many.services.dests.inhibit(many.row(n), true);
  assert.equal(new Set(bySource(many)), new Set([300]));
});

test('sh keeps a client with its server, unless the port counts', () => {
  const servers = (port: string): Set<number> => {
    const { flow, pick } = rig('sh', [1, 1, 1], { options: { port } });
    const seen = new Set<number>();
    for (let sport = 1024; sport < 1100; sport++) {
      flow.set(addrOf(7), 1, sport, 80, 6, 0);
      seen.add(pick());
    }
    return seen;
  };
  assert.is(servers('off').size, 1);
  assert.is(servers('on').size, 3);
});

test('sh with fallback moves only the clients of the server that is away', () => {
  const some = rig('sh', [4, 3, 2], { options: { fallback: 'on' } });
  const before = bySource(some);
  some.services.dests.inhibit(some.row(1), true);
  const after = bySource(some);
  assert.ok(after.every((owner, i) => (before[i] === 1 ? owner === 2 || owner === 3 : owner === before[i])));
  some.services.dests.inhibit(some.row(1), false);
  assert.equal(bySource(some), before);
});

test('a slot and its reason can be told', () => {
  const { services, service, flow } = rig('sh', [1], { options: { port: 'on', fallback: 'on' } });
  flow.set(addressOf[17]! - 5, 1, 5, 80, 6, 0);
  assert.is(services.explain(service, flow), 'source address and port on slot 17 of 256, with fallback');
  services.edit(service, 'dh');
  flow.set(1, addressOf[200]!, 5, 80, 6, 0);
  assert.is(services.explain(service, flow), 'destination address on slot 200 of 256');
});

test.run();

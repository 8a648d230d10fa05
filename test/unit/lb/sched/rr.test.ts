import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { FlowKey } from '../../../../lb/sched/index.ts';
import { ServiceError } from '../../../../lb/service.ts';
import { addrOf, makeServices } from '../../../lib/services.ts';

/** A service with servers 1, 2, ... of these weights; `run(n)` gives the numbers of the next n servers chosen. */
function rig(weights: readonly number[], worker = 0, workers = 1) {
  const services = makeServices({ worker, workers });
  const id = services.add({ proto: 6, vip: addrOf(100), port: 80, scheduler: 'rr' });
  const server = (i: number, weight = 1) => ({ addr: addrOf(i), port: 80, weight });
  weights.forEach((weight, i) => {
    services.addDest(id, server(i + 1, weight));
  });
  const flow = new FlowKey();
  const pick = (): number => services.dests.addr[services.schedule(id, flow)]! & 0xff;
  const run = (n: number): string => Array.from({ length: n }, pick).join(' ');
  return { services, id, server, flow, run };
}

test('takes the servers in turn, whatever their weights', () => {
  assert.is(rig([1, 1, 1]).run(7), '1 2 3 1 2 3 1');
  assert.is(rig([1, 60000, 7]).run(7), '1 2 3 1 2 3 1');
});

test('passes over weight 0', () => {
  const { run, services, id, server } = rig([1, 0, 5, 0]);
  assert.is(run(4), '1 3 1 3');
  services.editDest(id, server(2, 1));
  assert.is(run(4), '1 2 3 1');
});

test('passes over inhibited servers and comes back to them', () => {
  const { run, services, id } = rig([1, 1, 1]);
  const [first, second] = services.destIds(id);
  services.dests.inhibit(second!, true);
  assert.is(run(3), '1 3 1');
  services.dests.inhibit(second!, false);
  services.dests.inhibit(first!, true);
  assert.is(run(4), '2 3 2 3');
});

test('goes on behind the last choice when the list is edited', () => {
  const { run, services, id, server } = rig([1, 1, 1, 1]);
  assert.is(run(2), '1 2');
  services.removeDest(id, addrOf(1), 80);
  assert.is(run(1), '3', 'a server before the cursor leaves');
  services.addDest(id, server(5));
  assert.is(run(3), '4 5 2', 'one joins at the end');
});

test('goes on with the successor when the server chosen last leaves', () => {
  const { run, services, id, server } = rig([1, 1, 1, 1]);
  assert.is(run(2), '1 2');
  services.removeDest(id, addrOf(2), 80);
  assert.is(run(4), '3 4 1 3');
  services.addDest(id, server(2));
  assert.is(run(5), '4 2 1 3 4', 're-added at the end');
});

test('goes on with the first remaining successor when several leave at once', () => {
  const { run, services, id, server } = rig([1, 1, 1, 1, 1]);
  assert.is(run(3), '1 2 3');
  services.setDests(id, [server(1), server(2), server(5)]);
  assert.is(run(4), '5 1 2 5');
});

test('begins again when every server was exchanged', () => {
  const { run, services, id, server } = rig([1, 1]);
  assert.is(run(1), '1');
  services.setDests(id, [server(7), server(8)]);
  assert.is(run(3), '7 8 7');
});

test('weight changes leave the cursor where it is', () => {
  const { run, services, id, server } = rig([1, 1, 1]);
  assert.is(run(1), '1');
  services.editDest(id, server(1, 9));
  assert.is(run(3), '2 3 1');
});

test('a flow that avoids servers gets the next ones, and the turn moves on', () => {
  const { run, services, id, flow } = rig([1, 1, 1]);
  flow.avoid(services.destIds(id)[0]!);
  assert.is(run(1), '2');
  flow.avoid(services.destIds(id)[1]!);
  assert.is(run(2), '3 3');
  flow.set(0, 0, 0, 0, 6, 0);
  assert.is(run(3), '1 2 3');
});

test('workers begin at different servers and each goes round them all', () => {
  const begin = [0, 1, 2].map((worker) => rig([1, 1, 1, 1, 1, 1], worker, 3).run(7));
  assert.equal(begin, ['1 2 3 4 5 6 1', '3 4 5 6 1 2 3', '5 6 1 2 3 4 5']);
});

test('has no options', () => {
  const { services, id } = rig([1]);
  assert.throws(() => services.edit(id, 'rr', { key: 'source' }), /"rr" has no option "key"; its options: none/);
  assert.throws(
    () => services.edit(99, 'rr'),
    (error: unknown) => error instanceof ServiceError && error.code === 'NOT_FOUND',
  );
});

test.run();

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { FlowKey } from '../../../lb/sched/index.ts';
import { ServiceError, type ServiceErrorCode } from '../../../lb/service.ts';
import { ServiceColumns } from '../../../lb/service-columns.ts';
import { addrOf, makeServices } from '../../lib/services.ts';

const VIP = addrOf(100);
const web = { proto: 6, vip: VIP, port: 80, scheduler: 'rr' };
const server = (i: number, weight = 1) => ({ addr: addrOf(i), port: 8080, weight });

function fails(change: () => unknown, code: ServiceErrorCode): void {
  assert.throws(change, (error: unknown) => error instanceof ServiceError && error.code === code);
}

test('lookup is exact in protocol, address and port', () => {
  const services = makeServices();
  const id = services.add(web);
  assert.is(services.lookup(6, VIP, 80), id);
  assert.is(services.lookup(17, VIP, 80), 0);
  assert.is(services.lookup(6, VIP + 1, 80), 0);
  assert.is(services.lookup(6, VIP, 81), 0);
});

test('lookup finds each of a full table, also after removals', () => {
  const services = makeServices({ capacity: 200 });
  const keys = Array.from({ length: 200 }, (_, i) => [i & 1 ? 6 : 17, addrOf(-(i >> 3)), 80 + (i & 7)] as const);
  const ids = keys.map(([proto, vip, port]) => services.add({ proto, vip, port, scheduler: 'rr' }));
  assert.is(new Set(ids).size, 200);
  ids.forEach((id, i) => {
    if (i % 3 === 0) services.remove(id);
  });
  keys.forEach((key, i) => {
    assert.is(services.lookup(...key), i % 3 === 0 ? 0 : ids[i], `service ${i}`);
  });
  assert.is(services.ids().length, 133);
});

test('schedules over its servers, and counts when there is none', () => {
  const services = makeServices();
  const id = services.add(web);
  const flow = new FlowKey();
  assert.is(services.schedule(id, flow), 0);
  assert.is(services.columns.noDest[id], 1);
  const a = services.addDest(id, server(1));
  const b = services.addDest(id, server(2));
  assert.equal(
    [1, 2, 3].map(() => services.schedule(id, flow)),
    [a, b, a],
  );
  assert.is(services.columns.noDest[id], 1);
});

test('two services over the same servers have their own rows', () => {
  const services = makeServices();
  const id1 = services.add(web);
  const id2 = services.add({ ...web, port: 81 });
  const a = services.addDest(id1, server(1));
  const b = services.addDest(id2, server(1));
  services.connOpen(b);
  assert.equal([services.dests.conns[a], services.dests.conns[b]], [0, 1]);
  assert.equal([services.columns.conns[id1], services.columns.conns[id2]], [0, 1]);
});

test('a removed server gets nothing more, its sessions go on counting, and the totals stay', () => {
  const services = makeServices();
  const id = services.add(web);
  const a = services.addDest(id, server(1));
  const b = services.addDest(id, server(2));
  services.connOpen(a);
  services.countIn(a, 1, 100);
  services.removeDest(id, addrOf(1), 8080);
  const flow = new FlowKey();
  for (let i = 0; i < 5; i++) assert.is(services.schedule(id, flow), b);
  services.countOut(a, 2, 3000);
  services.countIn(b, 1, 10);
  services.dests.connClose(a, false);
  const { columns } = services;
  assert.equal(
    [columns.conns[id], columns.inPkts[id], columns.inBytes[id], columns.outPkts[id], columns.outBytes[id]],
    [1, 2, 110, 2, 3000],
  );
});

test('re-adding a server revives it with its counters', () => {
  const services = makeServices();
  const id = services.add(web);
  const a = services.addDest(id, server(1));
  services.connOpen(a);
  services.countConnectFailure(a);
  services.removeDest(id, addrOf(1), 8080);
  services.addDest(id, server(2));
  assert.is(services.addDest(id, server(1, 5)), a);
  assert.equal([services.dests.conns[a], services.dests.connectFailures[a], services.dests.weight[a]], [1, 1, 5]);
  assert.equal(services.destIds(id), [2, 1]);
});

test('setDests makes the list exactly so, reviving and keeping what it can', () => {
  const services = makeServices();
  const id = services.add(web);
  services.setDests(id, [server(1), server(2), server(3)]);
  const [a, b, c] = services.destIds(id) as [number, number, number];
  services.connOpen(a);
  services.dests.inhibit(c, true);
  services.setDests(id, [server(4), server(3, 7)]);
  const [d] = services.destIds(id) as [number];
  assert.equal(services.destIds(id), [d, c]);
  assert.equal([services.dests.weight[c], services.dests.flags[c]! & 4], [7, 4], 'edited, health verdict kept');
  services.setDests(id, [server(2), server(1)]);
  assert.equal(services.destIds(id), [b, a]);
  assert.is(services.dests.conns[a], 1);
});

test('setDests that does not fit changes nothing', () => {
  const services = makeServices({ dests: 3 });
  const id = services.add(web);
  services.setDests(id, [server(1), server(2), server(3)]);
  const before = services.destIds(id);
  services.connOpen(before[0]!);
  fails(() => services.setDests(id, [server(4), server(5), server(6)]), 'FULL');
  fails(() => services.setDests(id, [server(1), server(1)]), 'EXISTS');
  fails(() => services.setDests(id, [server(1), server(2, -1)]), 'INVALID');
  assert.equal(services.destIds(id), before);
  const flow = new FlowKey();
  assert.equal(
    [1, 2, 3].map(() => services.schedule(id, flow)),
    before,
  );
  services.setDests(id, [server(2), server(4)]);
  assert.equal(services.destIds(id), [2, 3], 'server 2 keeps its row, server 4 takes that of server 3');
});

test('a new scheduler takes over at once; a bad one leaves the old', () => {
  const services = makeServices();
  const id = services.add(web);
  const ids = [services.addDest(id, server(1)), services.addDest(id, server(2))];
  fails(() => services.edit(7, 'rr'), 'NOT_FOUND');
  assert.throws(() => services.edit(id, 'nope'), /unknown scheduler "nope"/);
  assert.is(services.schedulerName(id), 'rr');
  services.edit(id, 'conhash', { key: 'source' });
  assert.is(services.schedulerName(id), 'conhash');
  assert.ok(ids.includes(services.schedule(id, new FlowKey())));
});

test('a removed service is not found; brought back while its connections live it has its totals', () => {
  const services = makeServices({ capacity: 1 });
  const id = services.add(web);
  const a = services.addDest(id, server(1));
  services.connOpen(a);
  services.remove(id);
  assert.is(services.lookup(6, VIP, 80), 0);
  fails(() => services.add({ ...web, port: 81 }), 'FULL');
  services.countIn(a, 1, 50);
  assert.is(services.add(web), id);
  assert.equal([services.columns.conns[id], services.columns.inBytes[id]], [1, 50]);
  assert.equal(services.destIds(id), []);
  assert.is(services.addDest(id, server(1)), a);
});

test('the row of a removed service whose connections are gone serves another, from zero', () => {
  const services = makeServices({ capacity: 1, dests: 2 });
  const id = services.add(web);
  const a = services.addDest(id, server(1));
  services.connOpen(a);
  services.remove(id);
  services.dests.connClose(a, false);
  assert.is(services.add({ ...web, port: 81 }), id);
  assert.is(services.columns.conns[id], 0);
  assert.is(services.dests.conns[services.addDest(id, server(1))], 0, 'servers of the old one are not revived');
});

test('impossible changes are refused by name', () => {
  const services = makeServices({ capacity: 1, dests: 1 });
  const id = services.add(web);
  fails(() => services.add(web), 'EXISTS');
  fails(() => services.add({ ...web, port: 65536 }), 'INVALID');
  fails(() => services.add({ ...web, port: 81 }), 'FULL');
  services.addDest(id, server(1));
  fails(() => services.addDest(id, server(1)), 'EXISTS');
  fails(() => services.addDest(id, server(2)), 'FULL');
  fails(() => services.addDest(id, server(2, 65536)), 'INVALID');
  fails(() => services.editDest(id, server(2)), 'NOT_FOUND');
  fails(() => services.removeDest(id, addrOf(2), 8080), 'NOT_FOUND');
  fails(() => services.removeDest(9, addrOf(2), 8080), 'NOT_FOUND');
});

test('weights and states change in place; a backup has no say in the list', () => {
  const services = makeServices();
  const id = services.add(web);
  const [a, b] = [services.addDest(id, server(1)), services.addDest(id, server(2))];
  const flow = new FlowKey();
  const picks = (): number[] => [...new Set(Array.from({ length: 4 }, () => services.schedule(id, flow)))].sort();
  assert.equal(picks(), [a, b]);
  services.setState(a, 'drain');
  assert.equal(picks(), [b]);
  services.setState(a, 'ready');
  services.setWeight(b, 0);
  assert.equal(picks(), [a]);
  fails(() => services.setWeight(a, 65536), 'INVALID');
  const sorry = services.setBackup(id, { addr: addrOf(3), port: 80, weight: 0 });
  assert.equal(services.destIds(id), [a, b]);
  fails(() => services.setState(sorry, 'maint'), 'NOT_FOUND');
  fails(() => services.setWeight(sorry, 1), 'NOT_FOUND');
  services.setState(a, 'maint');
  assert.equal(picks(), [sorry]);
  assert.is(services.columns.noDest[id], 0);
  services.setBackup(id, null);
  assert.equal(picks(), [0]);
  fails(() => services.setBackup(id, server(1)), 'EXISTS');
  // What was the backup becomes an ordinary server: letting go of the backup leaves it alone.
  services.setBackup(id, server(3));
  services.setDests(id, [server(3)]);
  services.setBackup(id, null);
  assert.equal(picks(), services.destIds(id));
});

test('another thread reads the services, live', () => {
  const buffer = new SharedArrayBuffer(ServiceColumns.bytes(3));
  const columns = ServiceColumns.create(buffer, 0, 3);
  const reader = ServiceColumns.attach(buffer, 0);
  columns.conns[2] = 5;
  columns.vip[3] = VIP;
  assert.equal([reader.capacity, reader.conns[2], reader.vip[3]], [3, 5, VIP]);
});

test.run();

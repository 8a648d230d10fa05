/** What a worker tells of its links, and when none is left. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { WorkerEvent } from '../../../../src/workers/events.ts';
import { LinkWatch } from '../../../../src/workers/link-watch.ts';
import { type Device, newStats } from '../../../../stack/netif/device.ts';

type Settable = { -readonly [K in keyof Device]: Device[K] };

function fake(name: string, revives: boolean): Settable {
  const caps = { mtu: 1500, txChecksum: false, rxChecksum: false, tso: false, scatter: false, queues: 1 };
  return { name, caps, stats: newStats(), fd: -1, up: true, revives, notice: '', rx: () => 0, tx: () => 0, close() {} };
}

function watch(...devices: Settable[]): {
  look: () => boolean;
  told: WorkerEvent[];
  changes: () => number;
  downs: () => number;
} {
  const told: WorkerEvent[] = [];
  let changes = 0;
  let downs = 0;
  const links = new LinkWatch(
    devices,
    (down) => {
      changes++;
      downs += down;
    },
    (event) => told.push(event),
  );
  return { look: () => links.look(), told, changes: () => changes, downs: () => downs };
}

test('a link that comes back is told twice, and routes follow', () => {
  const device = fake('packet:eth0', true);
  const { look, told, changes, downs } = watch(device);
  assert.ok(look());
  device.up = false;
  assert.ok(look());
  assert.ok(look());
  device.up = true;
  assert.ok(look());
  assert.equal(told, [
    { type: 'linkDown', name: 'packet:eth0' },
    { type: 'linkUp', name: 'packet:eth0' },
  ]);
  assert.equal([changes(), downs()], [2, 1]);
});

test('a link that comes up between the start and the first look: routes follow, and there is nothing to tell', () => {
  const device = fake('memif:/run/lb.sock', true);
  device.up = false;
  const { look, told, changes } = watch(device);
  device.up = true;
  assert.ok(look());
  assert.is(changes(), 1);
  assert.equal(told, []);
});

test('it is over when the last link is gone for good', () => {
  const [one, other] = [fake('tap:tap0', false), fake('tap:tap1', false)];
  const { look, told } = watch(one, other);
  one.up = false;
  assert.ok(look(), 'the other is left');
  other.up = false;
  assert.not(look());
  assert.equal(told, [
    { type: 'linkGone', name: 'tap:tap0' },
    { type: 'linkGone', name: 'tap:tap1' },
  ]);
});

test('a notice is told once, and again when it changes', () => {
  const device = fake('packet:eth0', true);
  const { look, told } = watch(device);
  device.notice = 'unfinished checksums';
  look();
  look();
  device.notice = '';
  look();
  device.notice = 'unfinished checksums';
  look();
  assert.equal(
    told.map(({ type }) => type),
    ['linkNotice', 'linkNotice'],
  );
});

test.run();

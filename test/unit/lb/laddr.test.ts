import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { LocalAddrs } from '../../../lb/laddr.ts';
import { LAST_PORT, SaPools } from '../../../stack/inetaddr/sapool.ts';
import { seeded } from '../../lib/random.ts';

const RS = 0x0a0000c8;
const lip = (i: number): number => 0x0a010000 + i;
const lips = (n: number): number[] => Array.from({ length: n }, (_, i) => lip(i));

/** A bucket has 63 ports: easily used up. */
function make(firstPort = LAST_PORT - 62): { pools: SaPools; locals: LocalAddrs } {
  const random = seeded(3);
  const pools = new SaPools({ worker: 0, workers: 1, firstPort, buckets: 16, random, onScarce: () => {} });
  return { pools, locals: new LocalAddrs(pools, random, 8) };
}

/** The addresses of the next `n` picks, as distances from the first one. */
function picks(locals: LocalAddrs, service: number, n: number): number[] {
  return Array.from({ length: n }, () => (locals.acquire(service, RS, 80) ? locals.addr - lip(0) : -1));
}

test('addresses are used in turn', () => {
  const { locals } = make();
  locals.set(1, lips(3), false);
  assert.equal(picks(locals, 1, 7), [0, 1, 2, 0, 1, 2, 0]);
  assert.equal(locals.addresses(1), lips(3));
});

test('each service has its own turn, even over the same addresses', () => {
  const { locals } = make();
  locals.set(1, lips(3), false);
  locals.set(2, lips(2), false);
  assert.equal([...picks(locals, 1, 2), ...picks(locals, 2, 2), ...picks(locals, 1, 2)], [0, 1, 0, 1, 2, 0]);
});

test('where the scheduler goes in turn, one pick in twenty skips an address', () => {
  const { locals } = make(1);
  locals.set(1, lips(4), true);
  const seen = picks(locals, 1, 20_000);
  let skips = 0;
  seen.forEach((at, i) => {
    if (i === 0) return;
    const ahead = (at - seen[i - 1]! + 4) % 4;
    assert.ok(ahead === 1 || ahead === 2);
    if (ahead === 2) skips++;
  });
  assert.ok(skips > 900 && skips < 1100, `${skips} of 20000`);
});

test('with one address there is nothing to skip', () => {
  const { locals } = make(1);
  locals.set(1, lips(1), true);
  assert.ok(picks(locals, 1, 200).every((at) => at === 0));
});

test('an address without a port for the server is passed over; without any left the refusal is counted', () => {
  const { locals, pools } = make();
  locals.set(1, lips(2), false);
  const size = pools.find(lip(0))!.bucketSize;
  for (let i = 0; i < size; i++) pools.find(lip(0))!.acquire(RS, 80);
  assert.ok(picks(locals, 1, size).every((at) => at === 1));
  assert.equal(picks(locals, 1, 2), [-1, -1]);
  assert.is(locals.refused[1], 2);
  assert.ok(locals.acquire(1, RS, 81), 'another server has ports of its own');
});

test('at most sixteen addresses are tried', () => {
  const { locals, pools } = make();
  locals.set(1, lips(20), false);
  for (let i = 0; i < 16; i++) while (pools.find(lip(i))!.acquire(RS, 80) !== 0);
  assert.equal(picks(locals, 1, 5), [-1, 16, 17, 18, 19]);
});

test('a service without addresses is refused', () => {
  const { locals } = make();
  assert.not(locals.acquire(5, RS, 80));
  locals.set(5, lips(1), false);
  assert.ok(locals.acquire(5, RS, 80));
  locals.set(5, [], false);
  assert.not(locals.acquire(5, RS, 80));
  assert.is(locals.refused[5], 2);
});

test('ports come back after the address left the service', () => {
  const { locals, pools } = make();
  locals.set(1, lips(2), false);
  locals.acquire(1, RS, 80);
  const { addr, port } = locals;
  locals.set(1, [lip(1)], false);
  assert.is(pools.find(addr), null);
  assert.ok(locals.release(addr, port, RS, 80));
  assert.not(locals.release(addr, port, RS, 80));
  assert.is(pools.list().length, 1);
});

test('an address that stays keeps its ports through a change', () => {
  const { locals, pools } = make();
  locals.set(1, lips(2), false);
  const pool = pools.find(lip(0));
  locals.acquire(1, RS, 80);
  locals.set(1, [lip(0), lip(5)], false);
  assert.is(pools.find(lip(0)), pool);
  assert.is(pool!.used, 1);
});

test.run();

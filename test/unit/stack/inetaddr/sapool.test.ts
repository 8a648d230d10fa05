import fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { FIRST_PORT, LAST_PORT, type SaPoolConfig, SaPools } from '../../../../stack/inetaddr/sapool.ts';
import { ownerOfFlow } from '../../../../stack/steer/flow.ts';
import { seeded } from '../../../lib/random.ts';

const LIP = 0x0a000064;
const RS = 0x0a0000c8;

function make(change: Partial<SaPoolConfig> = {}): { pools: SaPools; alarms: string[] } {
  const alarms: string[] = [];
  const config: SaPoolConfig = {
    worker: 0,
    workers: 1,
    buckets: 16,
    random: seeded(7),
    onScarce: (addr, used, size) => alarms.push(`${addr === LIP ? 'LIP' : addr} ${used} of ${size}`),
    ...change,
  };
  return { pools: new SaPools(config), alarms };
}

test('one address has every port from 1025 for each bucket of servers', () => {
  const pool = make().pools.add(LIP);
  assert.is(pool.bucketSize, 64511);
  assert.is(pool.free, 16 * 64511);
  const ports = new Set<number>();
  for (let i = 0; i < 64511; i++) ports.add(pool.acquire(RS, 80));
  assert.is(ports.size, 64511);
  assert.is(Math.min(...ports), FIRST_PORT);
  assert.is(Math.max(...ports), LAST_PORT);
  assert.is(pool.acquire(RS, 80), 0);
  assert.is(pool.acquire(RS, 96), 0, 'the same bucket');
  assert.ok(pool.acquire(RS, 81) > 0, 'another one');
  assert.ok(pool.acquire(RS + 1, 80) > 0);
  assert.equal([pool.used, pool.free, pool.misses], [64513, 15 * 64511 - 2, 2]);
});

test('ports never used come by chance: the next one cannot be told from those before', () => {
  const pool = make().pools.add(LIP);
  const n = 2000;
  const ports = Array.from({ length: n }, () => pool.acquire(RS, 80));
  const near = ports.filter((port, i) => i > 0 && Math.abs(port - ports[i - 1]!) < 645).length;
  // One in fifty is within one hundredth on either side.
  assert.ok(near > n / 100 && near < n / 25, `${near} of ${n}`);
  for (let quarter = 0; quarter < 4; quarter++) {
    const low = FIRST_PORT + quarter * 16128;
    const share = ports.filter((port) => port >= low && port < low + 16128).length;
    assert.ok(Math.abs(share - n / 4) < n / 16, `${share} of ${n} in quarter ${quarter}`);
  }
});

test('workers have different ports towards a server, all of them together, and the reply is steered to the one that has it', () => {
  for (const workers of [1, 2, 3, 4, 7]) {
    const seen = new Set<number>();
    for (let worker = 0; worker < workers; worker++) {
      const pool = make({ worker, workers }).pools.add(LIP);
      const before = seen.size;
      for (let port = pool.acquire(RS, 80); port !== 0; port = pool.acquire(RS, 80)) {
        assert.is(ownerOfFlow(RS, LIP, (80 << 16) | port, workers), worker);
        assert.ok(port >= FIRST_PORT && port <= LAST_PORT);
        assert.not(seen.has(port));
        seen.add(port);
      }
      const share = seen.size - before;
      assert.ok(Math.abs(share - 64511 / workers) < 200, `${share} of ${workers} workers`);
    }
    assert.is(seen.size, 64511);
  }
});

test('the port idle longest comes first', () => {
  const pool = make({ firstPort: LAST_PORT - 62 }).pools.add(LIP);
  const n = pool.bucketSize;
  const first: number[] = [];
  for (let i = 0; i < 3; i++) first.push(pool.acquire(RS, 80));
  for (const port of [first[1]!, first[2]!, first[0]!]) assert.ok(pool.release(port, RS, 80));
  for (let i = 3; i < n; i++) assert.not(first.includes(pool.acquire(RS, 80)), 'never used ones are before');
  assert.equal(
    [0, 1, 2].map(() => pool.acquire(RS, 80)),
    [first[1], first[2], first[0]],
  );
  assert.is(pool.acquire(RS, 80), 0);
});

test('all ports of a bucket come in the order they were given back, again and again', () => {
  const pool = make().pools.add(LIP);
  const ports = Array.from({ length: pool.bucketSize }, () => pool.acquire(RS, 80));
  assert.is(new Set(ports).size, pool.bucketSize);
  for (let round = 0; round < 4; round++) {
    // From nearly none to nearly all of them wait.
    const n = [3, 5000, pool.bucketSize, 40_000][round]!;
    const back = ports.splice(0, n);
    for (const port of back) assert.ok(pool.release(port, RS, 80));
    assert.is(pool.used, pool.bucketSize - n);
    const again = back.map(() => pool.acquire(RS, 80));
    assert.equal(again, back);
    assert.is(pool.acquire(RS, 80), 0);
    ports.push(...again);
  }
});

test('a port that nobody has, or of another worker, cannot be given back', () => {
  const { pools } = make({ workers: 4, worker: 2 });
  const pool = pools.add(LIP);
  const port = pool.acquire(RS, 80);
  for (const wrong of [port + 1, port + 4, 0, 1024, 65536, -2]) assert.not(pool.release(wrong, RS, 80), `${wrong}`);
  assert.not(pool.release(port, RS, 81), 'in a bucket never used');
  assert.ok(pool.release(port, RS, 80));
  assert.not(pool.release(port, RS, 80), 'twice');
  assert.is(pool.used, 0);
  assert.not(pools.release(LIP + 1, port, RS, 80), 'of an address never added');
});

test('an alarm is raised at 80 % of a bucket, once, and again after it was below 70 %', () => {
  const { pools, alarms } = make({ firstPort: LAST_PORT - 125 });
  const pool = pools.add(LIP);
  const n = pool.bucketSize;
  const ports: number[] = [];
  const fill = (to: number): void => {
    while (ports.length < to) ports.push(pool.acquire(RS, 80));
    while (ports.length > to) pool.release(ports.pop()!, RS, 80);
  };
  const high = Math.ceil(n * 0.8);
  fill(high - 1);
  assert.equal(alarms, []);
  fill(high);
  assert.equal(alarms, [`LIP ${high} of ${n}`]);
  fill(n);
  fill(Math.ceil(n * 0.7));
  fill(n);
  assert.is(alarms.length, 1);
  fill(Math.ceil(n * 0.7) - 1);
  fill(n);
  assert.is(alarms.length, 2);
});

test('ports come back after their address was removed, which is then forgotten', () => {
  const { pools } = make();
  const pool = pools.add(LIP);
  const a = pool.acquire(RS, 80);
  const b = pool.acquire(RS, 80);
  pools.remove(LIP);
  assert.is(pools.find(LIP), null);
  assert.equal(pools.list(), [pool]);
  assert.ok(pools.release(LIP, a, RS, 80));
  assert.ok(pools.release(LIP, b, RS, 80));
  assert.equal(pools.list(), []);
  assert.not(pools.release(LIP, b, RS, 80));
});

test('an address added again before its ports are back goes on where it was', () => {
  const { pools } = make();
  const pool = pools.add(LIP);
  const port = pool.acquire(RS, 80);
  pools.remove(LIP);
  assert.is(pools.add(LIP), pool);
  for (let i = 1; i < pool.bucketSize; i++) assert.is.not(pool.acquire(RS, 80), port);
  assert.is(pool.acquire(RS, 80), 0);
});

test('an address wanted twice is removed twice', () => {
  const { pools } = make();
  pools.add(LIP);
  pools.add(LIP);
  pools.remove(LIP);
  assert.ok(pools.find(LIP) !== null);
  pools.remove(LIP);
  assert.is(pools.find(LIP), null);
  pools.remove(LIP);
  assert.equal(pools.list(), []);
});

test('under random operations no bucket gives a port twice, and the oldest comes first', () => {
  const op = fc.record({ take: fc.nat(9), pick: fc.nat(), server: fc.nat(5) });
  const run = fc.tuple(fc.integer(), fc.array(op, { minLength: 100, maxLength: 600 }));
  fc.assert(
    fc.property(run, ([seed, ops]) => {
      const { pools } = make({ firstPort: LAST_PORT - 62, buckets: 2, random: seeded(seed) });
      const pool = pools.add(LIP);
      const n = pool.bucketSize;
      const held: [port: number, rport: number][] = [];
      const idle: number[][] = [[], []];
      let misses = 0;
      for (const { take, pick, server } of ops) {
        const rport = 8000 + server;
        const bucket = ((RS & 0xffff) + rport) % 2;
        if (take < 7) {
          const before = held.filter(([, p]) => ((RS & 0xffff) + p) % 2 === bucket);
          const port = pool.acquire(RS, rport);
          if (before.length === n) {
            assert.is(port, 0);
            misses++;
            continue;
          }
          assert.not(
            before.some(([p]) => p === port),
            'given twice',
          );
          const used = idle[bucket]!.indexOf(port);
          if (used >= 0) assert.is(used, 0, 'another was idle longer');
          if (used >= 0) idle[bucket]!.shift();
          else assert.ok(before.length + idle[bucket]!.length < n);
          held.push([port, rport]);
        } else if (held.length > 0) {
          const [[port, owner]] = held.splice(pick % held.length, 1) as [[number, number]];
          assert.ok(pools.release(LIP, port, RS, owner));
          idle[((RS & 0xffff) + owner) % 2]!.push(port);
        }
        assert.equal([pool.used, pool.misses, pool.free], [held.length, misses, 2 * n - held.length]);
      }
    }),
    { numRuns: 60 },
  );
});

test('what makes no sense is refused', () => {
  assert.throws(() => make({ worker: 2, workers: 2 }), /worker 2 of 2/);
  assert.throws(() => make({ buckets: 0 }), /0 buckets/);
  assert.throws(() => make({ buckets: 129 }), /129 buckets/);
});

test.run();

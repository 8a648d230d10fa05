import { readFileSync } from 'node:fs';
import * as fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { hsiphash } from '../../../../lb/hash/siphash.ts';
import { FlowKey } from '../../../../lb/sched/index.ts';
import { buildTable, entryOf, TABLE_SIZES } from '../../../../lb/sched/maglev.ts';
import { drawMaglev, MAGLEV_PLOT } from '../../../../scripts/plot-maglev.ts';
import { claims, disruption } from '../../../lib/maglev.ts';
import { addrOf, makeServices } from '../../../lib/services.ts';
import { rig } from './rig.ts';

/** Entries of each id. */
function sharesOf(table: Int32Array, n: number): Int32Array {
  const shares = new Int32Array(n + 1);
  for (const id of table) shares[id]! += 1;
  return shares.subarray(1);
}

test('table sizes are primes, so that every step visits every entry', () => {
  for (const size of TABLE_SIZES) {
    for (let d = 2; d * d <= size; d++) assert.ok(size % d !== 0, `${size} = ${d} x ${size / d}`);
  }
  assert.is(new Set(TABLE_SIZES).size, 12);
});

test('the sequence for weights 4 3 2: clients 10.0.1.1 to 10.0.1.18', () => {
  const { flow, pick, run } = rig('mh', [4, 3, 2]);
  let client = 0;
  const next = (): number => {
    flow.set(addrOf(256 + ++client), 1, 2, 3, 6, 0);
    return pick();
  };
  assert.is(run(18, next), '3 1 3 3 2 3 2 3 1 2 3 2 1 3 2 2 2 1');
});

test('the table is that of the paper: everyone in turn takes the next free entry of a permutation', () => {
  for (const [size, n] of [
    [251, 7],
    [509, 30],
    [1021, 3],
  ] as const) {
    const all = claims(n);
    const permutations = all.map(({ addr, port }) => {
      const offset = (hsiphash(addr + port, 2654435761) >>> 0) % size;
      const skip = ((hsiphash(addr + port, 2654446892) >>> 0) % (size - 1)) + 1;
      return Array.from({ length: size }, (_, j) => (offset + j * skip) % size);
    });
    const owner = new Map<number, number>();
    for (let turn = 0; owner.size < size; turn++) {
      const entry = permutations[turn % n]!.find((candidate) => !owner.has(candidate))!;
      owner.set(entry, all[turn % n]!.id);
    }
    assert.equal(
      [...buildTable(all, size)],
      Array.from({ length: size }, (_, entry) => owner.get(entry)),
    );
  }
});

for (const [size, limit] of [
  [65537, 1],
  [655373, 0.15],
] as const) {
  test(`${size} entries: 1000 servers are within ${limit} % of their share`, () => {
    const n = 1000;
    const begin = performance.now();
    const table = buildTable(claims(n), size);
    const ms = performance.now() - begin;
    const shares = sharesOf(table, n);
    const [least, most] = [Math.min(...shares), Math.max(...shares)];
    const mean = size / n;
    const off = 100 * Math.max(most / mean - 1, 1 - least / mean);
    console.log(
      `mh: ${size} entries, ${n} servers: ${least}..${most}, ${off.toFixed(2)} % off, built in ${ms.toFixed(0)} ms`,
    );
    assert.ok(most - least <= 1);
    assert.ok(off <= limit, `${off} %`);
  });
}

test('when k of n leave, hardly anything moves beyond their share', () => {
  // [entries, servers, leaving, most that may move of what stays, in %]: what was measured, and a quarter more.
  const limits = [
    [65537, 10, 1, 0.3],
    [65537, 100, 1, 0.75],
    [65537, 100, 10, 1.5],
    [65537, 1000, 1, 0.75],
    [65537, 1000, 10, 3],
    [65537, 1000, 100, 5],
    [655373, 100, 10, 0.4],
    [655373, 1000, 1, 0.45],
    [655373, 1000, 10, 0.75],
    [655373, 1000, 100, 1.5],
  ] as const;
  for (const [size, n, k, limit] of limits) {
    const { own, moved } = disruption(claims(n), size, k);
    console.log(
      `mh: ${size} entries, ${k} of ${n} leave with ${own.toFixed(2)} %, ${moved.toFixed(2)} % of the rest move`,
    );
    assert.ok(Math.abs(own - (100 * k) / n) < 0.1, `${own} %`);
    assert.ok(moved <= limit, `${moved} %`);
  }
});

test('the curve in docs/schedulers.md is what is measured', () => {
  assert.is(readFileSync(MAGLEV_PLOT, 'utf8'), drawMaglev(), 'run: npx tsx scripts/plot-maglev.ts');
});

test('servers with several ports have permutations of their own', () => {
  const all = Array.from({ length: 100 }, (_, i) => ({
    id: i + 1,
    addr: addrOf(10 - Math.floor(i / 10)),
    port: 8089 - (i % 10),
    weight: 1,
  }));
  const { moved } = disruption(all, 65537, 1);
  assert.ok(moved < 1, `${moved} %`);
  const shares = sharesOf(buildTable(all, 65537), 100);
  assert.ok(Math.max(...shares) - Math.min(...shares) <= 1);
});

test('weights are shares of the table', () => {
  const weight = (n: number): number => [1, 2, 4, 10][n % 4]!;
  const shares = sharesOf(buildTable(claims(100, weight), 65521), 100);
  const unit = 65521 / (25 * 17);
  shares.forEach((share, i) => {
    assert.ok(Math.abs(share / (unit * weight(i + 1)) - 1) < 0.03, `server ${i + 1}: ${share}`);
  });
});

test('of weights far apart the lightest still has a share, and the heaviest at most some 64 turns a round', () => {
  const shares = sharesOf(
    buildTable(
      claims(3, (n) => [65535, 32767, 1][n - 1]!),
      4093,
    ),
    3,
  );
  // 65535 and 32767 are shifted right by 10 to 63 and 31; 1 keeps its turn.
  assert.equal(
    [...shares].map((share) => Math.round((share * 95) / 4093)),
    [63, 31, 1],
  );
});

test('the table is the same whatever the order of adding', () => {
  const n = 12;
  const weights = Array.from({ length: n }, (_, i) => 1 + (i % 3));
  const choices = (order: readonly number[]): string => {
    const services = makeServices();
    const id = services.add({ proto: 6, vip: addrOf(0xff00), port: 80, scheduler: 'mh', options: { port: 'on' } });
    for (const i of order) {
      services.addDest(id, { addr: addrOf(1 + (i >> 1)), port: 80 + (i & 1), weight: weights[i]! });
    }
    const flow = new FlowKey();
    return Array.from({ length: 500 }, (_, i) => {
      flow.set(addrOf(i), 1, i, 80, 6, 0);
      const dest = services.schedule(id, flow);
      return `${services.dests.addr[dest]}:${services.dests.port[dest]}`;
    }).join();
  };
  const order = Array.from({ length: n }, (_, i) => i);
  const first = choices(order);
  const property = fc.property(fc.shuffledSubarray(order, { minLength: n }), (shuffled) => {
    assert.is(choices(shuffled), first);
  });
  fc.assert(property, { seed: 3, numRuns: 20 });
});

test('a server that leaves and comes back gets back exactly what it had', () => {
  const { services, service, flow, pick } = rig('mh', [1, 1, 1, 1]);
  const owners = (): number[] =>
    Array.from({ length: 300 }, (_, i) => {
      flow.set(addrOf(i), 1, 2, 3, 6, 0);
      return pick();
    });
  const before = owners();
  services.removeDest(service, addrOf(2), 80);
  assert.not.equal(owners(), before);
  services.addDest(service, { addr: addrOf(2), port: 80, weight: 1 });
  assert.equal(owners(), before);
});

test('a server at weight 0 keeps its entries and refuses them; with fallback only its own clients move', () => {
  for (const fallback of ['off', 'on']) {
    const { flow, pick, reweigh } = rig('mh', [2, 1, 3], { options: { fallback } });
    const owners = (): number[] =>
      Array.from({ length: 500 }, (_, i) => {
        flow.set(addrOf(i), 1, 2, 3, 6, 0);
        return pick();
      });
    const before = owners();
    reweigh(3, 0);
    const without = owners();
    without.forEach((owner, i) => {
      if (before[i] !== 3) assert.is(owner, before[i]);
      else assert.ok(fallback === 'on' ? owner === 1 || owner === 2 : owner === 0);
    });
    reweigh(3, 3);
    assert.equal(owners(), before);
  }
});

test('a server that never had a weight has no entries', () => {
  const { flow, pick } = rig('mh', [1, 0]);
  for (let i = 0; i < 200; i++) {
    flow.set(i, 1, 2, 3, 6, 0);
    assert.is(pick(), 1);
  }
  assert.is(rig('mh', [0, 0]).pick(), 0);
});

test('a removed server does not keep its last weight for who comes after it', () => {
  const { services, service, flow, pick } = rig('mh', [1, 5]);
  services.removeDest(service, addrOf(2), 80);
  services.addDest(service, { addr: addrOf(2), port: 80, weight: 0 });
  for (let i = 0; i < 200; i++) {
    flow.set(i, 1, 2, 3, 6, 0);
    assert.is(pick(), 1);
  }
});

test('with fallback one server of a thousand is found', () => {
  const { services, row, flow, pick } = rig('mh', new Array<number>(1000).fill(1), { options: { fallback: 'on' } });
  for (let n = 1; n <= 1000; n++) if (n !== 777) services.dests.inhibit(row(n), true);
  for (let i = 0; i < 20; i++) {
    flow.set(i, 1, 2, 3, 6, 0);
    assert.is(pick(), 777);
  }
});

test('an entry and its reason can be told', () => {
  const { services, service, flow } = rig('mh', [1], { options: { fallback: 'on', table: '251' } });
  flow.set(addrOf(5), 1, 5, 80, 6, 0);
  const entry = entryOf(addrOf(5), 251);
  assert.is(services.explain(service, flow), `source address on entry ${entry} of 251, with fallback`);
});

test.run();

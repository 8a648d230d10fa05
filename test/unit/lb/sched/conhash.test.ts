import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { FlowKey } from '../../../../lb/sched/index.ts';
import { addrOf, makeServices } from '../../../lib/services.ts';

type Key = '5tuple' | 'source' | 'quic';
const KEYS: readonly Key[] = ['5tuple', 'source', 'quic'];

interface Server {
  readonly addr: number;
  readonly port: number;
  readonly weight: number;
}

const server = (i: number, weight = 1): Server => ({ addr: addrOf(i), port: 80, weight });
const servers = (n: number): Server[] => Array.from({ length: n }, (_, i) => server(i + 1));

/** A service hashed by `key`; `map(n)` is the server (its last address byte) of each of n different flows. */
function rig(key: Key, list: readonly Server[]) {
  const services = makeServices();
  const id = services.add({ proto: 6, vip: addrOf(0), port: 80, scheduler: 'conhash', options: { key } });
  services.setDests(id, list);
  const flow = new FlowKey();
  const map = (n: number): Int32Array =>
    Int32Array.from({ length: n }, (_, i) => {
      // As real ones come: few clients with many ports, or many clients in a row.
      if (key === 'source') flow.set(addrOf(0x10000 + i), addrOf(0), 40000, 80, 6, 0);
      else flow.set(addrOf(0x10000 + (i & 15)), addrOf(0), 1024 + (i >>> 4), 80, 6, 0);
      if (key === 'quic') flow.setId(i, 7);
      return services.dests.addr[services.schedule(id, flow)]! & 0xffff;
    });
  return { services, id, map };
}

function count(map: Int32Array): Map<number, number> {
  const counts = new Map<number, number>();
  for (const s of map) counts.set(s, (counts.get(s) ?? 0) + 1);
  return counts;
}

const FLOWS = 20_000;

for (const key of KEYS) {
  test(`${key}: removing one of n servers moves its own flows, about 1/n of all, and no others`, () => {
    for (const n of [2, 3, 5, 10, 20]) {
      const { services, id, map } = rig(key, servers(n));
      const before = map(FLOWS);
      services.removeDest(id, addrOf(n >> 1), 80);
      const after = map(FLOWS);
      let moved = 0;
      after.forEach((s, i) => {
        if (before[i] === n >> 1) assert.is.not(s, n >> 1);
        else assert.is(s, before[i], `n = ${n}: flow ${i} of a server that stays`);
        if (s !== before[i]) moved++;
      });
      const share = (moved * n) / FLOWS;
      assert.ok(share > 0.75 && share < 1.3, `n = ${n}: ${share} of 1/n moved`);
    }
  });

  test(`${key}: the flows of a removed server spread over all the others`, () => {
    const { services, id, map } = rig(key, servers(6));
    const before = map(FLOWS);
    services.removeDest(id, addrOf(3), 80);
    const heirs = count(map(FLOWS).filter((_, i) => before[i] === 3));
    assert.is(heirs.size, 5);
    for (const [heir, flows] of heirs) assert.ok(flows > FLOWS / 6 / 5 / 2, `${heir} inherits only ${flows}`);
  });

  test(`${key}: re-adding a server restores the mapping exactly`, () => {
    const { services, id, map } = rig(key, servers(7));
    const before = map(FLOWS);
    for (const i of [1, 4, 7]) services.removeDest(id, addrOf(i), 80);
    assert.not.equal(map(FLOWS), before);
    for (const i of [7, 1, 4]) services.addDest(id, server(i));
    assert.equal(map(FLOWS), before);
  });

  test(`${key}: adding a server moves flows to it only`, () => {
    const { services, id, map } = rig(key, servers(4));
    const before = map(FLOWS);
    services.addDest(id, server(9));
    map(FLOWS).forEach((s, i) => {
      assert.ok(s === before[i] || s === 9, `flow ${i} moved from ${before[i]} to ${s}`);
    });
  });

  test(`${key}: the order of adding does not matter`, () => {
    const list = servers(9).map((s, i) => ({ ...s, weight: (i % 3) + 1 }));
    const want = rig(key, list).map(FLOWS);
    assert.equal(rig(key, [...list].reverse()).map(FLOWS), want);
    const { services, id, map } = rig(key, [server(77)]);
    for (const i of [5, 2, 8, 0, 3, 7, 1, 6, 4]) services.addDest(id, list[i]!);
    services.removeDest(id, addrOf(77), 80);
    assert.equal(map(FLOWS), want);
  });

  test(`${key}: a server that is inhibited or overloaded is passed over as if it had left`, () => {
    const want = rig(
      key,
      servers(5).filter((s) => s.addr !== addrOf(2)),
    ).map(FLOWS);
    const { services, id, map } = rig(key, servers(5));
    const before = map(FLOWS);
    const second = services.destIds(id)[1]!;
    services.dests.inhibit(second, true);
    assert.equal(map(FLOWS), want);
    services.dests.inhibit(second, false);
    assert.equal(map(FLOWS), before);
    services.editDest(id, { ...server(2), upper: 1 });
    services.connOpen(second);
    assert.equal(map(FLOWS), want);
  });

  test(`${key}: the fullest of 2 to 20 equal servers has at most 1.3 times the mean of 100,000 flows`, () => {
    const flows = 100_000;
    for (let n = 2; n <= 20; n++) {
      const counts = count(rig(key, servers(n)).map(flows));
      assert.is(counts.size, n);
      const spread = (Math.max(...counts.values()) * n) / flows;
      assert.ok(spread <= 1.3, `n = ${n}: max/mean ${spread}`);
    }
  });

  test(`${key}: the spread holds for many sets of addresses, and for ports of one host`, () => {
    for (let set = 1; set <= 20; set++) {
      const list = Array.from({ length: 20 }, (_, i) =>
        set === 20 ? { addr: addrOf(1), port: 3000 + i, weight: 1 } : server(set * 256 + i),
      );
      const { services, id } = rig(key, list);
      const flow = new FlowKey();
      const counts = new Int32Array(services.dests.capacity + 1);
      for (let i = 0; i < FLOWS; i++) {
        flow.set(addrOf(0x20000 + i), addrOf(0), i & 0xffff, 80, 6, 0);
        counts[services.schedule(id, flow)]!++;
      }
      const spread = (Math.max(...counts) * 20) / FLOWS;
      assert.ok(spread <= 1.3, `set ${set}: max/mean ${spread}`);
    }
  });

  test(`${key}: flows are in proportion to the weights`, () => {
    const weights = [1, 2, 3, 4, 0, 10];
    const counts = count(
      rig(
        key,
        weights.map((weight, i) => server(i + 1, weight)),
      ).map(100_000),
    );
    weights.forEach((weight, i) => {
      const ratio = (counts.get(i + 1) ?? 0) / (weight * 5000);
      if (weight === 0) assert.is(counts.has(i + 1), false);
      else assert.ok(ratio > 0.85 && ratio < 1.15, `weight ${weight}: ${ratio} of its share`);
    });
  });

  test(`${key}: only the proportion of the weights counts`, () => {
    const of = (...weights: number[]) =>
      rig(
        key,
        weights.map((weight, i) => server(i + 1, weight)),
      ).map(FLOWS);
    assert.equal(of(100, 200, 300), of(1, 2, 3));
    assert.equal(of(50, 50), of(1, 1));
  });

  test(`${key}: weight 0 takes a server off the ring, and its old weight puts it back as it was`, () => {
    const { services, id, map } = rig(key, servers(4));
    const before = map(FLOWS);
    services.editDest(id, server(2, 0));
    assert.equal(
      map(FLOWS),
      rig(
        key,
        servers(4).filter((s) => s.addr !== addrOf(2)),
      ).map(FLOWS),
    );
    services.editDest(id, server(2, 1));
    assert.equal(map(FLOWS), before);
  });
}

test('weights without a common divisor keep the ring bounded and the shares right', () => {
  const { map } = rig('5tuple', [server(1, 65535), server(2, 65534), server(3, 32768), server(4, 1)]);
  const counts = count(map(FLOWS));
  for (const [i, share] of [
    [1, 0.4],
    [2, 0.4],
    [3, 0.2],
  ] as const) {
    const ratio = counts.get(i)! / (FLOWS * share);
    assert.ok(ratio > 0.93 && ratio < 1.07, `server ${i}: ${ratio} of its share`);
  }
});

test('source keeps a client with its server, 5tuple spreads its connections', () => {
  for (const key of KEYS) {
    const { services, id } = rig(key, servers(4));
    const flow = new FlowKey();
    const chosen = new Set<number>();
    for (let sport = 1024; sport < 1124; sport++) {
      flow.set(addrOf(0x30000), addrOf(0), sport, 80, 6, 0);
      chosen.add(services.schedule(id, flow));
    }
    assert.is(chosen.size, key === 'source' ? 1 : 4);
  }
});

test('every part of the 5-tuple counts, and 5tuple is the default', () => {
  const { services, id } = rig('5tuple', servers(20));
  const flow = new FlowKey();
  const choices = (change: (i: number) => [number, number, number, number, number]): number => {
    const chosen = new Set<number>();
    for (let i = 0; i < 200; i++) {
      flow.set(...change(i), 0);
      chosen.add(services.schedule(id, flow));
    }
    return chosen.size;
  };
  const all = () => [
    choices((i) => [i, 2, 3, 4, 6]),
    choices((i) => [1, i, 3, 4, 6]),
    choices((i) => [1, 2, i, 4, 6]),
    choices((i) => [1, 2, 3, i, 6]),
    choices((i) => [1, 2, 3, 4, i]),
  ];
  for (const chosen of all()) assert.is(chosen, 20);
  services.edit(id, 'conhash');
  for (const chosen of all()) assert.is(chosen, 20);
});

test('the mapping is the same in every release: nodes of a cluster may differ in version', () => {
  const list = [server(1, 2), server(2), server(3, 3), server(4), server(5)];
  assert.is(rig('5tuple', list).map(24).join(''), '113331443241351543325315');
  assert.is(rig('source', list).map(24).join(''), '233331533535334135323153');
});

test('an unknown option value is refused with those there are', () => {
  const { services, id, map } = rig('source', servers(3));
  const before = map(100);
  assert.throws(() => services.edit(id, 'conhash', { key: 'src' }), /key = "src" is not one of 5tuple, source/);
  assert.throws(
    () => services.edit(id, 'conhashh'),
    /unknown scheduler "conhashh"; there are conhash, dh, fo, .*, rr, /,
  );
  assert.equal(map(100), before);
});

test('the explanation names both keys and the nodes behind them, and changes no choice', () => {
  for (const key of KEYS) {
    const { services, id } = rig(key, servers(2));
    const flow = new FlowKey();
    flow.set(addrOf(7), addrOf(0), 1024, 80, 6, 0);
    flow.setId(1, 2);
    const before = services.schedule(id, flow);
    const text = services.explain(id, flow);
    assert.match(text, new RegExp(`^${key} keys `));
    assert.match(text, /on a ring of 320: /);
    const [key1, node1, key2, node2] = [...text.matchAll(/0x[0-9a-f]{8}/g)].map(([hex]) => Number(hex));
    const way = (from: number, to: number): number => (to - from + 2 ** 32) % 2 ** 32;
    assert.ok(way(key1!, node1!) < 2 ** 30 && way(key2!, node2!) < 2 ** 30, text);
    assert.is(services.schedule(id, flow), before);
  }
});

test('an empty ring explains itself', () => {
  const { services, id } = rig('5tuple', []);
  assert.is(services.explain(id, new FlowKey()), 'the ring is empty');
});

test('quic: the id decides, wherever the client is; a packet without one goes by its 5-tuple', () => {
  const { services, id } = rig('quic', servers(10));
  const flow = new FlowKey();
  const of = (src: number, ids?: [number, number]): number => {
    flow.set(src, addrOf(0), 40000, 443, 17, 0);
    if (ids) flow.setId(...ids);
    return services.schedule(id, flow);
  };
  for (let i = 0; i < 100; i++) assert.is(of(addrOf(1000), [i, -i]), of(addrOf(2000 + i), [i, -i]));
  const homes = new Set(Array.from({ length: 100 }, (_, i) => of(addrOf(1000), [0, i])));
  assert.is(homes.size, 10, 'both words count');
  const byTuple = rig('5tuple', servers(10));
  for (let i = 0; i < 50; i++) {
    flow.set(addrOf(i), addrOf(0), 40000, 443, 17, 0);
    const wanted = byTuple.services.dests.addr[byTuple.services.schedule(byTuple.id, flow)];
    assert.is(services.dests.addr[of(addrOf(i))], wanted);
  }
  assert.match(services.explain(id, flow), /^no connection id is known, 5tuple keys/);
});

test.run();

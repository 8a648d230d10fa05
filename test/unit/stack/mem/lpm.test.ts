import fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Lpm, type LpmConfig, type LpmEntry } from '../../../../stack/mem/lpm.ts';
import { naiveLookup } from '../../../lib/naive-lpm.ts';

const AT = 128;

function make(cfg: LpmConfig): { lpm: Lpm; attach: (reader: number) => Lpm } {
  const sab = new SharedArrayBuffer(AT + Lpm.bytes(cfg));
  new Int32Array(sab).fill(0x55555555);
  return { lpm: Lpm.create(sab, AT, cfg), attach: (reader) => Lpm.attach(sab, AT, reader) };
}

/** entry('10.1.0.0/16', 3) */
function entry(text: string, value: number): LpmEntry {
  const [ip, len] = text.split('/') as [string, string];
  return { prefix: address(ip), len: Number(len), value };
}
function address(text: string): number {
  return text.split('.').reduce((a, b) => (a << 8) | Number(b), 0);
}

test('an empty table knows no address', () => {
  const { lpm } = make({ nodes: 1, readers: 0 });
  for (const a of ['0.0.0.0', '10.0.0.1', '255.255.255.255']) assert.is(lpm.lookup(address(a)), 0);
});

test('the longest prefix decides', () => {
  const { lpm } = make({ nodes: 16, readers: 0 });
  const table = [
    entry('10.1.2.3/32', 5),
    entry('0.0.0.0/0', 1),
    entry('10.1.0.0/16', 3),
    entry('10.0.0.0/8', 2),
    entry('10.1.2.0/23', 4),
    entry('192.168.128.0/17', 6),
  ];
  assert.is(lpm.build(table), 'built');
  const want: Record<string, number> = {
    '9.255.255.255': 1,
    '10.0.0.1': 2,
    '10.1.0.1': 3,
    '10.1.3.255': 4,
    '10.1.2.3': 5,
    '10.1.2.4': 4,
    '10.1.4.0': 3,
    '10.255.255.255': 2,
    '192.168.127.255': 1,
    '192.168.128.0': 6,
    '255.255.255.255': 1,
  };
  for (const [ip, value] of Object.entries(want)) assert.is(lpm.lookup(address(ip)), value, ip);
});

test('a new build forgets the old one', () => {
  const { lpm } = make({ nodes: 8, readers: 0 });
  for (let i = 1; i <= 5; i++) {
    assert.is(lpm.build([entry(`10.0.${i}.0/24`, i)]), 'built');
    for (let k = 1; k <= 5; k++) assert.is(lpm.lookup(address(`10.0.${k}.9`)), k === i ? i : 0);
  }
  lpm.build([]);
  assert.is(lpm.lookup(address('10.0.5.9')), 0);
});

test('a build that does not fit is refused and changes nothing', () => {
  const { lpm } = make({ nodes: 4, readers: 0 });
  assert.is(lpm.build([entry('10.0.0.1/32', 1), entry('10.0.0.2/32', 2)]), 'built');
  assert.is(lpm.build([entry('10.0.0.1/32', 1), entry('11.0.0.0/9', 2)]), 'full');
  assert.is(lpm.lookup(address('10.0.0.2')), 2);
});

test('a length over 32 and a value that means none are refused', () => {
  const { lpm } = make({ nodes: 4, readers: 0 });
  assert.throws(() => lpm.build([entry('10.0.0.0/33', 1)]), /length/);
  assert.throws(() => lpm.build([entry('10.0.0.0/8', 0)]), /value/);
});

const addr = fc.oneof(
  fc.integer(),
  // Few values per octet, so that prefixes nest.
  fc.array(fc.constantFrom(0, 1, 127, 128, 255), { minLength: 4, maxLength: 4 }).map((o) => address(o.join('.'))),
);
const anyEntry = fc.record({ prefix: addr, len: fc.nat(32), value: fc.integer({ min: 1, max: 0x7fffffff }) });

test('agrees with a search of the list, inside and at the edges of every prefix', () => {
  fc.assert(
    fc.property(fc.array(anyEntry, { maxLength: 40 }), fc.array(addr, { maxLength: 40 }), (entries, addrs) => {
      const { lpm } = make({ nodes: 128, readers: 0 });
      assert.is(lpm.build(entries), 'built');
      const probes = [...addrs];
      for (const { prefix, len } of entries) {
        const host = len === 32 ? 0 : -1 >>> len;
        probes.push(prefix & ~host, prefix | host, (prefix & ~host) - 1, (prefix | host) + 1, prefix);
      }
      for (const a of probes) assert.is(lpm.lookup(a | 0), naiveLookup(entries, a | 0), `${a >>> 0}`);
    }),
    { numRuns: 300 },
  );
});

test('a reader sees a build once it refreshes, and holds back only the build after it', () => {
  const { lpm, attach } = make({ nodes: 4, readers: 2 });
  const reader = attach(2);
  const ip = address('10.0.0.1');
  assert.is(lpm.build([entry('10.0.0.0/8', 1)]), 'built');
  assert.is(reader.lookup(ip), 0);
  assert.is(lpm.lookup(ip), 1);
  assert.is(lpm.build([entry('10.0.0.0/8', 2)]), 'busy');
  assert.ok(reader.refresh());
  assert.not(reader.refresh());
  assert.is(reader.lookup(ip), 1);
  assert.is(lpm.build([entry('10.0.0.0/8', 2)]), 'built');
  assert.is(reader.lookup(ip), 1, 'the old build is still whole');
  reader.detach();
  assert.is(lpm.build([entry('10.0.0.0/8', 3)]), 'built');
  assert.is(attach(2).lookup(ip), 3);
});

test('a reader that died can be forgotten', () => {
  const { lpm, attach } = make({ nodes: 4, readers: 1 });
  attach(1);
  lpm.build([]);
  assert.is(lpm.build([]), 'busy');
  lpm.forget(1);
  assert.is(lpm.build([]), 'built');
});

test('only as many readers as planned can attach', () => {
  const { attach } = make({ nodes: 4, readers: 1 });
  for (const r of [-1, 1.5, 2]) assert.throws(() => attach(r), /no reader/);
});

test.run();

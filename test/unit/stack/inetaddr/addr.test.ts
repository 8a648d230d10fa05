import * as fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import {
  isHostAddress,
  type LocalAddress,
  LocalAddresses,
  maskOf,
  PRIMARY,
  VIP,
} from '../../../../stack/inetaddr/addr.ts';

const ip = (a: number, b: number, c: number, d: number): number => (a << 24) | (b << 16) | (c << 8) | d;

const address = (addr: number, prefixLen = 24, port = 1, flags = 0): LocalAddress => ({ addr, prefixLen, port, flags });

function tableOf(...addresses: LocalAddress[]): LocalAddresses {
  const t = new LocalAddresses();
  for (const a of addresses) t.add(a);
  return t;
}

test('an empty table knows no address', () => {
  const t = new LocalAddresses();
  assert.not.ok(t.isLocal(ip(10, 0, 0, 1)));
  assert.not.ok(t.isLocal(0));
  assert.is(t.sourceFor(ip(10, 0, 0, 1), 1), 0);
  assert.ok(t.isBroadcast(-1, 1), 'the limited broadcast needs no subnet');
});

test('an address is local everywhere, and local on its port', () => {
  const t = tableOf(address(ip(10, 0, 0, 1)), address(ip(192, 168, 1, 1), 24, 2));
  assert.ok(t.isLocal(ip(10, 0, 0, 1)));
  assert.ok(t.isLocalOn(ip(10, 0, 0, 1), 1));
  assert.not.ok(t.isLocalOn(ip(10, 0, 0, 1), 2));
  assert.not.ok(t.isLocal(ip(10, 0, 0, 2)));
  assert.not.ok(t.isLocal(ip(10, 0, 0, 255)), 'a broadcast address is not local');
});

test('one address on two ports leaves with the last of them', () => {
  const t = tableOf(address(ip(10, 0, 0, 1), 24, 1), address(ip(10, 0, 0, 1), 24, 2));
  assert.ok(t.remove(ip(10, 0, 0, 1), 1));
  assert.ok(t.isLocal(ip(10, 0, 0, 1)));
  assert.ok(t.remove(ip(10, 0, 0, 1), 2));
  assert.not.ok(t.isLocal(ip(10, 0, 0, 1)));
  assert.not.ok(t.remove(ip(10, 0, 0, 1), 2));
});

test('directed broadcasts belong to the port of their subnet; /31 and /32 have none', () => {
  const t = tableOf(
    address(ip(10, 0, 0, 1), 24, 1),
    address(ip(172, 16, 5, 4), 12, 2),
    address(ip(10, 9, 0, 2), 31, 1),
    address(ip(10, 9, 0, 9), 32, 1),
    address(ip(10, 9, 1, 1), 30, 1),
  );
  assert.ok(t.isBroadcast(ip(10, 0, 0, 255), 1));
  assert.not.ok(t.isBroadcast(ip(10, 0, 0, 255), 2));
  assert.ok(t.isBroadcast(ip(172, 31, 255, 255), 2));
  assert.not.ok(t.isBroadcast(ip(10, 9, 0, 3), 1));
  assert.not.ok(t.isBroadcast(ip(10, 9, 0, 9), 1));
  assert.ok(t.isBroadcast(ip(10, 9, 1, 3), 1));
  assert.not.ok(t.isBroadcast(ip(10, 0, 0, 0), 1));
});

test('two addresses in one subnet keep its broadcast until both are gone', () => {
  const t = tableOf(address(ip(10, 0, 0, 1)), address(ip(10, 0, 0, 2)));
  t.remove(ip(10, 0, 0, 1), 1);
  assert.ok(t.isBroadcast(ip(10, 0, 0, 255), 1));
  t.remove(ip(10, 0, 0, 2), 1);
  assert.not.ok(t.isBroadcast(ip(10, 0, 0, 255), 1));
});

test('addresses no host can have are refused, and so is the same one twice', () => {
  const t = tableOf(address(ip(10, 0, 0, 1)));
  const bad = [0, -1, ip(127, 0, 0, 1), ip(224, 0, 0, 1), ip(240, 0, 0, 1), ip(0, 0, 0, 1)];
  for (const addr of bad) assert.throws(() => t.add(address(addr)), RangeError);
  for (const len of [0, 33, -1, 1.5, Number.NaN]) {
    assert.throws(() => t.add(address(ip(10, 0, 0, 9), len)), RangeError);
  }
  assert.throws(() => t.add(address(ip(10, 0, 0, 1), 16)), /has this address already/);
  assert.is(t.list().length, 1);
});

test('host addresses are 1/8 to 223/8 without loopback', () => {
  for (let net = 0; net < 256; net++) {
    assert.is(isHostAddress(ip(net, 1, 2, 3)), net > 0 && net < 224 && net !== 127, `${net}/8`);
  }
});

test('listeners hear of a change after the table has made it', () => {
  const t = new LocalAddresses();
  const heard: string[] = [];
  t.listen({
    added: (a) => void heard.push(`added ${t.isLocal(a.addr)}`),
    removed: (a) => void heard.push(`removed ${t.isLocal(a.addr)}`),
  });
  t.add(address(ip(10, 0, 0, 1)));
  t.remove(ip(10, 0, 0, 1), 1);
  assert.equal(heard, ['added true', 'removed false']);
});

test('the source is of the subnet of the destination, then of the port, then of the host', () => {
  const t = tableOf(
    address(ip(172, 16, 0, 1), 16, 2),
    address(ip(10, 0, 0, 1), 24, 1),
    address(ip(192, 168, 0, 1), 24, 1),
  );
  assert.is(t.sourceFor(ip(192, 168, 0, 7), 1), ip(192, 168, 0, 1));
  assert.is(t.sourceFor(ip(8, 8, 8, 8), 1), ip(10, 0, 0, 1));
  assert.is(t.sourceFor(ip(172, 16, 0, 9), 1), ip(10, 0, 0, 1), 'the subnet of another port does not count');
  assert.is(t.sourceFor(ip(8, 8, 8, 8), 3), ip(172, 16, 0, 1));
});

test('a service address is the last choice, a primary the first', () => {
  const t = tableOf(
    address(ip(10, 0, 0, 100), 24, 1, VIP),
    address(ip(10, 0, 0, 2), 24, 1),
    address(ip(10, 0, 0, 3), 24, 1, PRIMARY),
  );
  assert.is(t.sourceFor(ip(10, 0, 0, 9), 1), ip(10, 0, 0, 3));
  t.remove(ip(10, 0, 0, 3), 1);
  assert.is(t.sourceFor(ip(10, 0, 0, 9), 1), ip(10, 0, 0, 2));
  t.remove(ip(10, 0, 0, 2), 1);
  assert.is(t.sourceFor(ip(10, 0, 0, 9), 1), ip(10, 0, 0, 100));
});

test('answers like a list searched naively', () => {
  const one = fc.record({
    addr: fc.integer({ min: ip(10, 0, 0, 0), max: ip(10, 0, 0, 63) }),
    prefixLen: fc.integer({ min: 24, max: 32 }),
    port: fc.integer({ min: 1, max: 3 }),
    flags: fc.constant(0),
  });
  fc.assert(
    fc.property(
      fc.array(one, { maxLength: 40, size: 'max' }),
      fc.array(fc.nat(39), { maxLength: 20, size: 'max' }),
      (list, removals) => {
        const t = new LocalAddresses();
        const model: LocalAddress[] = [];
        for (const a of list) {
          if (model.some((m) => m.addr === a.addr && m.port === a.port)) continue;
          t.add(a);
          model.push(a);
        }
        for (const r of removals) {
          const gone = model[r];
          if (gone === undefined) continue;
          assert.ok(t.remove(gone.addr, gone.port));
          model.splice(r, 1);
        }
        for (let addr = ip(10, 0, 0, 0); addr <= ip(10, 0, 0, 255); addr++) {
          assert.is(
            t.isLocal(addr),
            model.some((m) => m.addr === addr),
          );
          for (const port of [1, 2, 3]) {
            const on = model.filter((m) => m.port === port);
            assert.is(
              t.isLocalOn(addr, port),
              on.some((m) => m.addr === addr),
            );
            const directed = on.some((m) => m.prefixLen < 31 && (m.addr | ~maskOf(m.prefixLen)) === addr);
            assert.is(t.isBroadcast(addr, port), directed);
          }
        }
      },
    ),
    { seed: 1122, numRuns: 60 },
  );
});

test.run();

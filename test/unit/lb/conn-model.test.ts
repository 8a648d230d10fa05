/**
 * Connections, local ports and timers together, against the plainest model of them: maps by tuple. FullNAT connections
 * take their local port from the pools and give it back when they end, as in service.
 */
import fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { INIT_TIMEOUT_MS, REFUSED_FULL } from '../../../lb/conn.ts';
import * as c from '../../../lb/conn-row.ts';
import { LocalAddrs } from '../../../lb/laddr.ts';
import { LAST_PORT, SaPools } from '../../../stack/inetaddr/sapool.ts';
import { ConnRig, ports, specOf } from '../../lib/conn-rig.ts';

type Model = { in: string; out: string; due: number; row: number };

const MAX = 40;
const SERVICE = 1;

const op = fc.record({
  what: fc.constantFrom('open', 'open', 'open', 'direct', 'step', 'close', 'find', 'pass'),
  client: fc.nat(60),
  server: fc.nat(2),
  ms: fc.constantFrom(1, 100, 900, 2500, 7000),
});

function run(seed: number, ops: readonly { what: string; client: number; server: number; ms: number }[]): void {
  const rig = new ConnRig(MAX, 0b10, seed | 0, seed | 1);
  const { conns } = rig;
  const pools = new SaPools({
    worker: 0,
    workers: 1,
    firstPort: LAST_PORT - 62,
    buckets: 4,
    random: rig.random,
    onScarce: () => {},
  });
  const locals = new LocalAddrs(pools, rig.random, 4);
  locals.set(SERVICE, [0x0a010001, 0x0a010002], true);
  /** By row; times count up from 0. */
  const live = new Map<number, Model>();
  const byTuple = new Map<string, number>();
  let now = 0;

  const word = (row: number, i: number): number => conns.rows[(row << c.ROW_SHIFT) + i]!;
  const forget = (row: number): void => {
    const m = live.get(row);
    assert.ok(m !== undefined, `row ${row} ended and was not open`);
    live.delete(row);
    byTuple.delete(m.in);
    byTuple.delete(m.out);
    if ((word(row, c.META) & c.F_LOCAL_PORT) === 0) return;
    const rl = word(row, c.RLPORTS);
    assert.ok(locals.release(word(row, c.LADDR), rl & 0xffff, word(row, c.RADDR), rl >>> 16));
  };
  rig.onEndProbe = (row, end) => {
    const due = live.get(row)?.due ?? 0;
    if (end === c.END_EXPIRED) assert.ok(now >= due && now <= due + 1001, `due ${due}, ended ${now}`);
    forget(row);
  };

  for (const { what, client, server, ms } of ops) {
    const raddr = 0x0ac80001 + server;
    const spec = specOf(client, { raddr, service: SERVICE });
    const inKey = [spec.caddr, spec.vaddr, spec.cport, spec.vport].join();
    if (what === 'open' || what === 'direct') {
      if (what === 'direct') Object.assign(spec, { mode: c.DR, laddr: spec.caddr, lport: spec.cport });
      else {
        if (!locals.acquire(SERVICE, raddr, spec.rport)) continue;
        Object.assign(spec, { laddr: locals.addr, lport: locals.port, flags: c.F_LOCAL_PORT });
      }
      const outKey = what === 'direct' ? '-' : [raddr, spec.laddr, spec.rport, spec.lport].join();
      assert.not(byTuple.has(outKey), 'two connections share a local port towards one server');
      const row = conns.open(spec);
      if (byTuple.has(inKey)) {
        assert.is(row, 0);
        assert.is(c.rowOf(conns.rival), byTuple.get(inKey));
      } else if (live.size === MAX) {
        assert.equal([row, conns.refusal], [0, REFUSED_FULL]);
      } else {
        assert.ok(row > 0 && !live.has(row));
        live.set(row, { in: inKey, out: outKey, due: now + INIT_TIMEOUT_MS, row });
        byTuple.set(inKey, row);
        if (outKey !== '-') byTuple.set(outKey, row);
        continue;
      }
      if (what === 'open') assert.ok(locals.release(spec.laddr, spec.lport, raddr, spec.rport));
    } else if (what === 'step' || what === 'close') {
      const row = byTuple.get(inKey);
      if (row === undefined) continue;
      if (what === 'close') conns.close(row, c.END_FLUSHED);
      else {
        conns.step(row, server, ms);
        live.get(row)!.due = now + ms;
      }
    } else if (what === 'find') {
      const hit = conns.find(spec.caddr, spec.vaddr, ports(spec.cport, spec.vport));
      assert.is(c.rowOf(hit), byTuple.get(inKey) ?? 0);
    } else {
      for (let i = 0; i < ms; i++) {
        now++;
        rig.pass(1);
      }
      for (const m of live.values()) assert.ok(m.due + 1000 >= now, `due ${m.due}, still there at ${now}`);
    }
    assert.is(conns.size(), live.size);
  }
  for (const { row, out, in: inKey } of live.values()) {
    const at = (key: string): number => {
      const [a, b, p, q] = key.split(',').map(Number) as [number, number, number, number];
      return conns.find(a, b, ports(p, q));
    };
    assert.is(at(inKey), (row << 1) | c.IN);
    if (out !== '-') assert.is(at(out), (row << 1) | c.OUT);
  }
  for (let row = conns.next(0); row !== 0; row = conns.next(row)) conns.close(row, c.END_FLUSHED);
  assert.is(live.size, 0);
  assert.ok(
    pools.list().every((pool) => pool.used === 0),
    'a port was lost',
  );
}

test('random opening, closing, traffic and time: the table agrees with the model, and no local port is shared or lost', () => {
  fc.assert(fc.property(fc.integer(), fc.array(op, { minLength: 20, maxLength: 120 }), run), { numRuns: 80 });
});

test('the same for long, over clients that come again and again', () => {
  fc.assert(fc.property(fc.integer(), fc.array(op, { minLength: 1500, maxLength: 1500 }), run), { numRuns: 3 });
});

test.run();

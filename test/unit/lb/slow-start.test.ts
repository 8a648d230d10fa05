/** Servers that come up get their weight over a time: who gets how much meanwhile, what begins it, what ends it. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type DestSpec, RAMP_STEPS, shareOf } from '../../../lb/dest.ts';
import { FlowKey, registerScheduler, type SchedOptions } from '../../../lb/sched/index.ts';
import { SlowStart } from '../../../lb/slow-start.ts';
import { Timers } from '../../../stack/timer/timers.ts';
import { addrOf, makeServices } from '../../lib/services.ts';

const VIP = addrOf(1);
const SLOW_MS = 20_000;
/** Connections that are open at any time, for schedulers that go by load. */
const OPEN = 400;

const spec = (i: number, more: Partial<DestSpec> = {}): DestSpec => ({
  ...{ addr: addrOf(100 + i), port: 80, weight: 1, slowMs: SLOW_MS },
  ...more,
});

/** A service whose servers have been up for ever, under a clock of its own. */
class Rig {
  readonly services = makeServices();
  readonly dests = this.services.dests;
  readonly clock = { nowMs: 0 };
  readonly id: number;
  private readonly timers = new Timers(SlowStart.TIMERS, 0);
  private readonly flow = new FlowKey();
  private readonly open: number[] = [];
  private next = 0;

  constructor(scheduler: string, options: SchedOptions = {}, servers: readonly DestSpec[] = [spec(0), spec(1)]) {
    this.id = this.services.add({ proto: 6, vip: VIP, port: 80, scheduler, options });
    this.services.setDests(this.id, servers);
    this.services.endSlowStart(this.id);
    new SlowStart(this.clock, this.timers, this.services);
  }

  dest(i: number): number {
    return this.dests.find(this.id, addrOf(100 + i), 80);
  }

  /** A server fails a check and passes the next. */
  bounce(i: number): void {
    this.dests.setHealth(this.dest(i), false, this.clock.nowMs);
    this.dests.setHealth(this.dest(i), true, this.clock.nowMs);
  }

  advance(ms: number): void {
    for (const end = this.clock.nowMs + ms; this.clock.nowMs < end; ) {
      this.clock.nowMs += 100;
      this.timers.advance(this.clock.nowMs);
    }
  }

  /** The server of a client. */
  pick(client: number, sport = 1000): number {
    this.flow.set(addrOf(5000 + client), addrOf(9000 + client), sport, 80, 6, this.clock.nowMs * 1000);
    return this.services.schedule(this.id, this.flow);
  }

  /** The part of many connections, each held for a while, that a server gets. */
  part(i: number, n = 6000): number {
    let got = 0;
    for (let k = 0; k < n; k++) {
      const dest = this.pick(this.next, 1000 + (this.next % 50_000));
      this.next++;
      this.services.connOpen(dest);
      this.dests.connActive(dest);
      this.open.push(dest);
      if (this.open.length > OPEN) this.dests.connClose(this.open.shift()!, true);
      if (k >= n / 3 && dest === this.dest(i)) got++;
    }
    return got / (n - n / 3);
  }

  /** How much of its weight a server has. */
  weightNow(i: number): number {
    return shareOf(this.dests, this.dest(i)) / RAMP_STEPS;
  }
}

/** Of two equal servers: what one has half-way through its slow start, and in the end. */
const HALF_WAY: readonly (readonly [string, SchedOptions, number, number])[] = [
  ['rr', {}, 1 / 3, 1 / 2],
  ['wrr', {}, 1 / 3, 1 / 2],
  ['lc', {}, 1 / 3, 1 / 2],
  ['wlc', {}, 1 / 3, 1 / 2],
  ['sed', {}, 1 / 3, 1 / 2],
  ['nq', {}, 1 / 3, 1 / 2],
  ['twos', {}, 1 / 3, 1 / 2],
  ['lblc', {}, 1 / 3, 1 / 2],
  ['lblcr', {}, 1 / 3, 1 / 2],
  ['conhash', { key: '5tuple' }, 1 / 4, 1 / 2],
  ['conhash', { key: 'source' }, 1 / 4, 1 / 2],
  ['mh', { fallback: 'on', table: '251' }, 1 / 4, 1 / 2],
  ['sh', { fallback: 'on' }, 1 / 4, 1 / 2],
];
for (const [scheduler, options, halfWay, end] of HALF_WAY) {
  test(`${scheduler} ${JSON.stringify(options)}: a part that grows to its share`, () => {
    const rig = new Rig(scheduler, options);
    const near = (part: number, wanted: number, when: string): void =>
      assert.ok(Math.abs(part - wanted) < 0.05, `${when}: ${part.toFixed(3)}, wanted ${wanted.toFixed(3)}`);
    near(rig.part(1), end, 'before');
    rig.bounce(1);
    assert.ok(rig.part(1) < 0.1, 'at first nearly nothing');
    rig.advance(SLOW_MS / 2 + 100);
    near(rig.part(1), halfWay, 'half-way');
    rig.advance(SLOW_MS / 2 + 100);
    near(rig.part(1), end, 'in the end');
  });
}

test('fo: the server that is preferred takes over gradually', () => {
  const rig = new Rig('fo', {}, [spec(0, { weight: 9 }), spec(1)]);
  rig.bounce(0);
  const parts = [0.25, 0.5, 0.75, 1].map(() => {
    rig.advance(SLOW_MS / 4);
    return rig.part(0, 2000);
  });
  for (const [i, part] of parts.entries()) assert.ok(Math.abs(part - (i + 1) / 4) < 0.06, parts.join(' '));
});

test('hashes: a client that has been admitted stays, and who belongs to others never moves', () => {
  for (const [scheduler, options] of [
    ['conhash', { key: 'source' }],
    ['mh', { fallback: 'on', table: '251' }],
    ['sh', { fallback: 'on' }],
  ] as const) {
    const rig = new Rig(scheduler, options, [spec(0), spec(1), spec(2)]);
    const clients = Array.from({ length: 600 }, (_, client) => client);
    const home = clients.map((client) => rig.pick(client));
    rig.bounce(1);
    let before = clients.map((client) => rig.pick(client));
    for (let step = 0; step < RAMP_STEPS; step++) {
      rig.advance(SLOW_MS / RAMP_STEPS);
      const now = clients.map((client) => rig.pick(client));
      for (const client of clients) {
        const was = before[client]!;
        if (was === home[client]) assert.is(now[client], was, `${scheduler}: client ${client} left its server`);
        if (home[client] !== rig.dest(1)) assert.is(now[client], home[client], `${scheduler}: client ${client} moved`);
      }
      before = now;
    }
    rig.advance(200);
    assert.equal(
      clients.map((client) => rig.pick(client)),
      home,
      scheduler,
    );
  }
});

test('where there is nobody else, or no stand-in, a server in slow start takes what comes', () => {
  const alone = new Rig('rr', {}, [spec(0)]);
  alone.bounce(0);
  assert.is(alone.part(0, 300), 1);
  const both = new Rig('conhash', { key: '5tuple' });
  both.bounce(0);
  both.bounce(1);
  assert.ok(Array.from({ length: 200 }, (_, client) => both.pick(client)).every((dest) => dest !== 0));
  const strict = new Rig('sh', { port: 'off', fallback: 'off' });
  strict.bounce(1);
  assert.ok(Array.from({ length: 200 }, (_, client) => strict.pick(client)).includes(strict.dest(1)));
});

test('the weight grows linearly, in twentieths, whatever it is', () => {
  const rig = new Rig('wlc', {}, [spec(0), spec(1, { weight: 10 })]);
  rig.bounce(0);
  rig.bounce(1);
  const seen: number[][] = [];
  for (let s = 0; s <= 20; s += 5) {
    seen.push([rig.weightNow(0), rig.weightNow(1)]);
    rig.advance(5000);
  }
  assert.equal(seen, [
    [0.05, 0.5],
    [0.25, 2.5],
    [0.5, 5],
    [0.75, 7.5],
    [1, 10],
  ]);
});

test('begins when a server comes up, and only then', () => {
  const rig = new Rig('wrr');
  const dest = rig.dest(1);
  const begins = (why: string, change: () => void, wanted = true): void => {
    change();
    assert.is(rig.dests.ramp[dest]! !== 0, wanted, why);
    rig.advance(SLOW_MS + 200);
    assert.is(rig.dests.ramp[dest], 0, `${why}: over`);
  };
  begins('at the start', () => {}, false);
  begins('health', () => rig.bounce(1));
  for (const state of ['drain', 'maint'] as const) {
    begins(state, () => rig.services.setState(dest, state), false);
    begins(`ready after ${state}`, () => rig.services.setState(dest, 'ready'));
  }
  begins('weight 0', () => rig.services.setWeight(dest, 0), false);
  begins('weight 5 after 0', () => rig.services.setWeight(dest, 5));
  begins('weight 7 after 5', () => rig.services.setWeight(dest, 7), false);
  begins('inhibited', () => rig.dests.inhibit(dest, true), false);
  begins('no longer inhibited', () => rig.dests.inhibit(dest, false));
  begins('edited', () => rig.services.editDest(rig.id, spec(1, { upper: 9 })), false);
  begins('removed', () => rig.services.setDests(rig.id, [spec(0)]), false);
  begins('added again', () => rig.services.setDests(rig.id, [spec(0), spec(1)]));
  begins(
    'down and drained, then only ready',
    () => {
      rig.dests.setHealth(dest, false, 0);
      rig.services.setState(dest, 'drain');
      rig.services.setState(dest, 'ready');
    },
    false,
  );
  begins('and up', () => rig.dests.setHealth(dest, true, 0));
});

test('down again on the way: it starts over; slow start switched off on the way: it has its whole weight', () => {
  const rig = new Rig('wrr');
  rig.bounce(1);
  rig.advance(15_000);
  assert.ok(rig.weightNow(1) > 0.7);
  rig.bounce(1);
  rig.advance(1100);
  assert.is(rig.weightNow(1), 0.05);
  rig.advance(10_000);
  assert.is(rig.weightNow(1), 0.55);
  rig.services.editDest(rig.id, spec(1, { slowMs: 0 }));
  rig.advance(100);
  assert.is(rig.weightNow(1), 1);
});

test('without slow start a server has its whole weight at once', () => {
  const rig = new Rig('wrr', {}, [spec(0, { slowMs: 0 }), spec(1, { slowMs: 0 })]);
  rig.bounce(1);
  assert.is(rig.weightNow(1), 1);
  assert.ok(Math.abs(rig.part(1) - 0.5) < 0.01);
});

test('schedulers are told of each step once, and those that hash of none', () => {
  for (const [name, admits, wanted] of [
    ['counts-shares', undefined, RAMP_STEPS - 1],
    ['counts-hashes', 'clients', 0],
  ] as const) {
    let updates = 0;
    registerScheduler({
      name,
      summary: '',
      options: {},
      create: (view) => ({
        name,
        ...(admits && { admits }),
        update: () => {
          updates++;
        },
        pick: () => view.ids[0] ?? 0,
      }),
    });
    const rig = new Rig(name);
    rig.bounce(1);
    updates = 0;
    rig.advance(SLOW_MS + 1000);
    assert.is(updates, wanted, name);
  }
});

test.run();

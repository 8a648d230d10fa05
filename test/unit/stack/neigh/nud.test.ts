/** One test per arrow of stack/neigh/state.ts, then those that must not exist. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { NEIGH_FAILED } from '../../../../stack/drop.ts';
import { isLegal, STATE_NAMES } from '../../../../stack/neigh/state.ts';
import { DROP, STOLEN } from '../../../../stack/verdict.ts';
import * as arp from '../../../../stack/wire/arp.ts';
import {
  advance,
  assertConserved,
  BROADCAST_MAC,
  entry,
  gratuitous,
  hear,
  type Mac,
  OTHER_MAC,
  PEER,
  PEER_MAC,
  type Rig,
  reply,
  rig,
  send,
  state,
  takeArps,
  takePackets,
  US,
} from '../../../lib/neigh-rig.ts';

const request = (r: Rig, mac: Mac = PEER_MAC): number => hear(r, { op: arp.REQUEST, mac });

/** Rigs in each state, reached by traffic alone. */
function incomplete(): Rig {
  const r = rig();
  assert.is(send(r), STOLEN);
  return r;
}

function reachable(): Rig {
  const r = incomplete();
  reply(r);
  r.sent.length = 0;
  return r;
}

function stale(): Rig {
  const r = reachable();
  advance(r, 15_000);
  return r;
}

function delay(): Rig {
  const r = stale();
  send(r);
  r.sent.length = 0;
  return r;
}

function probe(): Rig {
  const r = delay();
  advance(r, 5_000);
  return r;
}

function failed(): Rig {
  const r = incomplete();
  advance(r, 3_000);
  r.sent.length = 0;
  return r;
}

const arrow = (name: string, from: () => Rig, event: (r: Rig) => void, to: string, check?: (r: Rig) => void): void => {
  test(name, () => {
    const r = from();
    assert.is(state(r), name.split(' ')[0]);
    event(r);
    assert.is(state(r), to);
    check?.(r);
    assertConserved(r);
  });
};

arrow(
  'none -> incomplete when a frame is sent',
  rig,
  (r) => send(r),
  'incomplete',
  (r) => {
    const [ask, ...more] = takeArps(r);
    assert.equal(ask!.dst, BROADCAST_MAC);
    assert.is(ask!.op, arp.REQUEST);
    assert.is(ask!.sender, US);
    assert.is(ask!.target, PEER);
    assert.equal(ask!.targetMac, [0, 0]);
    assert.is(more.length, 0);
  },
);
arrow('none -> stale when the neighbour asks for us', rig, request, 'stale', (r) => {
  assert.is(entry(r)!.macLo, PEER_MAC[1]);
});
arrow('none stays when a gratuitous ARP is heard', rig, (r) => gratuitous(r), 'none');
arrow('none stays when a reply comes that nobody asked for', rig, (r) => reply(r), 'none');

arrow(
  'incomplete -> reachable when it answers',
  incomplete,
  (r) => reply(r),
  'reachable',
  (r) => {
    assert.equal(takePackets(r), [{ dst: [...PEER_MAC], tag: 0 }]);
  },
);
arrow(
  'incomplete -> stale -> delay when it speaks unasked and frames wait',
  incomplete,
  (r) => gratuitous(r),
  'delay',
  (r) => {
    assert.is(takePackets(r).length, 1);
  },
);
arrow(
  'incomplete -> failed after three requests',
  incomplete,
  (r) => advance(r, 3_000),
  'failed',
  (r) => {
    assert.equal(
      takeArps(r).map((a) => a.dst),
      [BROADCAST_MAC, BROADCAST_MAC, BROADCAST_MAC],
    );
    assert.equal(r.unreachable, [PEER]);
  },
);
arrow('incomplete stays between the requests', incomplete, (r) => advance(r, 2_999), 'incomplete');

arrow('reachable -> stale after ReachableTime', reachable, (r) => advance(r, 15_000), 'stale');
arrow('reachable stays until ReachableTime is over', reachable, (r) => advance(r, 14_999), 'reachable');
arrow(
  'reachable -> stale when another address is heard',
  reachable,
  (r) => gratuitous(r, OTHER_MAC),
  'stale',
  (r) => {
    assert.is(entry(r)!.macLo, OTHER_MAC[1]);
  },
);
arrow('reachable stays when the same address is heard', reachable, (r) => gratuitous(r), 'reachable');
arrow(
  'reachable stays when an unasked reply tells another address',
  reachable,
  (r) => reply(r, OTHER_MAC),
  'reachable',
  (r) => {
    assert.is(entry(r)!.macLo, PEER_MAC[1]);
  },
);
arrow(
  'reachable stays while TCP makes progress',
  reachable,
  (r) => {
    for (let i = 0; i < 10; i++) {
      advance(r, 14_000);
      r.neigh.nud.confirm(PEER, 1);
    }
    advance(r, 14_999);
  },
  'reachable',
  (r) => assert.is(takeArps(r).length, 0),
);
arrow(
  'reachable -> stale ReachableTime after the last progress',
  reachable,
  (r) => {
    advance(r, 10_000);
    r.neigh.nud.confirm(PEER, 1);
    advance(r, 15_000);
  },
  'stale',
);

arrow(
  'stale -> delay when a frame is sent',
  stale,
  (r) => send(r),
  'delay',
  (r) => {
    assert.equal(takePackets(r), [{ dst: [...PEER_MAC], tag: 0 }]);
    assert.is(takeArps(r).length, 0);
  },
);
arrow('stale stays as long as nothing is sent', stale, (r) => advance(r, 86_400_000), 'stale');
arrow('stale -> reachable when TCP makes progress', stale, (r) => r.neigh.nud.confirm(PEER, 1), 'reachable');
arrow(
  'stale stays with the new address when one is heard',
  stale,
  (r) => request(r, OTHER_MAC),
  'stale',
  (r) => {
    assert.is(entry(r)!.macLo, OTHER_MAC[1]);
  },
);

arrow(
  'delay -> probe when nobody confirms within 5 s',
  delay,
  (r) => advance(r, 5_000),
  'probe',
  (r) => {
    assert.equal(
      takeArps(r).map((a) => a.dst),
      [[...PEER_MAC]],
    );
  },
);
arrow('delay stays until then', delay, (r) => advance(r, 4_999), 'delay');
arrow('delay -> reachable when TCP makes progress', delay, (r) => r.neigh.nud.confirm(PEER, 1), 'reachable');
arrow('delay -> stale when another address is heard', delay, (r) => gratuitous(r, OTHER_MAC), 'stale');

arrow('probe -> reachable when it answers', probe, (r) => reply(r), 'reachable');
arrow('probe -> reachable when TCP makes progress', probe, (r) => r.neigh.nud.confirm(PEER, 1), 'reachable');
arrow('probe -> stale when another address is heard', probe, (r) => gratuitous(r, OTHER_MAC), 'stale');
arrow('probe stays when the same address is heard unasked', probe, (r) => gratuitous(r), 'probe');
arrow(
  'probe -> none after three unanswered requests',
  probe,
  (r) => advance(r, 3_000),
  'none',
  (r) => {
    assert.is(takeArps(r).length, 3);
    assert.is(r.timers.armed, 0);
  },
);
arrow(
  'probe forwards meanwhile',
  probe,
  (r) => send(r),
  'probe',
  (r) => assert.is(takePackets(r).length, 1),
);

arrow('failed -> none when the failure is forgotten', failed, (r) => advance(r, 3_000), 'none');
arrow('failed -> reachable when it answers late', failed, (r) => reply(r), 'reachable');
arrow('failed -> stale when it speaks unasked', failed, (r) => gratuitous(r), 'stale');
arrow(
  'failed drops at once and asks nobody',
  failed,
  (r) => assert.is(send(r), DROP | NEIGH_FAILED),
  'failed',
  (r) => {
    assert.is(takeArps(r).length, 0);
    assert.is(r.unreachable.length, 2);
  },
);

for (const [name, from] of Object.entries({ rig, incomplete, reachable, stale, delay, probe, failed })) {
  test(`a static entry replaces ${name === 'rig' ? 'none' : name}, and nothing moves it`, () => {
    const r = from();
    assert.ok(r.neigh.nud.setStatic(PEER, 1, ...PEER_MAC));
    const waited = name === 'incomplete' ? 1 : 0;
    assert.is(takePackets(r).length, waited);
    r.sent.length = 0;
    gratuitous(r, OTHER_MAC);
    request(r, OTHER_MAC);
    reply(r, OTHER_MAC);
    r.neigh.nud.confirm(PEER, 1);
    r.neigh.nud.flushPort(1);
    takeArps(r);
    advance(r, 86_400_000);
    send(r, PEER, 7);
    assert.equal(takePackets(r), [{ dst: [...PEER_MAC], tag: 7 }]);
    assert.is(state(r), 'reachable');
    assert.is(entry(r)!.isStatic, true);
    assert.is(r.timers.armed, 0);
    assert.ok(r.neigh.nud.remove(PEER, 1));
    assert.is(state(r), 'none');
    assertConserved(r);
  });
}

test('any -> none when the port goes down, and what waited is dropped', () => {
  for (const from of [incomplete, reachable, stale, delay, probe, failed]) {
    const r = from();
    r.neigh.nud.flushPort(2);
    assert.is.not(state(r), 'none');
    r.neigh.nud.flushPort(1);
    assert.is(state(r), 'none');
    assert.is(r.timers.armed, 0);
    assertConserved(r);
  }
});

test('arrows that are not in the table do not exist', () => {
  const legal = STATE_NAMES.flatMap((a, from) =>
    STATE_NAMES.filter((_, next) => isLegal(from, next)).map((b) => `${a} -> ${b}`),
  );
  assert.equal(legal.sort(), [
    'delay -> none',
    'delay -> probe',
    'delay -> reachable',
    'delay -> stale',
    'failed -> none',
    'failed -> reachable',
    'failed -> stale',
    'incomplete -> failed',
    'incomplete -> none',
    'incomplete -> reachable',
    'incomplete -> stale',
    'none -> incomplete',
    'none -> reachable',
    'none -> stale',
    'probe -> none',
    'probe -> reachable',
    'probe -> stale',
    'reachable -> none',
    'reachable -> stale',
    'stale -> delay',
    'stale -> none',
    'stale -> reachable',
    'stale -> stale',
  ]);
});

test('ReachableTime lies between half and one and a half times its base', () => {
  for (const [bits, ms] of [
    [0, 15_000],
    [30_000, 45_000],
    [30_001, 15_000],
    [-1, 15_000 + (0xffffffff % 30_001)],
  ] as const) {
    const r = rig({}, { next: () => bits });
    send(r);
    reply(r);
    advance(r, ms - 1);
    assert.is(state(r), 'reachable');
    advance(r, 1);
    assert.is(state(r), 'stale');
  }
});

test('ReachableTime is drawn anew every two hours', () => {
  let bits = 0;
  const r = rig({}, { next: () => bits });
  bits = 30_000;
  advance(r, 2 * 3600 * 1000 - 20_000);
  send(r);
  reply(r);
  advance(r, 15_000);
  assert.is(state(r), 'stale');
  advance(r, 5_000);
  r.neigh.nud.confirm(PEER, 1);
  advance(r, 44_999);
  assert.is(state(r), 'reachable');
});

test('times are compared across the wrap of the millisecond counter', () => {
  const r = rig();
  r.ctx.tick((2 ** 31 - 10_000) * 1000);
  send(r);
  reply(r);
  r.ctx.tick((2 ** 31 - 1_000) * 1000);
  r.neigh.nud.confirm(PEER, 1);
  const i = r.neigh.table.find(PEER, 1);
  r.ctx.tick((2 ** 31 + 5_000) * 1000);
  assert.ok(r.ctx.nowMs < 0, 'the counter has wrapped');
  r.neigh.nud.onTimer(i);
  assert.is(state(r), 'reachable');
  r.ctx.tick((2 ** 31 + 14_000) * 1000);
  r.neigh.nud.onTimer(i);
  assert.is(state(r), 'stale');
});

test.run();

import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { MAX_TIMEOUT_S, PROFILES, PROTOCOLS, type Profile, protocolOf, Timeouts } from '../../../../lb/proto/index.ts';
import { STATES } from '../../../../lb/proto/protocol.ts';
import * as tcp from '../../../../lb/proto/tcp.ts';
import * as udp from '../../../../lb/proto/udp.ts';

const make = (profile: Profile = 'dpvs', protocol = tcp.TCP): Timeouts => new Timeouts(protocol, profile, 8);

/** Seconds by name of state. */
function listed(t: Timeouts, service = 0): Record<string, number> {
  return Object.fromEntries(t.protocol.states.map((name, state) => [name, t.of(service, state) / 1000]));
}

test('TCP, profile dpvs', () => {
  assert.equal(listed(make()), {
    NONE: 2,
    ESTABLISHED: 90,
    SYN_SENT: 3,
    SYN_RECV: 30,
    FIN_WAIT: 7,
    TIME_WAIT: 7,
    CLOSE: 3,
    CLOSE_WAIT: 7,
    LAST_ACK: 7,
    LISTEN: 120,
    SYNACK: 30,
  });
});

test('TCP, profile lvs', () => {
  assert.equal(listed(make('lvs')), {
    NONE: 2,
    ESTABLISHED: 900,
    SYN_SENT: 120,
    SYN_RECV: 60,
    FIN_WAIT: 120,
    TIME_WAIT: 120,
    CLOSE: 10,
    CLOSE_WAIT: 60,
    LAST_ACK: 30,
    LISTEN: 120,
    SYNACK: 120,
  });
});

test('UDP and ICMP', () => {
  for (const profile of PROFILES) {
    const { ONEWAY, NORMAL } = listed(make(profile, protocolOf(17)!));
    assert.equal([ONEWAY, NORMAL], [300, 300]);
  }
  assert.is(listed(make('dpvs', protocolOf(1)!)).NORMAL, 300);
  assert.is(listed(make('lvs', protocolOf(1)!)).NORMAL, 60);
});

test('every protocol is whole: a timeout per state, active states that exist, four bits of states', () => {
  for (const protocol of PROTOCOLS) {
    assert.ok(protocol.states.length <= STATES);
    assert.is(protocolOf(protocol.number), protocol);
    for (const profile of PROFILES) {
      assert.is(protocol.timeouts[profile].length, protocol.states.length);
      assert.is(protocol.active[profile] >> protocol.states.length, 0);
    }
    for (const state of protocol.settable) assert.type(protocol.states[state], 'string');
  }
  assert.is(protocolOf(132), null);
});

test('active connections: established ones; for lvs those being opened, too', () => {
  const names = (profile: Profile): string[] =>
    tcp.TCP.states.filter((_, state) => (tcp.TCP.active[profile] >> state) & 1);
  assert.equal(names('dpvs'), ['ESTABLISHED']);
  assert.equal(names('lvs'), ['ESTABLISHED', 'SYN_SENT', 'SYN_RECV', 'SYNACK']);
});

test('one state is changed for everyone, and no other', () => {
  const t = make('lvs');
  const before = listed(t);
  t.set(tcp.FIN_WAIT, 33);
  assert.equal(listed(t), { ...before, FIN_WAIT: 33 });
  assert.is(t.get(tcp.FIN_WAIT), 33);
});

test("a service's own timeout is for established connections only, and for it alone", () => {
  const t = make();
  const before = listed(t);
  t.setService(3, 1200);
  t.setService(5, 60);
  assert.equal(listed(t, 3), { ...before, ESTABLISHED: 1200 });
  assert.equal(listed(t, 5), { ...before, ESTABLISHED: 60 });
  assert.equal(listed(t, 4), before);
  assert.equal([t.getService(3), t.getService(4)], [1200, 0]);
  t.set(tcp.TIME_WAIT, 1);
  assert.equal(listed(t, 3), { ...before, ESTABLISHED: 1200, TIME_WAIT: 1 });
  t.setService(3, 0);
  assert.equal(listed(t, 3), { ...before, TIME_WAIT: 1 });
  assert.equal(listed(t, 5), { ...before, ESTABLISHED: 60, TIME_WAIT: 1 });
});

test("a service's own timeout is for all of UDP", () => {
  const t = make('dpvs', udp.UDP);
  t.setService(1, 10);
  assert.equal([t.of(1, udp.ONEWAY), t.of(1, udp.NORMAL), t.of(2, udp.NORMAL)], [10_000, 10_000, 300_000]);
});

test('a timeout is 1 second to a year; what ticks cannot hold is kept as the longest they can', () => {
  const t = make();
  for (const bad of [0, -1, 1.5, MAX_TIMEOUT_S + 1, Number.NaN]) {
    assert.throws(() => t.set(tcp.ESTABLISHED, bad), RangeError);
    if (bad !== 0) assert.throws(() => t.setService(1, bad), RangeError);
  }
  assert.is(t.get(tcp.ESTABLISHED), 90, 'unchanged');
  t.set(tcp.ESTABLISHED, 1);
  assert.is(t.of(0, tcp.ESTABLISHED), 1000);
  t.set(tcp.ESTABLISHED, MAX_TIMEOUT_S);
  assert.is(t.get(tcp.ESTABLISHED), MAX_TIMEOUT_S);
  assert.ok(t.of(0, tcp.ESTABLISHED) > 24 * 86400 * 1000);
  assert.ok(t.of(0, tcp.ESTABLISHED) + 1000 < 0x7fffffff);
});

test('a state or service that does not exist is refused', () => {
  assert.throws(() => make().set(11, 5), /no state 11/);
  assert.throws(() => make().setService(9, 5), /service 9/);
  assert.throws(() => make().setService(0, 5), /service 0/);
});

test.run();

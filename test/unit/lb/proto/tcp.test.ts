/** The transitions, arrow by arrow, against a table written down by hand: a column per state, in the order of the names. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import * as tcp from '../../../../lb/proto/tcp.ts';
import { ACK, CWR, ECE, FIN, PSH, RST, SYN, URG } from '../../../../stack/wire/tcp.ts';

const SHORT = ['NO', 'ES', 'SS', 'SR', 'FW', 'TW', 'CL', 'CW', 'LA', 'LI', 'SA'];
const EVENTS = { syn: SYN, fin: FIN, ack: ACK, rst: RST };

const TABLE: Record<string, [dir: number, rows: Record<keyof typeof EVENTS, string>]> = {
  in: [
    tcp.IN,
    {
      syn: 'SR ES ES SR SR SR SR SR SR SR SR',
      fin: 'CL CW SS TW TW TW CL CW LA LI TW',
      ack: 'CL ES SS ES FW TW CL CW CL LI ES',
      rst: 'CL CL CL SR CL CL CL CL LA LI SR',
    },
  ],
  'in, replies unseen': [
    tcp.IN_ONLY,
    {
      syn: 'SR ES ES SR SR SR SR SR SR SR SR',
      fin: 'CL FW SS TW FW TW CL CW LA LI TW',
      ack: 'CL ES SS ES FW TW CL CW CL LI ES',
      rst: 'CL CL CL SR CL CL CL CL LA LI CL',
    },
  ],
  out: [
    tcp.OUT,
    {
      syn: 'SS ES SS SR SS SS SS SS SS LI SR',
      fin: 'TW FW SS TW FW TW CL TW LA LI TW',
      ack: 'ES ES SS ES FW TW CL CW LA ES ES',
      rst: 'CL CL SS CL CL TW CL CL CL CL CL',
    },
  ],
};

for (const [name, [dir, rows]] of Object.entries(TABLE)) {
  for (const [event, row] of Object.entries(rows) as [keyof typeof EVENTS, string][]) {
    row.split(' ').forEach((to, from) => {
      test(`${name} ${event}: ${SHORT[from]} -> ${to}`, () => {
        assert.is(SHORT[tcp.nextState(dir, EVENTS[event], from)], to);
      });
    });
  }
}

test('of several flags the most telling counts: RST, SYN, FIN, ACK', () => {
  for (const dir of [tcp.IN, tcp.OUT, tcp.IN_ONLY]) {
    for (let state = 0; state < SHORT.length; state++) {
      const next = (flags: number): number => tcp.nextState(dir, flags, state);
      assert.is(next(RST | SYN | FIN | ACK), next(RST));
      assert.is(next(SYN | FIN | ACK), next(SYN));
      assert.is(next(FIN | ACK | PSH), next(FIN));
      assert.is(next(ACK | PSH | URG | ECE | CWR), next(ACK));
    }
  }
});

test('a packet without any of them changes nothing', () => {
  for (const dir of [tcp.IN, tcp.OUT, tcp.IN_ONLY]) {
    for (let state = 0; state < SHORT.length; state++) {
      assert.is(tcp.nextState(dir, PSH | URG | ECE | CWR, state), state);
    }
  }
});

/** Follows a conversation: letters are flags (S, F, A, R), before a colon stands who sends. */
function walk(conversation: string, from = tcp.NONE): string[] {
  let state = from;
  return conversation.split(' ').map((packet) => {
    const [who = '', letters = ''] = packet.split(':');
    let flags = 0;
    for (const letter of letters) flags |= { S: SYN, F: FIN, A: ACK, R: RST }[letter]!;
    state = tcp.nextState({ c: tcp.IN, s: tcp.OUT, d: tcp.IN_ONLY }[who]!, flags, state);
    return SHORT[state]!;
  });
}

test('a client that opens and closes', () => {
  assert.equal(walk('c:S s:SA c:A c:A s:A c:FA s:FA c:A'), ['SR', 'SR', 'ES', 'ES', 'ES', 'CW', 'TW', 'TW']);
});

test('a server that closes first', () => {
  assert.equal(walk('c:S s:SA c:A s:FA c:FA s:A'), ['SR', 'SR', 'ES', 'FW', 'TW', 'TW']);
});

test('direct routing: only the client is seen', () => {
  assert.equal(walk('d:S d:A d:FA d:A'), ['SR', 'ES', 'FW', 'FW']);
});

test('a refused connection; seen from one side it stays half open', () => {
  assert.equal(walk('c:S s:RA'), ['SR', 'CL']);
  assert.equal(walk('d:S d:R'), ['SR', 'SR']);
});

test('a SYN in TIME_WAIT begins again', () => {
  assert.equal(walk('c:S s:SA c:A', tcp.TIME_WAIT), ['SR', 'SR', 'ES']);
});

test('only a SYN alone opens; flags of congestion control do not matter', () => {
  assert.ok(tcp.isBareSyn(SYN));
  assert.ok(tcp.isBareSyn(SYN | ECE | CWR));
  for (const flags of [SYN | ACK, SYN | FIN, SYN | RST, ACK, 0, FIN, RST]) assert.not(tcp.isBareSyn(flags));
});

test('a fresh SYN may take closed connections, and half-closed ones of a server that takes no new ones', () => {
  const those = (is: (state: number) => boolean): string => SHORT.filter((_, state) => is(state)).join(' ');
  assert.is(those(tcp.isReusable), 'TW CL');
  assert.is(those(tcp.isReusableElsewhere), 'FW TW CL');
});

test.run();

/** How connections of layer 4 begin, are counted, and end. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import * as c from '../../lb/conn-row.ts';
import * as tcp from '../../lb/proto/tcp.ts';
import { MODE_NAMES } from '../lib/l4-net.ts';
import { CLIENT, CPORT, ipPacket, L4Rig, LOCAL, SERVER, udpBytes, VIP, VPORT } from '../lib/l4-rig.ts';
import { fromClient, fromServer, ISN, SERVER_ISN } from '../lib/l4-segments.ts';
import { decodeSegment, etherFrame, type Segment, tcpBytes } from '../lib/segment.ts';

const NO_DATA = new Uint8Array(0);

const state = (rig: L4Rig): string => tcp.TCP.states[rig.word(c.META) & c.STATE_MASK]!;
const counts = (rig: L4Rig): number[] => {
  const dest = rig.dests.find(rig.service, SERVER, rig.rport);
  return [rig.dests.activeConns[dest]!, rig.dests.inactConns[dest]!, rig.dests.refs[dest]!];
};

/** Handshake; returns the difference of the numbers. */
function establish(rig: L4Rig): number {
  rig.feed(fromClient({ flags: 'S' }));
  const delta = rig.word(c.SEQ_DELTA);
  if (c.seesReplies((rig.word(c.META) & c.MODE_MASK) >> c.MODE_SHIFT)) {
    rig.feed(fromServer(rig, { flags: 'SA', ack: (ISN + 1 + delta) | 0 }));
  }
  rig.feed(fromClient({ seq: ISN + 1, ack: SERVER_ISN + 1 }));
  return delta;
}

/** Lets simulated seconds pass. */
function wait(rig: L4Rig, seconds: number): Segment[] {
  const sent = [];
  for (let i = 0; i < seconds * 10; i++) {
    for (const one of rig.step(100_000)) if (one.proto === 6) sent.push(decodeSegment(etherFrame(one.ip)));
  }
  return sent;
}

for (const mode of MODE_NAMES)
  test(`${mode}: states, the server's counts, the end`, () => {
    const rig = new L4Rig({ mode });
    rig.feed(fromClient({ flags: 'S' }));
    assert.is(state(rig), 'SYN_RECV');
    assert.equal(counts(rig), [0, 1, 1]);
    establish(rig);
    assert.is(state(rig), 'ESTABLISHED');
    assert.equal(counts(rig), [1, 0, 1]);
    rig.feed(fromClient({ flags: 'FA', seq: ISN + 1, ack: SERVER_ISN + 1 }));
    const sees = mode === 'FNAT' || mode === 'NAT';
    assert.is(state(rig), sees ? 'CLOSE_WAIT' : 'FIN_WAIT');
    assert.equal(counts(rig), [0, 1, 1]);
    if (sees) {
      const ack = (ISN + 2 + rig.word(c.SEQ_DELTA)) | 0;
      rig.feed(fromServer(rig, { flags: 'FA', seq: SERVER_ISN + 1, ack }));
      assert.is(state(rig), 'TIME_WAIT');
    }
    assert.equal(wait(rig, 9), [], 'a connection that is over is not reset');
    assert.is(rig.l4.open, 0);
    assert.equal(counts(rig), [0, 0, 0]);
    assert.is(rig.l4.pools.find(LOCAL)?.used ?? 0, 0);
  });

for (const mode of ['FNAT', 'NAT'] as const)
  test(`${mode}: an established connection that falls silent is reset at both ends, by numbers they believe`, () => {
    const rig = new L4Rig({ mode });
    const delta = establish(rig);
    const data = new Uint8Array(100);
    rig.feed(fromServer(rig, { seq: SERVER_ISN + 1, ack: (ISN + 1 + delta) | 0, data }));
    const lport = rig.lport;
    const [toClient, toServer, ...more] = wait(rig, 92);
    assert.equal(more, []);
    assert.equal([toClient!.src, toClient!.sport, toClient!.dst, toClient!.dport], [VIP, VPORT, CLIENT, CPORT]);
    assert.equal([toClient!.flags, toClient!.seq, toClient!.ack], ['RA', SERVER_ISN + 101, ISN + 1]);
    assert.equal([toServer!.dst, toServer!.dport, toServer!.sport], [SERVER, rig.rport, lport]);
    assert.equal([toServer!.flags, toServer!.seq], ['RA', (ISN + 1 + delta) | 0]);
    assert.is(rig.l4.core.stats.resets, 2);
    assert.is(rig.l4.open, 0);
  });

for (const mode of MODE_NAMES)
  test(`${mode}: a fresh SYN takes over what is over, without delay`, () => {
    const rig = new L4Rig({ mode });
    establish(rig);
    rig.feed(fromClient({ flags: 'R', seq: ISN + 1 }));
    assert.is(state(rig), 'CLOSE');
    const before = mode === 'FNAT' ? rig.lport : 0;
    rig.feed(fromClient({ flags: 'S', seq: 999_999 }));
    assert.is(rig.fate, 'sent');
    assert.is(state(rig), 'SYN_RECV');
    assert.is(rig.l4.core.stats.reused, 1);
    assert.is(rig.l4.open, 1);
    if (mode === 'FNAT') assert.is.not(rig.lport, before, 'the server may be in TIME_WAIT with the old one');
    assert.equal(counts(rig), [0, 1, 1]);
  });

for (const [what, change] of [
  ['of weight 0', (rig: L4Rig) => rig.services.editDest(rig.service, { addr: SERVER, port: rig.rport, weight: 0 })],
  ['in drain', (rig: L4Rig) => rig.services.setState(rig.services.destIds(rig.service)[0]!, 'drain')],
  ['in maintenance', (rig: L4Rig) => rig.services.setState(rig.services.destIds(rig.service)[0]!, 'maint')],
  ['removed', (rig: L4Rig) => rig.services.removeDest(rig.service, SERVER, rig.rport)],
] as const) {
  test(`a server is ${what}: its connections go on, new ones are refused`, () => {
    const rig = new L4Rig({ mode: 'FNAT' });
    const delta = establish(rig);
    change(rig);
    rig.feed(fromClient({ seq: ISN + 1, ack: SERVER_ISN + 1, data: new Uint8Array(9) }));
    assert.is(rig.fate, 'sent');
    rig.feed(fromServer(rig, { seq: SERVER_ISN + 1, ack: (ISN + 10 + delta) | 0 }));
    assert.is(rig.fate, 'sent');
    rig.feed(fromClient({ flags: 'S', sport: CPORT + 1 }));
    assert.is(rig.fate, 'lb_no_server');
  });

  test(`a server is ${what}, and the service does not wait: the next packet ends the connection with resets`, () => {
    const rig = new L4Rig({ mode: 'FNAT', service: { expireQuiescent: 'on' } });
    establish(rig);
    change(rig);
    const sent = rig.feed(fromClient({ seq: ISN + 1, ack: SERVER_ISN + 1, data: new Uint8Array(9) }));
    assert.is(rig.fate, 'lb_quiesced');
    const resets = sent.map((one) => decodeSegment(etherFrame(one.ip)));
    assert.equal(
      resets.map(({ dst, flags }) => [dst, flags]),
      [
        [CLIENT, 'RA'],
        [SERVER, 'RA'],
      ],
    );
    assert.is(rig.l4.open, 0);
  });

  test(`a server is ${what}: a half-closed connection yields to a fresh SYN`, () => {
    const rig = new L4Rig({ mode: 'DR' });
    establish(rig);
    rig.feed(fromClient({ flags: 'FA', seq: ISN + 1 }));
    assert.is(state(rig), 'FIN_WAIT');
    change(rig);
    rig.feed(fromClient({ flags: 'S', seq: 5 }));
    assert.is(rig.fate, 'lb_no_server');
    assert.is(rig.l4.open, 0);
  });
}

test('a turn ends 128 connections at most and resets them, however many are due, and frames are carried meanwhile', () => {
  const flows = 3000;
  const rig = new L4Rig({ mode: 'NAT', limits: { tcp: 4096, udp: 16, icmp: 16, templates: 16 } });
  for (let sport = CPORT; sport < CPORT + flows; sport++) {
    rig.feed(fromClient({ flags: 'S', sport }));
    const back = { dst: CLIENT, sport: rig.rport, dport: sport, seq: SERVER_ISN, ack: ISN + 1, flags: 'SA' };
    const whole = { src: SERVER, win: 9, data: NO_DATA };
    rig.feed(ipPacket(SERVER, CLIENT, 6, tcpBytes({ ...whole, ...back })));
    rig.feed(fromClient({ seq: ISN + 1, ack: SERVER_ISN + 1, sport }));
  }
  assert.is(rig.l4.open, flows);
  // A minute and a half of silence, in which nobody calls; then a stranger's segment comes in each turn.
  let most = 0;
  let turns = 1;
  let resets = rig.step(100_000_000).length;
  for (; rig.l4.open > 0; turns++) {
    const before = rig.l4.open;
    resets += rig.feed(fromClient({ seq: ISN + 1, ack: SERVER_ISN + 1, sport: CPORT - 1 })).length - 1;
    most = Math.max(most, before - rig.l4.open);
    assert.is(rig.fate, 'tcp_no_socket', 'it is answered at once');
  }
  assert.is(most, 128);
  assert.is(turns, Math.ceil(flows / 128));
  assert.is(resets, 2 * flows);
});

test('a service has a timeout of its own for what is established, other states keep that of everyone', () => {
  const rig = new L4Rig({ mode: 'FNAT', service: { timeoutS: 20 } });
  rig.feed(fromClient({ flags: 'S' }));
  assert.is(rig.l4.tcp.dueIn(rig.row), 30_000, 'SYN_RECV');
  establish(rig);
  assert.is(rig.l4.tcp.dueIn(rig.row), 20_000);
  rig.l4.setService(rig.service, { ...rig.wanted, timeoutS: 0 });
  rig.feed(fromClient({ seq: ISN + 1, ack: SERVER_ISN + 1 }));
  assert.is(rig.l4.tcp.dueIn(rig.row), 90_000, 'a change holds from the next packet on');
  rig.l4.setService(rig.service, { ...rig.wanted, timeoutS: 5 });
  rig.l4.removeService(rig.service);
  rig.feed(fromClient({ seq: ISN + 1, ack: SERVER_ISN + 1 }));
  assert.is(rig.l4.tcp.dueIn(rig.row), 90_000, 'a service that is gone has none');
});

test('a service of UDP has a timeout of its own, answered or not', () => {
  const rig = new L4Rig({ mode: 'NAT', udp: true, service: { timeoutS: 7 } });
  rig.feed(ipPacket(CLIENT, VIP, 17, udpBytes(CLIENT, VIP, CPORT, VPORT, NO_DATA)));
  assert.is(rig.l4.udp.dueIn(rig.row), 7000);
  wait(rig, 5);
  rig.feed(ipPacket(SERVER, CLIENT, 17, udpBytes(SERVER, CLIENT, rig.rport, CPORT, NO_DATA)));
  assert.is(rig.l4.udp.dueIn(rig.row), 7000);
  wait(rig, 9);
  assert.is(rig.l4.open, 0);
});

test('UDP: one way until the server answers', () => {
  const rig = new L4Rig({ mode: 'NAT', udp: true });
  rig.feed(ipPacket(CLIENT, VIP, 17, udpBytes(CLIENT, VIP, CPORT, VPORT, NO_DATA)));
  assert.is(rig.word(c.META) & c.STATE_MASK, 1);
  rig.feed(ipPacket(SERVER, CLIENT, 17, udpBytes(SERVER, CLIENT, rig.rport, CPORT, NO_DATA)));
  assert.is(rig.fate, 'sent');
  assert.is(rig.word(c.META) & c.STATE_MASK, 2);
  assert.equal(counts(rig), [0, 1, 1]);
});

test('packets and bytes are counted, per connection, server and service', () => {
  const rig = new L4Rig({ mode: 'FNAT' });
  establish(rig);
  const dest = rig.dests.find(rig.service, SERVER, rig.rport);
  assert.equal([rig.dests.inPkts[dest], rig.dests.inBytes[dest]], [2, 80]);
  assert.equal([rig.dests.outPkts[dest], rig.dests.outBytes[dest]], [1, 40]);
  const { columns } = rig.services;
  assert.equal([columns.inPkts[rig.service], columns.outBytes[rig.service], columns.conns[rig.service]], [2, 40, 1]);
  const { cold } = rig.l4.tcp;
  assert.equal([cold.packets(rig.row, c.IN), cold.bytes(rig.row, c.OUT)], [2, 40]);
});

test('a drain takes no new connections; a flush resets those that are left', () => {
  const rig = new L4Rig({ mode: 'FNAT' });
  establish(rig);
  rig.l4.drain();
  const [reset] = rig.feed(fromClient({ flags: 'S', sport: CPORT + 1 }));
  assert.is(decodeSegment(etherFrame(reset!.ip)).flags, 'RA');
  assert.is(rig.l4.established, 1);
  assert.ok(rig.l4.flush(1));
  assert.not(rig.l4.flush(1));
  assert.is(rig.step().length, 2);
  assert.is(rig.l4.open, 0);
});

test.run();

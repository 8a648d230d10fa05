/** The end of a burst: who is told what, in which order, and what happens when owners act from within. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import * as sock from '../../../../stack/tcp/socket.ts';
import type { SocketOwner, Tcb } from '../../../../stack/tcp/tcb.ts';
import { T_COUNT } from '../../../../stack/tcp/timers.ts';
import { HOST, PEER, pattern, TcpRig } from '../../../lib/tcp-peer.ts';

const silent: SocketOwner = {
  onEstablished() {},
  onReadable() {},
  onWritable() {},
  onFin() {},
  onClosed() {},
};

test('events of one burst come in order: established, readable, fin, closed', () => {
  const rig = new TcpRig();
  const log: string[] = [];
  const owner: SocketOwner = {
    onEstablished: () => log.push('established'),
    onReadable: (tcb) => {
      log.push('readable');
      sock.consume(rig.host.tcp, tcb, sock.readable(tcb));
    },
    onWritable: () => log.push('writable'),
    onFin: (tcb) => {
      log.push('fin');
      sock.shutdown(rig.host.tcp, tcb);
    },
    onClosed: () => log.push('closed'),
  };
  rig.host.tcp.listeners.add(HOST, 80, 4, owner, 0);
  const c = rig.talk(80);
  c.send({ flags: 'S' });
  c.expect({ flags: 'SA' });
  c.put({ flags: 'A', data: 'x' });
  c.put({ flags: 'FA' });
  rig.pump();
  assert.equal(log, ['established', 'readable', 'fin']);
  c.expect({ flags: 'FA', seq: 1, ack: 3 });
  c.send({ flags: 'A' });
  assert.equal(log, ['established', 'readable', 'fin', 'closed']);
});

test('a block freed in a burst may be taken by a connect from within the same burst', () => {
  const rig = new TcpRig({ tcp: { maxConnections: 1 } });
  const { tcp } = rig.host;
  let again: Tcb | null = null;
  const first: SocketOwner = {
    ...silent,
    onClosed() {
      // Its own block is not free before this returns.
      assert.is(tcp.connect(HOST, 0, PEER, 80, silent, 0), null);
    },
  };
  const tcb = tcp.connect(HOST, 0, PEER, 80, first, 0)!;
  const c = rig.talk(tcb.lport, 80);
  rig.pump();
  c.expect({ flags: 'S' });
  sock.abort(tcp, tcb);
  rig.pump();
  again = tcp.connect(HOST, 0, PEER, 81, silent, 7);
  assert.is(again, tcb, 'the one block there is');
  assert.is(again!.tag, 7);
  const d = rig.talk(again!.lport, 81);
  rig.pump();
  d.expect({ flags: 'S' });
  c.expectNone();
});

test('many connections closing and opening from each other’s callbacks', () => {
  const rig = new TcpRig({ tcp: { maxConnections: 4 } });
  const { tcp } = rig.host;
  rig.ignoreStrangers = true;
  let opened = 0;
  let closed = 0;
  const owner: SocketOwner = {
    ...silent,
    onClosed() {
      closed++;
      // The block of the one told before is free by now.
      if (opened < 50 && tcp.connect(HOST, 0, PEER, 80, owner, 0) !== null) opened++;
    },
  };
  while (tcp.connect(HOST, 0, PEER, 80, owner, 0) !== null) opened++;
  for (let i = 0; i < 200 && tcp.open > 0; i++) {
    for (const tcb of tcp.blocks) if (tcb !== null && tcb.state !== 0) sock.abort(tcp, tcb);
    rig.pump();
  }
  assert.is(opened, closed);
  assert.ok(opened > 4);
  rig.assertEmpty();
});

test('an owner that aborts from each of its callbacks is told the end once', () => {
  for (const at of ['onEstablished', 'onReadable', 'onFin', 'onWritable'] as const) {
    const rig = new TcpRig({ tcp: { sndBuf: 2000 } });
    let ends = 0;
    let calls = 0;
    const owner: SocketOwner = {
      ...silent,
      onReadable: (tcb) => void sock.write(rig.host.tcp, tcb, pattern(3000), 0, 3000),
      onClosed: () => void ends++,
      [at]: (tcb: Tcb) => {
        calls++;
        sock.abort(rig.host.tcp, tcb);
        sock.abort(rig.host.tcp, tcb);
        sock.close(rig.host.tcp, tcb);
      },
    };
    rig.host.tcp.listeners.add(HOST, 80, 4, owner, 0);
    const c = rig.talk(80);
    c.open({ mss: 1460 });
    if (at !== 'onEstablished') {
      c.send({ flags: 'A', data: 'x' });
      c.take();
      if (at !== 'onReadable') c.send({ flags: 'FA' });
    }
    const resets = rig.sent.filter((q) => q.segment.flags.includes('R')).length;
    assert.equal([calls, ends, resets], [1, 1, 1], at);
    rig.assertEmpty();
  }
});

test('no timer outlives its connection', () => {
  const rig = new TcpRig();
  const [c, owner] = rig.accept({ mss: 1460 });
  const { timers } = rig.host.tcp;
  const armed = (): number => {
    let n = 0;
    for (let i = 1; i <= 64 * T_COUNT; i++) if (timers.isArmed(i)) n++;
    return n;
  };
  owner.write('unacknowledged');
  c.send({ flags: 'A', ack: 1, data: 'x' });
  assert.ok(armed() > 0);
  owner.abort();
  assert.is(armed(), 0);
});

test('a relay moves frames without copying and passes the shutting window on', () => {
  const rig = new TcpRig({ tcp: { sndBuf: 4000, rcvBuf: 6000 } });
  const { tcp } = rig.host;
  const [a, from] = rig.accept({ mss: 1460 }, 80, 40000);
  const [b, to] = rig.accept({ mss: 1460 }, 81, 40001);
  from.autoRead = false;
  b.send({ flags: 'A', win: 0 });
  let sent = 0;
  for (let i = 0; i < 10; i++) {
    a.send({ flags: 'A', data: pattern(1200, sent) });
    sent += 1200;
    sock.move(tcp, from.tcb!, to.tcb!);
    rig.advance(50);
  }
  const refused = sent - ((from.tcb!.rcvNxt - from.tcb!.irs - 1) | 0);
  assert.ok(refused > 0, 'the sender is held up');
  assert.is(sock.readable(from.tcb!) > 0, true);
  assert.ok(to.tcb!.sndQueued >= 4000 && to.tcb!.sndQueued < 4000 + 1460);
  assert.is(sock.move(tcp, from.tcb!, to.tcb!), 0);
  to.log.length = 0;
  b.send({ flags: 'A', win: 65535 });
  const got: number[] = [];
  const collect = (): void => {
    for (const s of b.take()) for (let i = 0; i < s.data.length; i++) got[(s.seq + i - b.hostIss - 1) | 0] = s.data[i]!;
  };
  collect();
  b.send({ flags: 'A' });
  assert.ok(to.log.includes('writable'));
  sock.move(tcp, from.tcb!, to.tcb!);
  rig.pump();
  collect();
  assert.ok(got.length > 4000);
  assert.equal(got, [...pattern(got.length)]);
});

test.run();

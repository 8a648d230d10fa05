/** What is received: delayed and duplicate ACKs, SACK blocks, the out-of-order queue, bad segments: RFC 9293 §3.8, RFC 5681 §4, RFC 2018, segment by segment. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { TCP_CHECKSUM, TCP_MALFORMED, TCP_OFO_FULL, TCP_OUT_OF_WINDOW } from '../../stack/drop.ts';
import * as sock from '../../stack/tcp/socket.ts';
import { connection, FULL, settle } from '../lib/tcp-connection.ts';
import { ascii, pattern, TcpRig } from '../lib/tcp-peer.ts';

// Acknowledging

test('delayed ACK: a lone segment after 40 ms, the second full one at once', () => {
  const [rig, c] = connection();
  settle(rig, c);
  const t0 = rig.t;
  c.send({ flags: 'A', data: pattern(1460) });
  rig.advance(39);
  c.expectNone();
  rig.advance(1);
  c.expect({ flags: 'A', ack: c.seq, at: t0 + 40 });
  c.send({ flags: 'A', data: pattern(1460) });
  c.expectNone();
  c.send({ flags: 'A', data: pattern(1460) });
  c.expect({ flags: 'A', ack: c.seq, at: t0 + 40 });
  rig.advance(1000);
  c.expectNone();
});

test('delayed ACK: every second segment of a peer that sends smaller ones than we do', () => {
  const [rig, c] = connection({}, { mss: 9000 });
  settle(rig, c);
  for (let i = 0; i < 6; i++) c.send({ flags: 'A', data: pattern(536) });
  assert.is(c.take().length, 3);
});

test('delayed ACK: an answer carries it', () => {
  const [rig, c, owner] = connection();
  settle(rig, c);
  c.send({ flags: 'A', data: 'ping' });
  c.expectNone();
  owner.write('pong');
  c.expect({ ack: c.seq, data: 'pong' });
  rig.advance(100);
  c.expectNone();
});

test('a young connection acknowledges its first segments after 4 ms', () => {
  const [rig, c] = connection();
  c.send({ flags: 'A', data: 'x' });
  rig.advance(3);
  c.expectNone();
  rig.advance(1);
  c.expect({ flags: 'A', ack: 2, at: 4 });
});

test('several segments of one burst are acknowledged together', () => {
  const [rig, c] = connection();
  for (let i = 0; i < 10; i++) c.put({ flags: 'A', data: pattern(1460) });
  rig.pump();
  c.expect({ flags: 'A', ack: 14601 });
  c.expectNone();
});

test('old data and data out of order are acknowledged at once', () => {
  const [rig, c] = connection();
  settle(rig, c);
  c.send({ flags: 'A', seq: 1, data: 'xx' });
  c.expect({ flags: 'A', ack: 9 });
  assert.is(rig.dropped(TCP_OUT_OF_WINDOW), 1);
  c.send({ flags: 'A', seq: 20, data: 'later' });
  c.expect({ flags: 'A', ack: 9 });
  c.send({ flags: 'A', seq: 9, data: '01234567890' });
  c.expect({ flags: 'A', ack: 25 });
});

test('duplicate ACKs go out beside data of ours, one per segment to a peer without SACK', () => {
  const [rig, c, owner] = connection();
  sock.write(rig.host.tcp, owner.tcb!, ascii('data'), 0, 4);
  for (const seq of [2001, 3001, 4001]) c.put({ flags: 'A', seq, data: pattern(1000) });
  rig.pump();
  const all = c.take();
  assert.equal(
    all.map((s) => s.data.length),
    [0, 0, 0, 4],
  );
});

// Out of order, SACK

test('SACK: newest block first, then those that were first before; three beside timestamps, four without', () => {
  for (const ts of [true, false]) {
    const [, c] = connection({}, { sackOk: true, ...(ts && { ts: [1, 0] }) });
    const at = [4000, 2000, 8000, 10_000, 6000];
    for (const seq of at) c.send({ flags: 'A', seq, data: pattern(100) });
    const blocks = c.take().map((s) => s.sack!.map(([l]) => (l - c.iss) | 0));
    assert.equal(blocks[0], [4000]);
    assert.equal(blocks[1], [2000, 4000]);
    assert.equal(blocks[2], [8000, 2000, 4000]);
    assert.equal(blocks[3], [10_000, 8000, 2000, ...(ts ? [] : [4000])]);
    assert.equal(blocks[4], [6000, 10_000, 8000, ...(ts ? [] : [2000])]);
    // What joins two blocks is reported as one.
    c.send({ flags: 'A', seq: 2100, data: pattern(1000) });
    c.take();
    c.send({ flags: 'A', seq: 3100, data: pattern(900) });
    c.expect({ sack: [[2000, 4100], [6000, 6100], [10_000, 10_100], ...(ts ? [] : [[8000, 8100] as const])] });
    c.send({ flags: 'A', seq: 1, data: pattern(1000) });
    c.send({ flags: 'A', seq: 1001, data: pattern(999) });
    const last = c.take().at(-1)!;
    assert.is((last.ack - c.iss) | 0, 4100);
    assert.equal(
      last.sack!.map(([l]) => (l - c.iss) | 0),
      [6000, 10_000, 8000],
    );
  }
});

test('SACK: each block is reported three times at least, though there are many and some grow', () => {
  const [, c] = connection({}, { sackOk: true, ts: [1, 0] });
  const told = new Map<number, number>();
  for (let i = 1; i <= 30; i++) {
    // Two of five lie side by side.
    const seq = i % 5 < 2 ? 20_000 + i * 100 : ((i * 7) % 30) * 200 + 2000;
    c.send({ flags: 'A', seq, data: pattern(100) });
    for (const [l] of c.expect({ flags: 'A' }).sack!) told.set((l - c.iss) | 0, (told.get((l - c.iss) | 0) ?? 0) + 1);
  }
  const late = [...told].filter(([, times]) => times < 3);
  assert.ok(late.length <= 2, `only the last two may be told of less: ${JSON.stringify(late)}`);
});

test('without SACK permitted none is sent', () => {
  const [, c] = connection();
  c.send({ flags: 'A', seq: 2000, data: pattern(100) });
  assert.is(c.expect({ flags: 'A', ack: 1 }).sack, undefined);
});

test('the out-of-order queue has a bound, and a tighter one for small pieces', () => {
  for (const [size, most] of [
    [1, 64],
    [255, 64],
    [256, 512],
  ] as const) {
    const [rig, c, owner] = connection({ wire: { ring: 2048 } }, { wscale: 7 });
    for (let i = 0; i < 600; i++) c.put({ flags: 'A', seq: 1000 + i * 2 * size, data: pattern(size) });
    rig.pump();
    assert.is(owner.tcb!.ofoCount, most, `${size} bytes`);
    assert.is(rig.dropped(TCP_OFO_FULL), 600 - most);
  }
});

test('a piece whose neighbours cover it between them holds no slot', () => {
  const [rig, c, owner] = connection();
  c.send({ flags: 'A', seq: 11, data: pattern(10) });
  c.send({ flags: 'A', seq: 21, data: pattern(10) });
  const held = rig.ctx.pool.inUse;
  c.send({ flags: 'A', seq: 16, data: pattern(10) });
  assert.is(owner.tcb!.ofoCount, 2);
  assert.is(rig.ctx.pool.inUse, held);
});

test('a FIN below data that came before it ends the connection there', () => {
  const [rig, c, owner] = connection();
  c.send({ flags: 'A', seq: 11, data: 'beyond the end' });
  c.send({ flags: 'FA', seq: 1, data: '0123456789' });
  assert.is(owner.text, '0123456789');
  assert.is(owner.state, 'CLOSE-WAIT');
  c.take();
  c.send({ flags: 'A', seq: 12 });
  assert.is(owner.tcb!.rcvNxt, owner.tcb!.irs + 12);
  assert.is(rig.host.tcp.heldUnread(), 0);
});

test('a pool running short refuses what is out of order before what is in order', () => {
  const [rig, c, owner] = connection({ pool: { slots: 64, slotBytes: 2048, bigSlots: 8, bigSlotBytes: 69632 } });
  for (let i = 0; i < 62; i++) c.send({ flags: 'A', seq: 2000 + i * 1000, data: pattern(900) });
  assert.ok(rig.dropped(TCP_OFO_FULL) > 0);
  c.send({ flags: 'A', seq: 1, data: pattern(1999, 0).subarray(0, 1400) });
  c.send({ flags: 'A', seq: 1401, data: pattern(599) });
  assert.is(owner.bytes.length, 1999 + 900);
});

test('small segments share a frame until they are read', () => {
  const [rig, c, owner] = connection();
  owner.autoRead = false;
  for (let i = 0; i < 100; i++) c.put({ flags: 'A', data: pattern(15, i * 15) });
  rig.pump();
  assert.is(rig.host.tcp.heldUnread(), 1);
  assert.equal([...ascii(owner.read())], [...pattern(1500)]);
});

// Malformed

test('a wrong checksum, a header too long and broken options are dropped', () => {
  const [rig, c, owner] = connection();
  const bad = c.frame({ flags: 'A', seq: 1, data: 'damaged' });
  bad[bad.length - 1]! ^= 1;
  rig.inject(bad);
  rig.pump();
  assert.is(rig.dropped(TCP_CHECKSUM), 1);
  c.sendRaw({ flags: 'A', seq: 1, data: 'x' }, (t) => {
    t[12] = 0xf0;
  });
  c.sendRaw({ flags: 'A', seq: 1, data: 'x' }, (t) => {
    t[12] = 0x40;
  });
  assert.is(rig.dropped(TCP_MALFORMED), 2);
  c.sendRaw({ flags: 'A', seq: 1, ts: [1, 2] }, (t) => {
    t[21] = 60;
  });
  assert.is(rig.dropped(TCP_MALFORMED), 3);
  c.expectNone();
  assert.is(owner.text, '');
});

test('urgent data is data (RFC 6093); unknown options are skipped', () => {
  const [, c, owner] = connection();
  c.sendRaw({ flags: 'UPA', data: 'urgent', ts: [1, 2] }, (t) => {
    t[20] = 0xfd;
    new DataView(t.buffer).setUint16(18, 3);
  });
  assert.is(owner.text, 'urgent');
});

// Numbers that wrap

for (const wrap of [0x7fffffff, -1]) {
  test(`sequence numbers pass ${wrap >>> 0} in both directions`, () => {
    const rig = new TcpRig({ iss: (wrap - 3000) | 0 });
    const recorder = rig.listen(80);
    const c = rig.talk(80, 40000, (wrap - 2500) | 0);
    c.open(FULL);
    recorder.write(pattern(8000));
    assert.equal(
      c.take().flatMap((s) => [...s.data]),
      [...pattern(8000)],
    );
    // The second segment was lost.
    for (let i = 2; i < 6; i++) c.send({ flags: 'A', ack: 1449, sack: [[2897, 1 + 1448 * i]] });
    c.expect({ seq: 1449, len: 1448, data: pattern(1448, 1448) });
    c.send({ flags: 'A', ack: 8001 });
    assert.is(recorder.tcb!.sndUna, recorder.tcb!.sndNxt);
    c.send({ flags: 'A', seq: 3001, data: pattern(1000, 3000) });
    c.send({ flags: 'A', seq: 2001, data: pattern(1000, 2000) });
    c.send({ flags: 'A', seq: 1, data: pattern(1000) });
    c.send({ flags: 'A', seq: 1001, data: pattern(1000, 1000) });
    assert.equal(recorder.bytes, [...pattern(4000)]);
    recorder.shutdown();
    c.take();
    c.send({ flags: 'FA', seq: 4001 });
    assert.is(recorder.log.at(-1), 'closed:normal');
  });
}

test.run();

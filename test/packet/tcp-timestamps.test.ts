/** Timestamps and PAWS: RFC 7323 §3-5, segment by segment. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { TCP_PAWS } from '../../stack/drop.ts';
import { connection, FULL, settle } from '../lib/tcp-connection.ts';
import { pattern, TcpRig } from '../lib/tcp-peer.ts';

test('PAWS: an old timestamp is dropped and acknowledged; RST is exempt', () => {
  const [rig, c, owner] = connection({}, FULL);
  c.send({ flags: 'A', data: 'new' });
  rig.advance(4);
  c.expect({ ack: 4 });
  c.send({ flags: 'A', data: 'old', seq: 4, ts: [99_999, 0] });
  c.expect({ flags: 'A', ack: 4 });
  assert.is(rig.dropped(TCP_PAWS), 1);
  assert.is(owner.text, 'new');
  c.send({ flags: 'R', seq: 4, ts: [99_999, 0] });
  assert.is(owner.log.at(-1), 'closed:reset');
});

test('PAWS: after 24 days of silence any timestamp is taken', () => {
  const [rig, c, owner] = connection({}, FULL);
  rig.advance(24 * 24 * 3600 * 1000 + 1);
  c.send({ flags: 'A', data: 'hello', ts: [99_000, 0] });
  assert.is(owner.text, 'hello');
});

test('the echoed timestamp is that of the segment at the left edge (RFC 7323 §4.3)', () => {
  const [rig, c] = connection({}, FULL);
  settle(rig, c);
  c.send({ flags: 'A', data: 'a', ts: [200_001, 0] });
  c.send({ flags: 'A', data: 'b', ts: [200_002, 0] });
  rig.advance(40);
  c.expect({ ack: 11, tsEcr: 200_001 });
  c.send({ flags: 'A', seq: 12, data: 'd', ts: [200_005, 0] });
  c.expect({ ack: 11, tsEcr: 200_001 });
  c.send({ flags: 'A', seq: 11, data: 'c', ts: [200_007, 0] });
  c.expect({ ack: 13, tsEcr: 200_007 });
});

test('our timestamps run in milliseconds, with an offset', () => {
  const [rig, c, owner] = connection({}, FULL);
  owner.write('a');
  const a = c.expect({ data: 'a' }).ts![0];
  rig.advance(100);
  owner.write('b');
  const b = c.expect({ data: 'b' }).ts![0];
  assert.is((b - a) | 0, 100);
});

test('after the opening no segment carries MSS, window scale or SACK-permitted; each carries the timestamp', () => {
  const [rig, c, owner] = connection({}, FULL);
  const plain = { mss: null, wscale: null, sackOk: false, ts: true };
  owner.write(pattern(100));
  c.expect({ len: 100, ...plain });
  c.send({ flags: 'A', data: 'x', seq: 3, ack: 1 });
  c.expect({ flags: 'A', len: 0, ...plain });
  rig.advance(400);
  c.expect({ seq: 1, len: 100, ...plain });
  c.take();
  c.send({ flags: 'A' });
  owner.shutdown();
  c.expect({ flags: 'FA', ...plain });
});

test('a segment without the timestamp agreed on is taken, not answered with a reset', () => {
  const [, c, owner] = connection({}, FULL);
  c.send({ flags: 'A', data: 'hello', ts: null });
  assert.is(owner.text, 'hello');
  assert.is(owner.state, 'ESTABLISHED');
});

test('a window scale outside a SYN changes nothing, nor do timestamps nobody agreed on', () => {
  const [, c, owner] = connection();
  c.send({ flags: 'A', data: 'x', wscale: 14, win: 3000, ts: [1, 1] });
  assert.is(owner.tcb!.sndWnd, 3000);
  owner.write(pattern(5000));
  const sent = c.take();
  assert.is(
    sent.reduce((n, s) => n + s.data.length, 0),
    2920,
  );
  assert.ok(sent.every((s) => s.ts === undefined));
  c.send({ flags: 'A', data: 'y', ts: [0, 0] });
  assert.is(owner.text, 'xy', 'an older one does not make it an old duplicate');
});

test('the echo of a timestamp counts for nothing in a segment without ACK', () => {
  const rig = new TcpRig();
  const owner = rig.listen(80);
  const c = rig.talk(80);
  c.send({ flags: 'S', mss: 1460, ts: [100_000, 77] });
  c.expect({ flags: 'SA', tsEcr: 100_000 });
  c.ts = true;
  rig.advance(50);
  c.send({ flags: 'A' });
  assert.equal(owner.log, ['established']);
  assert.is(rig.host.tcp.block(1)!.srtt, 50_000, 'measured from the SYN-ACK');
});

test.run();

/** The kernel's connections as `ss` prints them, and the watch over those that stand still. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { KernelWatch, readSockets } from '../../soak/ss.ts';

const line = (more: string, sendQ = 1448): string =>
  `ESTAB 0 ${sendQ} 10.100.0.1:7000 10.100.0.2:33979 timer:(on,180ms,0) cubic wscale:7,3 rto:204 rtt:1.2/0.5 mss:1448 cwnd:10 bytes_sent:2000 ${more}`;

test('a line is read: queues, addresses, time-out', () => {
  const [socket] = readSockets(`${line('bytes_acked:552 segs_in:9 unacked:1')}\n`);
  assert.equal([socket!.state, socket!.recvQ, socket!.sendQ, socket!.rtoMs], ['ESTAB', 0, 1448, 204]);
  assert.equal([socket!.local, socket!.peer], ['10.100.0.1:7000', '10.100.0.2:33979']);
  assert.equal(readSockets('\n'), []);
});

test('a probe of a shut window backs off by itself, a retransmission in its time-out', () => {
  assert.is(readSockets(line('backoff:3'))[0]!.rtoMs, 204 * 8);
  assert.is(readSockets(line('backoff:3 unacked:1'))[0]!.rtoMs, 204);
});

test('with data outstanding and no progress for more than twice the time-out the watch complains', () => {
  const watch = new KernelWatch(100);
  const standing = readSockets(line('bytes_acked:552 unacked:1'));
  watch.look(standing, 1000);
  watch.look(standing, 1500);
  assert.is(watch.worstMs, 500);
  assert.throws(() => watch.look(standing, 1509), /10\.100\.0\.1:7000 10\.100\.0\.2:33979 stands still for 509 ms/);
});

test('progress, or nothing outstanding, is no reason to complain', () => {
  const watch = new KernelWatch(100);
  watch.look(readSockets(line('bytes_acked:552 unacked:1')), 0);
  watch.look(readSockets(line('bytes_acked:553 unacked:1')), 500);
  watch.look(readSockets(line('bytes_acked:553 unacked:1')), 1000);
  watch.look(readSockets(line('bytes_acked:2000', 0)), 1500);
  watch.look(readSockets(line('bytes_acked:2000', 0)), 9000);
  assert.is(watch.worstMs, 500);
});

test.run();

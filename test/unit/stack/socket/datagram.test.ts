import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { POOL_EMPTY } from '../../../../stack/drop.ts';
import { finishChecksum } from '../../../../stack/netif/gso.ts';
import { DatagramError, type DatagramErrorCode, DatagramSocket } from '../../../../stack/socket/datagram.ts';
import type { FrameId, Verdict } from '../../../../stack/types.ts';
import { UdpInput } from '../../../../stack/udp/input.ts';
import { UdpSockets } from '../../../../stack/udp/socket.ts';
import { DELIVERED, DROP } from '../../../../stack/verdict.ts';
import {
  assertConserved,
  bytesOf,
  CLIENT,
  ipv4Packet,
  makeContext,
  pattern,
  receiveL4,
  SERVER,
} from '../../../lib/ip-bench.ts';

/** A host that is both CLIENT and SERVER: what it sends comes back in. */
function bench() {
  const ctx = makeContext(64, 4);
  const errors: number[] = [];
  let drop = 0;
  const output = {
    output(f: FrameId, src: number, dst: number): Verdict {
      if (drop !== 0) return DROP | drop;
      finishChecksum(ctx.pool, f);
      const g = receiveL4(ctx, ipv4Packet({ src, dst, payload: bytesOf(ctx, f) }));
      ctx.settle(g, input.input(g));
      return DELIVERED;
    },
  };
  const addrs = {
    isLocal: (a: number) => a === SERVER || a === CLIENT,
    sourceTowards: (dst: number) => (dst === SERVER ? CLIENT : SERVER),
  };
  const sockets = new UdpSockets(ctx, output, addrs);
  const input = new UdpInput(ctx, sockets, { send: (_f, _type, code) => errors.push(code) > 0 });
  return { ctx, sockets, errors, open: () => new DatagramSocket(ctx, sockets), dropAll: (r: number) => (drop = r) };
}

const failsWith = (code: DatagramErrorCode) => (e: unknown) => e instanceof DatagramError && e.code === code;

async function rejection(p: Promise<unknown>): Promise<unknown> {
  return p.then(
    () => assert.unreachable('should have rejected'),
    (e: unknown) => e,
  );
}

test('question and answer between two sockets', async () => {
  const { ctx, open } = bench();
  const server = open();
  server.bind(SERVER, 53);
  const client = open();
  client.sendTo(pattern(20), SERVER, 53);
  const question = await server.receive();
  assert.equal(question, { data: pattern(20), addr: CLIENT, port: client.port, localAddr: SERVER });
  server.sendTo(pattern(3000), question.addr, question.port);
  const answer = await client.receive();
  assert.equal(answer.data, pattern(3000));
  assert.equal([answer.addr, answer.port], [SERVER, 53]);
  assertConserved(ctx, 0);
});

test('readers are served in turn, each with one datagram', async () => {
  const { open } = bench();
  const s = open();
  s.bind(SERVER, 53);
  const both = Promise.all([s.receive(), s.receive()]);
  s.sendTo(pattern(1), SERVER, 53);
  s.sendTo(pattern(2), SERVER, 53);
  s.sendTo(pattern(3), SERVER, 53);
  assert.equal(
    (await both).map((d) => d.data.length),
    [1, 2],
  );
  assert.is(s.tryReceive()?.data.length, 3);
  assert.is(s.tryReceive(), null);
});

test('what was received stays as it is when its frame is used again', async () => {
  const { open } = bench();
  const s = open();
  s.bind(SERVER, 53);
  s.sendTo(pattern(50), SERVER, 53);
  const first = await s.receive();
  s.sendTo(pattern(50, 99), SERVER, 53);
  await s.receive();
  assert.equal(first.data, pattern(50));
});

test('a closed port answers with unreachable', () => {
  const { ctx, errors, open } = bench();
  open().sendTo(pattern(5), SERVER, 53);
  assert.equal(errors, [3]);
  assertConserved(ctx, 0);
});

test('close rejects readers, drops what waits, and ends the socket', async () => {
  const { ctx, open } = bench();
  const s = open();
  s.bind(SERVER, 53);
  const waiting = rejection(s.receive());
  s.close();
  s.close();
  assert.ok(failsWith('CLOSED')(await waiting));
  assert.ok(failsWith('CLOSED')(await rejection(s.receive())));
  assert.throws(() => s.sendTo(pattern(1), SERVER, 53), failsWith('CLOSED'));
  assert.throws(() => s.bind(), failsWith('CLOSED'));
  const t = open();
  t.bind(SERVER, 53);
  t.sendTo(pattern(1), SERVER, 53);
  assertConserved(ctx, 1);
  t.close();
  assertConserved(ctx, 0);
});

test('bind says why it cannot', () => {
  const { open } = bench();
  open().bind(SERVER, 53);
  assert.throws(() => open().bind(SERVER, 53), failsWith('ADDRESS_IN_USE'));
  assert.throws(() => open().bind(0x08080808, 53), failsWith('ADDRESS_NOT_LOCAL'));
});

test('a datagram that cannot leave throws, naming the reason', () => {
  const { open, dropAll } = bench();
  const s = open();
  assert.throws(() => s.sendTo(new Uint8Array(65508), SERVER, 53), failsWith('NOT_SENT'));
  dropAll(POOL_EMPTY);
  assert.throws(() => s.sendTo(pattern(1), SERVER, 53), /No free frame/);
});

test.run();

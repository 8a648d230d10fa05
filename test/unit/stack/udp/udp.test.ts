import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Context } from '../../../../stack/context.ts';
import {
  IP_NO_ROUTE,
  OVERSIZE,
  POOL_EMPTY,
  PORT_CLOSED,
  UDP_CHECKSUM,
  UDP_MALFORMED,
  UDP_NO_PORT,
  UDP_QUEUE_FULL,
} from '../../../../stack/drop.ts';
import { F_CSUM_PARTIAL, F_CSUM_VALID } from '../../../../stack/mem/frame-pool.ts';
import { finishChecksum } from '../../../../stack/netif/gso.ts';
import type { FrameId, Verdict } from '../../../../stack/types.ts';
import { UdpInput } from '../../../../stack/udp/input.ts';
import { EPHEMERAL_FIRST, type UdpSocket, UdpSockets } from '../../../../stack/udp/socket.ts';
import { DELIVERED, DROP, STOLEN } from '../../../../stack/verdict.ts';
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
import { naiveChecksum } from '../../../lib/naive-checksum.ts';

/** The UDP datagram as bytes; checksum as given, else a right one. */
function datagram(
  from: number,
  to: number,
  data: Uint8Array,
  checksum?: number,
  src = CLIENT,
  dst = SERVER,
): Uint8Array {
  const bytes = new Uint8Array(8 + data.length);
  const v = new DataView(bytes.buffer);
  v.setUint16(0, from);
  v.setUint16(2, to);
  v.setUint16(4, bytes.length);
  bytes.set(data, 8);
  v.setUint16(6, checksum ?? (naiveChecksum(withPseudo(bytes, src, dst)) || 0xffff));
  return bytes;
}

function withPseudo(bytes: Uint8Array, src: number, dst: number): Uint8Array {
  const all = new Uint8Array(12 + bytes.length);
  const v = new DataView(all.buffer);
  v.setInt32(0, src);
  v.setInt32(4, dst);
  v.setUint16(8, 17);
  v.setUint16(10, bytes.length);
  all.set(bytes, 12);
  return all;
}

interface Sent {
  src: number;
  dst: number;
  proto: number;
  df: boolean;
  bytes: Uint8Array;
}

function bench(outcome: Verdict = DELIVERED, slots = 512, bigSlots = 4) {
  const ctx = makeContext(slots, bigSlots);
  const sent: Sent[] = [];
  const errors: number[][] = [];
  const output = {
    output(f: FrameId, src: number, dst: number, proto: number, df: boolean) {
      assert.ok((ctx.pool.flags[f]! & F_CSUM_PARTIAL) !== 0);
      finishChecksum(ctx.pool, f);
      sent.push({ src, dst, proto, df, bytes: bytesOf(ctx, f) });
      return outcome;
    },
  };
  const addrs = {
    isLocal: (a: number) => a === SERVER,
    sourceTowards: (dst: number) => (dst === CLIENT ? SERVER : 0),
  };
  const sockets = new UdpSockets(ctx, output, addrs);
  const error = {
    send(_f: FrameId, type: number, code: number, rest: number) {
      errors.push([type, code, rest]);
      return true;
    },
  };
  const input = new UdpInput(ctx, sockets, error);
  const give = (payload: Uint8Array, dst = SERVER, flags = 0): Verdict => {
    const f = receiveL4(ctx, ipv4Packet({ payload, dst }), flags);
    const verdict = input.input(f);
    ctx.settle(f, verdict);
    return verdict;
  };
  const bound = (addr: number, port: number): UdpSocket => {
    const s = sockets.create();
    assert.ok(sockets.bind(s, addr, port));
    return s;
  };
  return { ctx, sent, errors, sockets, input, give, bound };
}

/** Takes one datagram and returns its data, or null. */
function read(ctx: Context, s: UdpSocket): number[] | null {
  const f = s.take();
  if (f === 0) return null;
  const data = [...ctx.pool.buf.slice(s.dataOff, s.dataOff + s.dataLen)];
  s.done(f);
  return data;
}

test('a datagram reaches its socket with peer, local address and data', () => {
  const { ctx, give, bound } = bench();
  const s = bound(0, 53);
  assert.is(give(datagram(4000, 53, pattern(10))), STOLEN);
  assertConserved(ctx, 1);
  assert.is(s.queued, 1);
  assert.equal(read(ctx, s), [...pattern(10)]);
  assert.equal([s.fromAddr, s.fromPort, s.toAddr], [CLIENT, 4000, SERVER]);
  assert.is(read(ctx, s), null);
  assert.is(s.queuedBytes, 0);
  assertConserved(ctx, 0);
});

test('datagrams are read in the order of arrival, empty ones too', () => {
  const { ctx, give, bound } = bench();
  const s = bound(0, 53);
  for (const n of [3, 0, 1]) give(datagram(1, 53, pattern(n)));
  assert.equal([read(ctx, s), read(ctx, s), read(ctx, s), read(ctx, s)], [[0, 31, 62], [], [0], null]);
});

test('a queue that was emptied takes datagrams again', () => {
  const { ctx, give, bound } = bench();
  const s = bound(0, 53);
  for (const n of [1, 2, 3]) {
    give(datagram(1, 53, pattern(n)));
    assert.is(read(ctx, s)?.length, n);
  }
  assertConserved(ctx, 0);
});

test('padding behind the datagram is not data', () => {
  const { ctx, give, bound } = bench();
  const s = bound(0, 53);
  const padded = new Uint8Array(30);
  padded.set(datagram(1, 53, pattern(3)));
  give(padded);
  assert.equal(read(ctx, s), [0, 31, 62]);
});

test('an exact address goes before the wildcard', () => {
  const { give, bound } = bench();
  const any = bound(0, 53);
  const exact = bound(SERVER, 53);
  const other = bound(SERVER + 1, 53);
  give(datagram(1, 53, pattern(1)));
  assert.equal([any.queued, exact.queued, other.queued], [0, 1, 0]);
  give(datagram(1, 53, pattern(1), 0), SERVER + 7);
  assert.equal([any.queued, exact.queued, other.queued], [1, 1, 0]);
});

test('a port without socket is answered with port unreachable', () => {
  const { ctx, errors, give, bound } = bench();
  bound(SERVER + 1, 53);
  bound(0, 54);
  assert.is(give(datagram(1, 53, pattern(1))), DROP | UDP_NO_PORT);
  assert.equal(errors, [[3, 3, 0]]);
  assertConserved(ctx, 0);
});

test('a truncated datagram is dropped without answer, at every length', () => {
  const { errors, give, bound } = bench();
  bound(0, 53);
  const whole = datagram(1, 53, pattern(9));
  for (let n = 0; n < whole.length; n++) assert.is(give(whole.slice(0, n)), DROP | UDP_MALFORMED);
  assert.is(give(whole), STOLEN);
  assert.equal(errors, []);
});

test('a wrong checksum is dropped without answer, also for a closed port', () => {
  const { errors, give, bound } = bench();
  bound(0, 53);
  const wrong = new DataView(datagram(1, 53, pattern(9)).buffer).getUint16(6) ^ 0x0100;
  assert.is(give(datagram(1, 53, pattern(9), wrong)), DROP | UDP_CHECKSUM);
  assert.is(give(datagram(1, 99, pattern(9), wrong)), DROP | UDP_CHECKSUM);
  assert.equal(errors, []);
});

test('no checksum, a verified one and a partial one are accepted as they are', () => {
  const { give, bound } = bench();
  bound(0, 53);
  assert.is(give(datagram(1, 53, pattern(9), 0)), STOLEN);
  assert.is(give(datagram(1, 53, pattern(9), 1), SERVER, F_CSUM_VALID), STOLEN);
  assert.is(give(datagram(1, 53, pattern(9), 1), SERVER, F_CSUM_PARTIAL), STOLEN);
});

test('a full queue drops: by frames', () => {
  const { ctx, give, bound } = bench();
  const s = bound(0, 53);
  s.queueFrames = 3;
  for (let i = 0; i < 3; i++) assert.is(give(datagram(1, 53, pattern(9))), STOLEN);
  assert.is(give(datagram(1, 53, pattern(9))), DROP | UDP_QUEUE_FULL);
  assertConserved(ctx, 3);
  read(ctx, s);
  assert.is(give(datagram(1, 53, pattern(9))), STOLEN);
});

test('a full queue drops: by pinned bytes', () => {
  const { ctx, give, bound } = bench();
  const s = bound(0, 53);
  s.queueBytes = 69632 + 2048;
  assert.is(give(datagram(1, 53, pattern(5000))), STOLEN);
  assert.is(give(datagram(1, 53, pattern(5000))), DROP | UDP_QUEUE_FULL);
  assert.is(give(datagram(1, 53, pattern(5))), STOLEN);
  assert.is(give(datagram(1, 53, pattern(5))), DROP | UDP_QUEUE_FULL);
  assert.is(s.queuedBytes, 69632 + 2048);
  assertConserved(ctx, 2);
});

test('closing drops what waits and frees the port for others', () => {
  const { ctx, sockets, give, bound } = bench();
  const a = bound(SERVER, 53);
  const b = bound(0, 53);
  const c = bound(SERVER + 1, 53);
  give(datagram(1, 53, pattern(9)));
  give(datagram(1, 53, pattern(9)));
  assert.is(sockets.held, 2);
  sockets.close(a);
  assert.is(ctx.drops[PORT_CLOSED], 2);
  assert.is(sockets.held, 0);
  give(datagram(1, 53, pattern(9)));
  assert.is(b.queued, 1);
  sockets.close(b);
  assert.is(sockets.find(SERVER, 53), null);
  assert.is(sockets.find(SERVER + 1, 53), c);
  sockets.close(c);
  sockets.close(c);
  assertConserved(ctx, 0);
  bound(SERVER, 53);
});

test('whichever of three sockets on a port is closed, the others stay', () => {
  for (const gone of [0, 1, 2]) {
    const { sockets, bound } = bench();
    const all = [0, 1, 2].map((i) => bound(SERVER + i, 53));
    sockets.close(all[gone]!);
    for (const i of [0, 1, 2]) assert.is(sockets.find(SERVER + i, 53), i === gone ? null : all[i]);
  }
});

test('one address and port serve one socket', () => {
  const { sockets, bound } = bench();
  bound(0, 53);
  bound(SERVER, 53);
  const s = sockets.create();
  assert.not(sockets.bind(s, 0, 53));
  assert.not(sockets.bind(s, SERVER, 53));
  assert.is(s.port, 0);
  assert.ok(sockets.bind(s, SERVER, 54));
  assert.throws(() => sockets.bind(s, SERVER, 55));
});

test('ephemeral ports are free, in range, and not in sequence', () => {
  const { bound } = bench();
  const ports = Array.from({ length: 200 }, () => bound(0, 0).port);
  assert.is(new Set(ports).size, 200);
  assert.ok(ports.every((p) => p >= EPHEMERAL_FIRST && p <= 65535));
  const steps = ports.slice(1).filter((p, i) => Math.abs(p - ports[i]!) < 10).length;
  assert.ok(steps < 5, `${steps} of 199 are near the one before`);
});

test('the last free ephemeral port is found, then none', () => {
  const { sockets, bound } = bench();
  for (let port = EPHEMERAL_FIRST; port <= 65535; port++) if (port !== 40_000) bound(SERVER, port);
  assert.is(bound(0, 0).port, 40_000);
  assert.not(sockets.bind(sockets.create(), 0, 0));
});

test('a datagram is sent from the bound port, with a right checksum', () => {
  const { ctx, sent, sockets, bound } = bench();
  for (const s of [bound(0, 53), bound(SERVER, 54)]) {
    assert.is(sockets.send(s, pattern(101), CLIENT, 4000), 0);
    const { bytes, ...way } = sent.pop()!;
    assert.equal(way, { src: SERVER, dst: CLIENT, proto: 17, df: false });
    assert.equal(bytes, datagram(s.port, 4000, pattern(101), undefined, SERVER, CLIENT));
  }
  assertConserved(ctx, 0);
});

test('the largest datagram is sent in a big frame, one byte more is refused', () => {
  const { ctx, sent, sockets, bound } = bench();
  const s = bound(0, 53);
  assert.is(sockets.send(s, pattern(65507), CLIENT, 4000), 0);
  assert.is(sent[0]!.bytes.length, 65515);
  assert.is(naiveChecksum(withPseudo(sent[0]!.bytes, SERVER, CLIENT)), 0);
  assert.is(sockets.send(s, pattern(65508), CLIENT, 4000), OVERSIZE);
  assertConserved(ctx, 0);
});

test('each size around that of a small frame is sent whole', () => {
  const { sent, sockets, bound } = bench();
  const s = bound(0, 53);
  for (let n = 1870; n < 1885; n++) {
    sockets.send(s, pattern(n), CLIENT, 4000);
    assert.equal(sent.pop()!.bytes.slice(8), pattern(n));
  }
});

test('no route, no frame, and a drop below are told apart', () => {
  const a = bench();
  assert.is(a.sockets.send(a.bound(0, 53), pattern(1), 99, 1), IP_NO_ROUTE);
  assert.is(a.ctx.fate[1], 0);
  const b = bench(DELIVERED, 2, 1);
  const held = b.ctx.pool.alloc();
  assert.is(b.sockets.send(b.bound(0, 53), pattern(1), CLIENT, 1), POOL_EMPTY);
  b.ctx.pool.release(held);
  const c = bench(DROP | IP_NO_ROUTE);
  assert.is(c.sockets.send(c.bound(0, 53), pattern(1), CLIENT, 1), IP_NO_ROUTE);
  assert.is(c.ctx.drops[IP_NO_ROUTE], 1);
  assertConserved(c.ctx, 0);
});

test('an ICMP error about a datagram of ours reaches the socket that sent it', () => {
  const { ctx, input, bound } = bench();
  const s = bound(0, 5353);
  const seen: number[][] = [];
  s.onUnreachable = (...about) => seen.push(about);
  const report = (from: number): void => {
    const quoted = ipv4Packet({ src: SERVER, dst: CLIENT, payload: datagram(from, 53, new Uint8Array()) });
    ctx.pool.buf.set(quoted, 0);
    input.icmpError(3, 3, 0, 0, 20);
  };
  report(5353);
  report(5354);
  assert.equal(seen, [[CLIENT, 53, 3, 3]]);
});

test.run();

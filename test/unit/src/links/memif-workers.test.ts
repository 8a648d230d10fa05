/** memif with several queues and several workers: flows keep to their queue, and workers come, go and die while the others go on. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { MemifClient } from '../../../../src/links/memif-client.ts';
import { type MemifHandle, type MemifOptions, openMemif, sharePool } from '../../../../src/links/memif-open.ts';
import { MemifServer } from '../../../../src/links/memif-server.ts';
import { Context, FATE_RECEIVED } from '../../../../stack/context.ts';
import { TX_FULL } from '../../../../stack/drop.ts';
import { FramePool } from '../../../../stack/mem/frame-pool.ts';
import type { Device } from '../../../../stack/netif/device.ts';
import type { FrameId } from '../../../../stack/types.ts';
import { DELIVERED } from '../../../../stack/verdict.ts';
import { set16, set32 } from '../../../../stack/wire/bytes.ts';
import { assertConserved, newContext, SeededRandom, testFrame } from '../../../contract/device.ts';

const folder = mkdtempSync(join(tmpdir(), 'tsvs-memif-'));
let sockets = 0;

interface End {
  ctx: Context;
  device: Device;
}

/** The workers of one side. */
interface Side {
  readonly ends: End[];
  readonly handles: readonly MemifHandle[];
}

function open(role: MemifOptions['role'], queues: number, workers: number): Side {
  const ctxs = Array.from({ length: workers }, () => newContext());
  const pools = role === 'client' ? ctxs.map(({ pool }) => sharePool(pool)) : [];
  const path = join(folder, `sock${sockets}`);
  const options: MemifOptions = { path, role, id: 0, secret: '', queues, log2: 6, mtu: 1500 };
  const handles = openMemif(options, pools, workers);
  const ends = handles.map((handle, w) => {
    const ctx = ctxs[w]!;
    return { ctx, device: role === 'client' ? new MemifClient(ctx, handle) : new MemifServer(ctx, handle) };
  });
  return { ends, handles };
}

function turns(n: number, ...ends: End[]): void {
  for (let i = 0; i < n; i++) {
    for (const { ctx, device } of ends) {
      ctx.tick(ctx.now + 100_000);
      device.rx(new Int32Array(1), 0);
    }
  }
}

/** A UDP packet of a flow; its first payload byte is `seq`. */
function packet(ctx: Context, flow: number, seq: number): FrameId {
  const f = testFrame(ctx, 60, 1);
  const { buf, off } = ctx.pool;
  const at = off[f]!;
  set16(buf, at + 12, 0x0800);
  buf.set([0x45, 0, 0, 46, 0, 0, 0, 0, 64, 17], at + 14);
  set32(buf, at + 26, 0x0a000000 + flow);
  set32(buf, at + 30, 0x0a010001);
  set16(buf, at + 34, 1000 + flow);
  set16(buf, at + 36, 80);
  buf[at + 42] = seq;
  return f;
}

const send = ({ ctx, device }: End, ...frames: FrameId[]): number => {
  const n = device.tx(Int32Array.from(frames), 0, frames.length);
  for (const f of frames.slice(n)) ctx.settle(f, DELIVERED);
  return n;
};

/** What arrives, as [flow, seq]. */
function receive({ ctx, device }: End): [flow: number, seq: number][] {
  const out = new Int32Array(64);
  const n = device.rx(out, 64);
  ctx.fate[FATE_RECEIVED]! += n;
  return [...out.subarray(0, n)].map((f) => {
    const { buf, off } = ctx.pool;
    const got: [number, number] = [buf[off[f]! + 29]!, buf[off[f]! + 42]!];
    ctx.settle(f, DELIVERED);
    return got;
  });
}

function done(...sides: Side[]): void {
  for (const { ends } of sides) {
    for (const { ctx, device } of [...ends].reverse()) {
      device.close();
      assertConserved(ctx, device.name);
      assert.is(ctx.pool.inUse, 0, 'nothing is held');
      assert.is(ctx.pool.freeSmallCount, ctx.pool.config.slots - 1, 'every slot that was lent is back');
    }
  }
  sockets += 1;
}

test('one worker sends by all its queues: a flow by one of them, in order', () => {
  const server = open('server', 4, 4);
  const client = open('client', 4, 1);
  turns(20, ...server.ends, ...client.ends);
  const flows = 20;
  for (let seq = 0; seq < 5; seq++) {
    const burst = Array.from({ length: flows }, (_, flow) => packet(client.ends[0]!.ctx, flow, seq));
    assert.is(send(client.ends[0]!, ...burst), flows);
  }
  const got = server.ends.map(receive);
  assert.is(got.flat().length, flows * 5);
  for (let flow = 0; flow < flows; flow++) {
    const places = got.map((one) => one.filter(([which]) => which === flow).map(([, seq]) => seq));
    assert.equal(
      places.filter((seqs) => seqs.length > 0),
      [[0, 1, 2, 3, 4]],
      `flow ${flow}`,
    );
  }
  for (const one of got) assert.ok(one.length > 0, 'every queue is used');
  done(client, server);
});

test('a queue that nobody empties loses its own frames after a second, not those of the others, and is told of', () => {
  const server = open('server', 2, 2);
  const client = open('client', 2, 1);
  turns(20, ...server.ends, ...client.ends);
  const [c] = client.ends as [End];
  const [reader] = server.ends as [End];
  let passed = 0;
  const round = (): void => {
    for (let flow = 0; flow < 16; flow++) send(c, packet(c.ctx, flow, 0));
    passed += receive(reader).length;
  };
  for (let i = 0; i < 30; i++) {
    turns(1, c, reader);
    round();
  }
  assert.ok(c.ctx.drops[TX_FULL]! > 0);
  const before = passed;
  round();
  assert.ok(passed > before, 'the other queue goes on');
  assert.match(c.device.notice!, /nobody takes what is sent by queue 1 of 2/);
  done(client, server);
});

test('the next connection waits until every worker has parted with the last', () => {
  for (const role of ['client', 'server'] as const) {
    const side = open(role, 2, 2);
    const other = (): Side => open(role === 'client' ? 'server' : 'client', 2, 1);
    let peer = other();
    const [first, second] = side.ends as [End, End];
    turns(20, first, second, ...peer.ends);
    assert.ok(first.device.up && second.device.up && peer.ends[0]!.device.up);
    peer.ends[0]!.device.close();
    turns(2, first);
    peer = other();
    turns(20, first, ...peer.ends);
    assert.not(first.device.up || peer.ends[0]!.device.up, `${role}: the second has not seen it`);
    turns(20, first, second, ...peer.ends);
    assert.ok(first.device.up && second.device.up && peer.ends[0]!.device.up, role);
    assert.is(send(second, packet(second.ctx, 1, 7)), 1);
    assert.equal(receive(peer.ends[0]!), [[1, 7]]);
    done(peer, side);
  }
});

/** A worker that died: its thread is no more, and another one has its pool and handle. */
function reborn(side: Side, worker: number): End {
  const { ctx: before, device } = side.ends[worker]!;
  const ctx = new Context(FramePool.attach(before.pool.share, true), new SeededRandom(1));
  ctx.tick(before.now);
  const handle = side.handles[worker]!;
  const end = {
    ctx,
    device: device instanceof MemifClient ? new MemifClient(ctx, handle) : new MemifServer(ctx, handle),
  };
  side.ends[worker] = end;
  return end;
}

for (const worker of [0, 1]) {
  test(`worker ${worker} of a client dies: the connection stays, and what is in the rings stays whole`, () => {
    const server = open('server', 2, 2);
    const client = open('client', 2, 2);
    turns(20, ...server.ends, ...client.ends);
    const peer = server.ends[worker]!;
    const old = client.ends[worker]!;
    for (let seq = 0; seq < 40; seq++) send(old, packet(old.ctx, 1, seq));
    send(peer, packet(peer.ctx, 2, 0));
    const again = reborn(client, worker);
    assert.ok(again.device.up, 'at once');
    // Slots that the server still has to read are not given to anybody.
    const { pool } = again.ctx;
    const taken: FrameId[] = [];
    while (pool.freeSmallCount > 0) taken.push(again.ctx.create());
    for (const f of taken) pool.buf.fill(0xff, pool.base(f), pool.base(f) + 2048);
    assert.equal(
      receive(peer),
      Array.from({ length: 40 }, (_, seq) => [1, seq]),
    );
    for (const f of taken) again.ctx.settle(f, DELIVERED);
    for (let round = 0; round < 100; round++) {
      turns(1, ...client.ends);
      assert.is(send(again, packet(again.ctx, 3, round)), 1);
      assert.equal(receive(peer), [[3, round]]);
      assert.is(send(peer, packet(peer.ctx, 4, round)), 1);
      assert.equal(receive(again), [[4, round]]);
    }
    turns(3, ...client.ends, ...server.ends);
    assert.ok([...client.ends, ...server.ends].every(({ device }) => device.up));
    done(client, server);
  });

  test(`worker ${worker} of a server dies: the connection stays`, () => {
    const server = open('server', 2, 2);
    const client = open('client', 2, 2);
    turns(20, ...server.ends, ...client.ends);
    const again = reborn(server, worker);
    const peer = client.ends[worker]!;
    turns(3, ...client.ends, ...server.ends);
    assert.ok([...client.ends, ...server.ends].every(({ device }) => device.up));
    send(again, packet(again.ctx, 5, 1));
    assert.equal(receive(peer), [[5, 1]]);
    send(peer, packet(peer.ctx, 6, 2));
    assert.equal(receive(again), [[6, 2]]);
    done(client, server);
  });
}

test('what a client has no room for any more, though it just had, is dropped and counted', () => {
  const server = open('server', 2, 1);
  const client = open('client', 2, 1);
  turns(20, ...server.ends, ...client.ends);
  const { ctx, device } = server.ends[0]!;
  const { queues } = device as unknown as { queues: { toClient: { head(): number; tail(): number } }[] };
  for (const { toClient } of queues) {
    let asked = 0;
    const before = toClient.head();
    toClient.head = () => (asked++ === 0 ? before : toClient.tail());
  }
  const flows = Array.from({ length: 8 }, (_, flow) => packet(ctx, flow, 0));
  assert.is(send(server.ends[0]!, ...flows), 8);
  assert.is(ctx.drops[TX_FULL], 8);
  assert.equal(receive(client.ends[0]!), []);
  done(client, server);
});

test('a server wants a queue for each of its workers', () => {
  const server = open('server', 2, 2);
  const client = open('client', 1, 1);
  turns(20, ...server.ends, ...client.ends);
  assert.not(client.ends[0]!.device.up);
  assert.match(client.ends[0]!.device.notice!, /Too few queues: 2 workers need one each/);
  done(client, server);
});

test.after(() => rmSync(folder, { recursive: true }));
test.run();

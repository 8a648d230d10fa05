/** A flood of SYNs from addresses that never answer: what it costs, and what an honest client notices of it. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { FATE_SENT } from '../../stack/context.ts';
import type { Device } from '../../stack/netif/device.ts';
import * as sock from '../../stack/tcp/socket.ts';
import { END_NAMES } from '../../stack/tcp/state.ts';
import type { SocketOwner, Tcb } from '../../stack/tcp/tcb.ts';
import { seeded } from '../lib/random.ts';
import { segmentFrame } from '../lib/segment.ts';
import { ip, pair, Sim, type SimHost, SMALL_HOST } from '../lib/sim.ts';
import { checkFrames } from '../lib/tcp-laws.ts';
import { pattern } from '../lib/tcp-peer.ts';

const VICTIM = ip('10.0.0.1');
const CLIENT = ip('10.0.0.2');
const SYNS = 50_000;
const BACKLOG = 256;
const BYTES = 1_000_000;
const SEED = 42;

/** Sends `BYTES` and closes; or reads until the end. */
class End implements SocketOwner {
  received = 0;
  wrong = 0;
  readonly ends: string[] = [];
  private readonly h: SimHost;
  private sent: number;
  private readonly dst = new Uint8Array(65536);

  constructor(h: SimHost, toSend: number) {
    this.h = h;
    this.sent = BYTES - toSend;
  }

  onEstablished(tcb: Tcb): void {
    this.onWritable(tcb);
  }

  onWritable(tcb: Tcb): void {
    const { tcp } = this.h.host;
    while (this.sent < BYTES) {
      const piece = pattern(Math.min(8192, BYTES - this.sent), this.sent);
      const n = sock.write(tcp, tcb, piece, 0, piece.length);
      if (n === 0) return;
      this.sent += n;
    }
    sock.shutdown(tcp, tcb);
  }

  onReadable(tcb: Tcb): void {
    const { tcp } = this.h.host;
    while (sock.readable(tcb) > 0) {
      const n = sock.read(tcp, tcb, this.dst, 0, this.dst.length);
      for (let i = 0; i < n; i++) if (this.dst[i] !== ((this.received + i) % BYTES) % 251) this.wrong++;
      this.received += n;
    }
  }

  onFin(): void {}

  onClosed(_tcb: Tcb, end: number): void {
    this.ends.push(END_NAMES[end]!);
  }
}

/** A victim with one listener, a client with a whole stack, and the wire between them, which anybody may write on. */
function scene() {
  let wire: Device | undefined;
  const config = { ...SMALL_HOST, tcp: { ...SMALL_HOST.tcp, maxTimeWait: 64 } };
  const [victim, client] = pair(
    SEED,
    undefined,
    (device, _ctx, side) => {
      if (side === 1) wire = device;
      return device;
    },
    config,
  );
  victim.host.routes.add({ prefix: 0, len: 0, gateway: CLIENT, port: 1, metric: 0, src: 0, mtu: 0, scope: 0 });
  const server = new End(victim, 0);
  victim.host.tcp.listeners.add(VICTIM, 80, BACKLOG, server, 0);
  const sim = new Sim([victim, client]);
  const random = seeded(SEED);

  /** `n` SYNs from random sources reach the victim's wire. */
  const flood = (n: number): void => {
    for (let i = 0; i < n; i++) {
      const frame = segmentFrame({
        src: ip('198.18.0.0') | (random.next() & 0x1ffff),
        dst: VICTIM,
        sport: random.next() & 0xffff,
        dport: 80,
        seq: random.next(),
        ack: 0,
        flags: 'S',
        win: 1000,
        data: new Uint8Array(),
        mss: 1460,
        wscale: 7,
        ts: [random.next(), 0],
      });
      const { ctx } = client;
      const f = ctx.create();
      assert.ok(f !== 0);
      ctx.pool.buf.set(frame, ctx.pool.off[f]!);
      ctx.pool.len[f] = frame.length;
      if (wire!.tx(Int32Array.of(f), 0, 1) !== 1) ctx.settle(f, 0);
    }
  };
  return { victim, client, server, sim, flood };
}

test(`${SYNS} SYNs from nowhere: an honest client connects, transfers and closes all the same`, () => {
  const { victim, client, server, sim, flood } = scene();
  const { tcp } = victim.host;
  // A neighbour entry each way, before the flood fills what is behind it.
  sim.run(5);
  const sender = new End(client, BYTES);
  let mostBlocks = 0;
  let mostFrames = 0;
  let startedAt = 0;
  let finishedAt = 0;
  for (let sent = 0; sent < SYNS; sent += 50) {
    flood(50);
    if (startedAt === 0 && sent >= SYNS / 10) {
      startedAt = sent;
      assert.ok(client.host.tcp.connect(CLIENT, 0, VICTIM, 80, sender, 0) !== null);
    }
    // One turn each, so that flood and transfer mingle.
    victim.host.turn(sim.now);
    client.host.turn(sim.now);
    sim.now += 1000;
    mostBlocks = Math.max(mostBlocks, tcp.open);
    mostFrames = Math.max(mostFrames, victim.ctx.pool.inUse);
    if (finishedAt === 0 && server.received === BYTES) finishedAt = sent;
    checkFrames(victim, false);
  }
  assert.ok(finishedAt > startedAt, 'the transfer is over before the flood is');
  assert.is(server.wrong, 0);
  assert.equal(sender.ends, ['normal']);
  assert.ok(mostBlocks <= BACKLOG + 1, `${mostBlocks} control blocks`);
  assert.ok(mostFrames < 1000, `${mostFrames} frames`);
  assert.ok(tcp.stats.cookiesSent > SYNS * 0.98, `${tcp.stats.cookiesSent} cookies`);
  assert.is(tcp.stats.cookiesAccepted, 1);
  assert.is(tcp.stats.listenDrops, 0);
  const sentBefore = victim.ctx.fate[FATE_SENT]!;

  // The flood is over: half-open connections go within 7 s, and the next client needs no cookie.
  sim.run(8_000);
  assert.is(tcp.listeners.halfOpen, 0);
  const again = victim.ctx.fate[FATE_SENT]! - sentBefore;
  assert.ok(again <= BACKLOG * 3, `${again} SYN-ACKs again`);
  const { cookiesSent } = tcp.stats;
  const second = new End(client, BYTES);
  assert.ok(client.host.tcp.connect(CLIENT, 0, VICTIM, 80, second, 0) !== null);
  assert.ok(sim.run(5_000, () => server.received === 2 * BYTES));
  assert.is(server.wrong, 0);
  assert.is(tcp.stats.cookiesSent, cookiesSent);
  console.log(
    `  ${cookiesSent} cookies, at most ${mostBlocks} blocks and ${mostFrames} frames; transfer took ` +
      `${finishedAt - startedAt} SYNs; ${again} SYN-ACKs repeated afterwards`,
  );
});

test.run();

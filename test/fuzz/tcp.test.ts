/**
 * Hostile segments into the input path: random ones, and valid ones of live connections with fields, options, lengths
 * and bytes changed. Whatever comes: nothing throws, every frame is accounted for, every control block is sound and in
 * a legal state, and the host goes on serving. `FUZZ_FRAMES` sets the number of frames, `FUZZ_SEED` the seed.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import * as sock from '../../stack/tcp/socket.ts';
import { STATE_NAMES } from '../../stack/tcp/state.ts';
import type { SocketOwner, Tcb } from '../../stack/tcp/tcb.ts';
import { naiveChecksum } from '../lib/naive-checksum.ts';
import { seeded } from '../lib/random.ts';
import { etherFrame, ipPacket, type Segment, segmentFrame, tcpBytes } from '../lib/segment.ts';
import { HOST, PEER, pattern, TcpRig } from '../lib/tcp-peer.ts';

const FRAMES = Number(process.env['FUZZ_FRAMES'] ?? 200_000);
const SEED = Number(process.env['FUZZ_SEED'] ?? 20_261);

const random = seeded(SEED);
const below = (n: number): number => (random.next() >>> 0) % n;
const chance = (percent: number): boolean => below(100) < percent;
const pick = <T>(list: readonly T[]): T => list[below(list.length)]!;

/** Serves and misbehaves: reads, writes, closes and aborts as it pleases. */
class Owner implements SocketOwner {
  readonly rig: TcpRig;
  readonly open = new Set<Tcb>();
  ended = 0;
  private readonly buf = new Uint8Array(4096);

  constructor(rig: TcpRig) {
    this.rig = rig;
  }

  onEstablished(tcb: Tcb): void {
    assert.not(this.open.has(tcb), 'established once');
    this.open.add(tcb);
  }
  onReadable(tcb: Tcb): void {
    if (chance(80)) while (sock.read(this.rig.host.tcp, tcb, this.buf, 0, 4096) > 0);
    this.act(tcb);
  }
  onWritable(tcb: Tcb): void {
    this.act(tcb);
  }
  onFin(tcb: Tcb): void {
    if (chance(50)) sock.shutdown(this.rig.host.tcp, tcb);
  }
  onClosed(tcb: Tcb): void {
    this.open.delete(tcb);
    this.ended++;
  }

  act(tcb: Tcb): void {
    const { tcp } = this.rig.host;
    const dice = below(100);
    if (dice < 40) sock.write(tcp, tcb, pattern(3000), 0, 1 + below(3000));
    else if (dice < 60) sock.read(tcp, tcb, this.buf, 0, 1 + below(4096));
    else if (dice < 66) sock.shutdown(tcp, tcb);
    else if (dice < 67) sock.close(tcp, tcb);
    else if (dice < 68) sock.abort(tcp, tcb);
    else if (dice < 72) {
      const to = [...this.open][below(this.open.size)];
      if (to !== undefined && to !== tcb) sock.move(tcp, tcb, to);
    }
  }
}

const FLAGS = [
  ...Array<string>(20).fill('A'),
  ...Array<string>(4).fill('FA'),
  ...['PA', 'PA', 'S', 'R', 'RA', 'SA', 'SA', 'F', '', 'SFRPAU', 'SF', 'UA', 'AEC'],
];

/** Numbers near those that matter to `tcb`. */
function near(base: number): number {
  return (base + pick([0, 0, 0, 0, 1, -1, below(3000), -below(3000), below(1 << 20), random.next()])) | 0;
}

function hostile(rig: TcpRig, ports: readonly number[]): Uint8Array {
  const blocks = rig.host.tcp.blocks.filter((b): b is Tcb => b !== null && b.state !== 0);
  const tcb = blocks.length > 0 && chance(85) ? pick(blocks) : null;
  const tsVal = tcb === null ? random.next() : near(tcb.tsRecent);
  const s: Segment = {
    src: PEER,
    dst: HOST,
    sport: tcb?.rport ?? 40000 + below(20),
    dport: tcb?.lport ?? pick(ports),
    seq: tcb === null ? random.next() : near(tcb.rcvNxt),
    ack: tcb === null ? random.next() : near(pick([tcb.sndUna, tcb.sndNxt])),
    flags: tcb === null ? pick(['S', 'S', 'S', 'A', 'SA', 'R', 'FA']) : pick(FLAGS),
    win: pick([0, 1, 100, 65535, below(65536)]),
    data: chance(60) ? pattern(below(1200)) : new Uint8Array(),
    ...(chance(15) && { mss: pick([0, 1, 64, 536, 1460, 65535]) }),
    ...(chance(15) && { wscale: below(256) }),
    ...(chance(15) && { sackOk: true }),
    ...((tcb?.tsOk || chance(10)) && {
      ts: [tsVal, tcb === null ? random.next() : near((rig.ctx.nowMs + tcb.tsOffset) | 0)] as const,
    }),
  };
  if (tcb !== null && chance(25) && s.mss === undefined && s.wscale === undefined && !s.sackOk) {
    s.sack = Array.from({ length: 1 + below(2) }, () => [near(tcb.sndUna), near(tcb.sndNxt)] as const);
  }
  if (chance(80)) return segmentFrame(s);
  // Bytes changed anywhere in the TCP header, and the end cut off; the checksum is right all the same.
  let t = tcpBytes(s);
  for (let n = 1 + below(3); n > 0; n--) t[below(Math.min(t.length, 60))] = random.next();
  if (chance(30)) t = t.slice(0, below(t.length + 1));
  if (t.length >= 18) {
    t[16] = t[17] = 0;
    const all = new Uint8Array(12 + t.length);
    const v = new DataView(all.buffer);
    v.setInt32(0, PEER);
    v.setInt32(4, HOST);
    v.setUint16(8, 6);
    v.setUint16(10, t.length);
    all.set(t, 12);
    if (chance(95)) new DataView(t.buffer).setUint16(16, naiveChecksum(all));
  }
  return etherFrame(ipPacket(PEER, HOST, 6, t));
}

test(`${FRAMES} hostile frames, seed ${SEED}`, () => {
  const rig = new TcpRig({
    seed: SEED,
    tcp: { maxConnections: 24, maxTimeWait: 6, maxSegments: 512, rcvBuf: 20_000, sndBuf: 20_000 },
    pool: { slots: 512, slotBytes: 2048, bigSlots: 8, bigSlotBytes: 69632 },
  });
  rig.ignoreStrangers = true;
  const owner = new Owner(rig);
  const ports = [80, 81];
  const { tcp } = rig.host;
  for (const port of ports) tcp.listeners.add(HOST, port, 8, owner, 0);
  const seen = new Set<string>();
  let frames = 0;
  while (frames < FRAMES) {
    for (let burst = 1 + below(24); burst > 0; burst--, frames++) rig.inject(hostile(rig, ports));
    if (chance(3)) tcp.connect(HOST, 0, PEER, 9000 + below(4), owner, 0);
    for (const tcb of owner.open) if (chance(5)) owner.act(tcb);
    rig.pump();
    if (chance(20)) rig.advance(below(50));
    if (chance(1)) rig.advance(below(5000));
    for (const tcb of tcp.blocks) {
      if (tcb === null) continue;
      assert.ok(tcb.state >= 0 && tcb.state <= 8, `state ${tcb.state}`);
      seen.add(STATE_NAMES[tcb.state]!);
    }
    rig.sent.length = 0;
  }
  for (const state of STATE_NAMES) if (state !== 'TIME-WAIT') assert.ok(seen.has(state), `${state} was reached`);
  // Half-open connections time out, the others are closed: then nothing is left, and the host still serves.
  rig.advance(70_000);
  for (const tcb of [...owner.open]) sock.abort(tcp, tcb);
  rig.advance(200_000);
  rig.sent.length = 0;
  rig.assertEmpty();
  assert.is(tcp.timeWait.size, 0);
  const c = rig.talk(80, 39999);
  c.open({ mss: 1460 });
  console.log(
    `  ${frames} frames, seed ${SEED}: ${tcp.stats.passiveOpens} passive and ${tcp.stats.activeOpens} active opens, ` +
      `${owner.ended} ends, ${tcp.stats.estabResets} resets, ${tcp.stats.challengeAcks} challenges`,
  );
});

test.run();

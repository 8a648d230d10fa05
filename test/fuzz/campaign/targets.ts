/** What a campaign is aimed at: a host with sockets, the proxy, the layer-4 director in each of its modes. */
import * as assert from 'uvu/assert';
import type { Context } from '../../../stack/context.ts';
import { DROP_REASONS } from '../../../stack/drop.ts';
import type { Host } from '../../../stack/host.ts';
import { BalancedNetwork, CLIENT as PROXY_CLIENT, VIP as PROXY_VIP, server } from '../../lib/balancer.ts';
import { MODE_NAMES, type ModeName } from '../../lib/l4-net.ts';
import * as l4rig from '../../lib/l4-rig.ts';
import { ip, makeHost, outstanding, SMALL_HOST } from '../../lib/sim.ts';
import { checkBlock } from '../../lib/tcp-laws.ts';
import { Application } from './application.ts';
import type { Dice } from './dice.ts';
import { FuzzPort } from './port.ts';
import { type Ends, Recent } from './source.ts';

export interface Target {
  readonly name: string;
  readonly ends: Ends;
  readonly sent: Recent;
  readonly ctx: Context;
  /** A burst arrives and is worked off. */
  burst(packets: readonly Uint8Array[]): void;
  /** Nothing arrives for so long. */
  rest(ms: number): void;
  /** What must hold whenever the target rests; throws. */
  check(): void;
  /** Waits until everything has run out, and makes sure that nothing is left. */
  finish(): void;
}

const PEERS = [ip('10.0.0.2'), ip('10.0.0.3'), ip('10.0.0.4')];
const SMALL_POOL = { slots: 1024, slotBytes: 2048, bigSlots: 8, bigSlotBytes: 69632 };

/** Time passes in steps that no timer of a second's order is lost in. */
function letPass(host: Host, from: number, ms: number): number {
  const end = from + ms * 1000;
  let now = from;
  while (now < end) {
    now = Math.min(now + Math.max(host.nextDue(1000), 1) * 1000, end);
    host.turn(now);
  }
  return now;
}

const conserved = (ctx: Context): void =>
  assert.is(outstanding(ctx), ctx.pool.inUse, 'received + created = sent + delivered + dropped + in use');

/** Books of the host: who holds which frame, and each control block. */
function sound(host: Host, ctx: Context): void {
  conserved(ctx);
  const held = Object.values(host.held()).reduce((a, b) => a + b, 0);
  assert.is(held, ctx.pool.inUse, 'frames in use are held by somebody');
  for (const tcb of host.tcp.blocks) if (tcb !== null) checkBlock(host, tcb);
}

/** A host with two TCP listeners, a UDP socket, echo and reassembly. */
export class HostTarget implements Target {
  readonly name = 'host';
  readonly ends: Ends = { clients: PEERS, targets: [ip('10.0.0.1')], ports: [80, 80, 81, 53, 9] };
  readonly sent = new Recent();
  readonly ctx: Context;
  private readonly host: Host;
  private readonly port: FuzzPort;
  private readonly application: Application;
  private now = 5_000_000;

  constructor(dice: Dice) {
    const tcp = {
      maxConnections: 48,
      maxTimeWait: 16,
      maxSegments: 1024,
      rcvBuf: 20_000,
      sndBuf: 20_000,
      maxHalfOpen: 24,
    };
    const config = { ...SMALL_HOST, tcp: { ...SMALL_HOST.tcp, ...tcp, ecn: 'on' as const, userTimeoutMs: 60_000 } };
    const made = makeHost(dice.word(), config, SMALL_POOL);
    this.host = made.host;
    this.ctx = made.ctx;
    this.ctx.tick(this.now);
    this.port = new FuzzPort(this.ctx, [2, 0, 0, 0, 0, 1], this.sent);
    const port = this.host.addPort(this.port, 0x0200, 1);
    this.host.addresses.add({ addr: this.ends.targets[0]!, prefixLen: 24, port: port.id, flags: 1 });
    for (const addr of PEERS) this.host.neigh.nud.setStatic(addr, port.id, 0x0200, 2);
    this.application = new Application(this.host, dice, this.ends.targets[0]!, PEERS);
  }

  burst(packets: readonly Uint8Array[]): void {
    for (const p of packets) this.port.give(p);
    this.application.act();
    this.now += 300;
    while (this.host.turn(this.now) > 0);
    conserved(this.ctx);
  }

  rest(ms: number): void {
    this.now = letPass(this.host, this.now, ms);
  }

  check(): void {
    sound(this.host, this.ctx);
  }

  finish(): void {
    this.application.stop();
    this.rest(400_000);
    sound(this.host, this.ctx);
    assert.is(this.host.tcp.open, 0, 'control blocks are left');
    assert.is(this.host.tcp.segments.used, 0, 'segment descriptors are left');
    assert.is(this.host.tcp.timeWait.size, 0, 'TIME_WAIT rows are left');
    assert.is(this.ctx.pool.inUse, 0, `frames are left: ${JSON.stringify(this.host.held())}`);
  }
}

/** The TCP proxy, clients and servers being the fuzzer. */
export class ProxyTarget implements Target {
  readonly name = 'proxy';
  readonly ends: Ends = {
    clients: [PROXY_CLIENT, server(0), server(1)],
    targets: [PROXY_VIP],
    ports: [80, 80, 80, 81],
  };
  readonly sent = new Recent();
  readonly ctx: Context;
  private readonly net: BalancedNetwork;
  private readonly host: Host;
  private port!: FuzzPort;
  private now = 5_000_000;

  constructor(dice: Dice) {
    const timeouts = { connectMs: 3000, clientMs: 20_000, serverMs: 20_000, finMs: 5000 };
    this.net = new BalancedNetwork({
      seed: dice.word(),
      maxSessions: 64,
      service: { timeouts },
      wrap: (_device, ctx) => (this.port = new FuzzPort(ctx, [2, 0, 0, 0, 0, 10], this.sent)),
    });
    this.ctx = this.net.ctx;
    this.host = this.net.balancer.host;
    for (const addr of this.ends.clients) this.host.neigh.nud.setStatic(addr, 1, 0x0200, 2);
  }

  burst(packets: readonly Uint8Array[]): void {
    for (const p of packets) this.port.give(p);
    this.now += 300;
    while (this.host.turn(this.now) > 0);
    conserved(this.ctx);
  }

  rest(ms: number): void {
    this.now = letPass(this.host, this.now, ms);
  }

  check(): void {
    sound(this.host, this.ctx);
  }

  finish(): void {
    this.rest(400_000);
    sound(this.host, this.ctx);
    const { proxy, dests } = this.net.balancer;
    assert.is(proxy.open, 0, 'sessions are left');
    assert.is(
      proxy.stats.accepted,
      proxy.stats.finished + proxy.stats.tableFull,
      'each client was served or turned away',
    );
    assert.is(this.host.tcp.open, 0, 'control blocks are left');
    assert.is(this.host.tcp.segments.used, 0, 'segment descriptors are left');
    assert.is(this.ctx.pool.inUse, 0, `frames are left: ${JSON.stringify(this.host.held())}`);
    for (const i of [0, 1]) {
      const id = dests.find(1, server(i), 80);
      assert.is(dests.activeConns[id]! + dests.inactConns[id]!, 0, 'connections are counted at a server');
    }
  }
}

/** The layer-4 director. */
export class DirectorTarget implements Target {
  readonly name: string;
  readonly ends: Ends = {
    clients: [l4rig.CLIENT, l4rig.CLIENT, l4rig.SERVER],
    targets: [l4rig.VIP, l4rig.VIP, l4rig.VIP, l4rig.LOCAL, l4rig.DIRECTOR],
    ports: [l4rig.VPORT, l4rig.VPORT, l4rig.VPORT, 8080, 53],
  };
  readonly sent = new Recent();
  readonly ctx: Context;
  private readonly rig: l4rig.L4Rig;

  constructor(mode: ModeName, udp: boolean) {
    this.name = `${mode.toLowerCase()}-${udp ? 'udp' : 'tcp'}`;
    this.rig = new l4rig.L4Rig({ mode, udp });
    this.rig.judging = false;
    this.ctx = this.rig.ctx;
  }

  burst(packets: readonly Uint8Array[]): void {
    for (const p of packets) for (const { ip: sent } of this.rig.feed(p)) this.sent.noteSent(sent);
    this.rig.fates.length = 0;
  }

  rest(ms: number): void {
    for (let left = ms; left > 0; left -= 1000) this.rig.step(Math.min(left, 1000) * 1000);
    this.rig.fates.length = 0;
  }

  check(): void {
    conserved(this.ctx);
    const held = Object.values(this.rig.host.held()).reduce((a, b) => a + b, 0);
    assert.is(held, this.ctx.pool.inUse, 'frames in use are held by somebody');
  }

  finish(): void {
    const { l4 } = this.rig;
    for (let s = 0; s < 4000 && l4.tcp.size() + l4.udp.size() > 0; s++) this.rest(1000);
    this.rest(100_000);
    assert.is(l4.tcp.size() + l4.udp.size(), 0, 'connections are left');
    assert.is(this.ctx.pool.inUse, 0, `frames are left: ${JSON.stringify(this.rig.host.held())}`);
  }
}

/** How to make each target, by name. */
export const TARGETS: ReadonlyMap<string, (dice: Dice) => Target> = new Map<string, (dice: Dice) => Target>([
  ['host', (dice) => new HostTarget(dice)],
  ['proxy', (dice) => new ProxyTarget(dice)],
  ...MODE_NAMES.flatMap((mode) =>
    [false, true].map(
      (udp) => [`${mode.toLowerCase()}-${udp ? 'udp' : 'tcp'}`, () => new DirectorTarget(mode, udp)] as const,
    ),
  ),
]);

/** Drops by reason, most first: shows that a campaign reaches everything. */
export const dropsOf = (ctx: Context): string =>
  DROP_REASONS.map((r, i) => [r.name, ctx.drops[i]!] as const)
    .filter(([, n]) => n > 0)
    .sort((a, b) => b[1] - a[1])
    .map(([name, n]) => `${name} ${n}`)
    .join(', ');

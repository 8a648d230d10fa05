/**
 * Our side of a soak: one frame pool for the whole run, and for each round a TAP, the layers around it and a stack.
 *
 * ```
 *  Host -> Fault -> Observer -> PcapWriter -> TapDevice -> kernel
 * ```
 *
 * The capture has what was on the wire: what we sent as it was damaged, what the kernel sent before it was; frames that faults
 * took from it are there again, with a comment.
 */
import { spawnSync } from 'node:child_process';
import { performance } from 'node:perf_hooks';
import { TapDevice } from '../../src/links/tap.ts';
import { openTap } from '../../src/links/tap-open.ts';

import { realClock } from '../../src/workers/clock.ts';
import { PollWaiter } from '../../src/workers/poll.ts';
import { SeededRandom } from '../../src/workers/seeded.ts';
import { Context } from '../../stack/context.ts';
import { DEFAULT_HOST, Host } from '../../stack/host.ts';
import { FramePool } from '../../stack/mem/frame-pool.ts';
import { Fault } from '../../stack/netif/middleware/fault.ts';
import type { TcpConfig } from '../../stack/tcp/config.ts';
import { ip } from '../lib/sim.ts';
import { capture } from './capture.ts';
import type { Conditions } from './conditions.ts';
import type { Kernel } from './kernel.ts';
import { Observer } from './observer.ts';
import { mixSeed, OF_FAULTS } from './plan.ts';

const POOL = { slots: 16_384, slotBytes: 2048, bigSlots: 256, bigSlotBytes: 69_632 };
const FAULT_CAPACITY = 16_384;
/** Longest sleep, in ms: the ends' timers and the peer's messages wait meanwhile. */
const SLEEP_MS = 3;
/** Of a turn, for the stall detector: while the whole process stands, connections are not expected to move. */
const LONGEST_STEP_MS = 25;
const MAC_HI = 0x0274;
const MAC_LO = 0x73000001;
export const OUR_MAC = '02:74:73:00:00:01';

export function newContext(seed: number): Context {
  return new Context(FramePool.create(POOL), new SeededRandom(seed));
}

export class Station {
  readonly ctx: Context;
  readonly host: Host;
  readonly fault: Fault;
  readonly observer: Observer;
  readonly ourAddress: string;
  readonly kernelAddress: string;
  /** Milliseconds in which this process ran. */
  activeMs = 0;
  private lastMs = performance.now();
  private readonly waiter: PollWaiter;
  private readonly closeCapture: () => void;

  private constructor(ctx: Context, seed: number, round: number, c: Conditions, tap: TapDevice, file: string) {
    this.ctx = ctx;
    const net = `10.${100 + ((round >> 8) & 63)}.${round & 255}`;
    this.ourAddress = `${net}.2`;
    this.kernelAddress = `${net}.1`;
    const { device, close } = capture(ctx, tap, file);
    this.closeCapture = close;
    this.observer = new Observer(ctx, device);
    const random = new SeededRandom(mixSeed(seed, OF_FAULTS, round));
    this.fault = new Fault(ctx, this.observer, { rx: c.rx, tx: c.tx, capacity: FAULT_CAPACITY }, random);
    const tcp: TcpConfig = {
      ...DEFAULT_HOST.tcp,
      ...{ maxConnections: 4096, maxTimeWait: 16_384, maxSegments: c.maxSegments, ecn: c.ecn ? 'on' : 'off' },
      ...{ rcvBuf: c.rcvBuf, sndBuf: c.sndBuf, congestion: c.congestion },
    };
    this.host = new Host(
      ctx,
      { onConflict: () => {} },
      {
        ...DEFAULT_HOST,
        tcp,
        neigh: { ...DEFAULT_HOST.neigh, maxNeighbours: 64 },
        reassembly: { ...DEFAULT_HOST.reassembly, datagrams: 64 },
      },
    );
    this.waiter = new PollWaiter([tap], -1);
  }

  /** Opens the TAP, moves it to the kernel's namespace and sets both sides up. `file` is the capture that will be written. */
  static async start(
    ctx: Context,
    kernel: Kernel,
    seed: number,
    round: number,
    c: Conditions,
    file: string,
  ): Promise<Station> {
    const name = `soak${process.pid % 100_000}r${round % 1000}`;
    const handle = openTap({ name, offload: c.offload });
    const { status, stderr } = spawnSync('ip', ['link', 'set', name, 'netns', kernel.namespace], { encoding: 'utf8' });
    if (status !== 0) throw new Error(`ip link set ${name} netns: ${stderr}`);
    const tap = TapDevice.fromFd(ctx, { ...handle, mtu: c.mtu });
    ctx.tick(realClock.nowUs());
    const station = new Station(ctx, seed, round, c, tap, file);
    const { host, ourAddress, kernelAddress } = station;
    const port = host.addPort(station.fault, MAC_HI, MAC_LO);
    port.mtu = c.portMtu;
    host.addresses.add({ addr: ip(ourAddress), prefixLen: 24, port: port.id, flags: 1 });
    const [m0, m1, m2, m3, m4, m5] = handle.hostMac as [number, number, number, number, number, number];
    const macLo = (m2 << 24) | (m3 << 16) | (m4 << 8) | m5;
    host.neigh.nud.setStatic(ip(kernelAddress), port.id, (m0 << 8) | m1, macLo);
    await kernel.plug(name, c.mtu, kernelAddress, ourAddress, OUR_MAC);
    return station;
  }

  /** Brings the stack's clock up to date, for what is done between turns. */
  tick(): void {
    this.ctx.tick(realClock.nowUs());
  }

  /** One turn, and a nap when there was nothing to do; other events of the process have their turn, too. */
  async turn(): Promise<void> {
    const received = this.host.turn(realClock.nowUs());
    if (received === 0) this.waiter.wait(this.host.nextDue(SLEEP_MS));
    await new Promise((resolve) => setImmediate(resolve));
    const now = performance.now();
    this.activeMs += Math.min(now - this.lastMs, LONGEST_STEP_MS);
    this.lastMs = now;
  }

  /** Closes the link: the TAP goes with it. */
  close(): void {
    this.fault.close();
    this.closeCapture();
  }
}

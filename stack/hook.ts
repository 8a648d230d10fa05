/**
 * Places on a packet's way through IPv4 where others may look at it first. The load balancer enters the stack here and
 * nowhere else.
 *
 * ```
 *  arrived --PRE_ROUTING-- for us? --LOCAL_IN---- protocol ---- sockets
 *                             |                                   |
 *                             '------FORWARD----.             LOCAL_OUT
 *                                               |                 |
 *  leaves -----------------POST_ROUTING---------+-----------------'
 * ```
 *
 * At each point `off` and l3 stand at the IP header, l4 behind it. At LOCAL_IN a datagram that came in fragments is whole;
 * at the points before, each fragment passes by itself. At POST_ROUTING fragments made here pass one by one.
 *
 * A hook gives PASS, and the next one is asked; any other verdict is the packet's. Hooks of a point are asked by priority,
 * lower first, then in the order of their registration. A point nobody uses costs one comparison: the caller asks `used`.
 * Called by stack/ipv4; registered at composition.
 * @hot
 */
import type { FrameId, Verdict } from './types.ts';
import { PASS } from './verdict.ts';

export const PRE_ROUTING = 0;
export const LOCAL_IN = 1;
export const FORWARD = 2;
export const LOCAL_OUT = 3;
export const POST_ROUTING = 4;
const POINTS = 5;

/** Before everything else: what protects the rest. */
export const PRIORITY_DEFENCE = 99;
/** The load balancer. */
export const PRIORITY_BALANCER = 100;

export interface Hook {
  /** As a stage: PASS, or the packet's verdict. */
  packet(frame: FrameId): Verdict;
}

interface Registered {
  readonly hook: Hook;
  readonly priority: number;
}

export class Hooks {
  /** Bit `point` is set while somebody is registered there. */
  used = 0;

  private readonly registered: Registered[][] = Array.from({ length: POINTS }, () => []);
  private readonly lists: Hook[][] = Array.from({ length: POINTS }, () => []);

  register(point: number, priority: number, hook: Hook): void {
    this.registered[point]!.push({ hook, priority });
    this.compile(point);
  }

  /** Takes a hook off; nothing happens when it is not there. */
  unregister(point: number, hook: Hook): void {
    this.registered[point] = this.registered[point]!.filter((entry) => entry.hook !== hook);
    this.compile(point);
  }

  /** Whether nobody else is asked about forwarded packets: then the one at PRE_ROUTING may take a short cut. */
  isAlone(hook: Hook): boolean {
    const list = this.lists[PRE_ROUTING]!;
    const others = (1 << FORWARD) | (1 << LOCAL_OUT) | (1 << POST_ROUTING);
    return list.length === 1 && list[0] === hook && (this.used & others) === 0;
  }

  /** Asks the hooks of a point. To be called when `used` says that there are some. */
  run(point: number, f: FrameId): Verdict {
    const list = this.lists[point]!;
    for (let i = 0; i < list.length; i++) {
      const verdict = list[i]!.packet(f);
      if (verdict !== PASS) return verdict;
    }
    return PASS;
  }

  private compile(point: number): void {
    const sorted = [...this.registered[point]!].sort((a, b) => a.priority - b.priority);
    this.lists[point] = sorted.map((entry) => entry.hook);
    if (sorted.length > 0) this.used |= 1 << point;
    else this.used &= ~(1 << point);
  }
}

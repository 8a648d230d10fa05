/** What a soak has seen so far, over all its rounds, and the report made of it. */
import type { Host } from '../../stack/host.ts';
import type { Fault, FaultCounts } from '../../stack/netif/middleware/fault.ts';
import type { TcpStats } from '../../stack/tcp/stats.ts';
import type { StallDetector } from '../lib/tcp-laws.ts';
import type { KernelCounters } from './kernel.ts';
import type { Outcome } from './messages.ts';
import type { Observer, Sights } from './observer.ts';
import type { ConnPlan, Side } from './plan.ts';
import type { KernelWatch } from './ss.ts';

type Sums<T> = { -readonly [K in keyof T]: number };

function add<T extends object>(sums: Sums<T>, more: T): void {
  for (const [key, value] of Object.entries(more))
    sums[key as keyof T] = (sums[key as keyof T] ?? 0) + (value as number);
}

export class Tally {
  rounds = 0;
  connections: Record<Side, number> = { tsvs: 0, kernel: 0 };
  /** Connections that one side resets by plan, and those to a port where nobody listens. */
  resets = 0;
  refused = 0;
  /** Connections reset because a segment overtook the one that brought a SYN cookie back. */
  overtaken = 0;
  /** Bytes received and compared, by who sent them. */
  bytesFrom: Record<Side, number> = { tsvs: 0, kernel: 0 };
  /** Longest stand in ms, and as a share of what is allowed. */
  worstMs: Record<Side, number> = { tsvs: 0, kernel: 0 };
  worstShare: Record<Side, number> = { tsvs: 0, kernel: 0 };
  readonly faults = {} as Sums<FaultCounts>;
  /** On the wire: what the kernel said of ECN, and what we did. */
  readonly ecn: Readonly<Record<Side, Sums<Sights>>> = { tsvs: {} as Sums<Sights>, kernel: {} as Sums<Sights> };
  readonly tcp = {} as Sums<TcpStats>;
  kernel: KernelCounters = {};

  opened(plan: ConnPlan, reset: boolean): void {
    this.connections[plan.opener]++;
    if (plan.refused) this.refused++;
    else if (reset) this.resets++;
  }

  ended(side: Side, { received }: Outcome): void {
    this.bytesFrom[side === 'tsvs' ? 'kernel' : 'tsvs'] += received;
  }

  worst(ours: StallDetector, theirs: KernelWatch): void {
    this.worstMs.tsvs = Math.max(this.worstMs.tsvs, ours.worstMs);
    this.worstMs.kernel = Math.max(this.worstMs.kernel, theirs.worstMs);
    this.worstShare.tsvs = Math.max(this.worstShare.tsvs, ours.worst);
    this.worstShare.kernel = Math.max(this.worstShare.kernel, theirs.worst);
  }

  /** Takes over what a round has counted. */
  round(host: Host, fault: Fault, observer: Observer): void {
    this.rounds++;
    add(this.tcp, host.tcp.stats);
    add(this.faults, fault.rxCounts);
    add(this.faults, fault.txCounts);
    add(this.ecn.kernel, observer.rxSights);
    add(this.ecn.tsvs, observer.txSights);
  }
}

const count = (n: number | undefined): string => Math.round(n ?? 0).toLocaleString('en-US');
const megabytes = (bytes: number): string => `${(bytes / 1e6).toFixed(1)} MB`;
const gap = (ms: number, share: number): string =>
  `${ms.toFixed(0)} ms, at most ${(share * 100).toFixed(0)} % of what is allowed`;

/** The report, a line for each thing. */
export function report(t: Tally, seed: number, seconds: number): string[] {
  const { tcp, faults, ecn, kernel } = t;
  const all = t.connections.tsvs + t.connections.kernel;
  return [
    `seed ${seed}: ${seconds.toFixed(0)} s, ${t.rounds} rounds`,
    `connections      ${count(all)}: ${count(t.connections.tsvs)} opened by tsvs, ${count(t.connections.kernel)} by the kernel;` +
      ` ${count(t.resets)} reset, ${count(t.refused)} refused, by plan`,
    `bytes compared   ${megabytes(t.bytesFrom.tsvs)} from tsvs, ${megabytes(t.bytesFrom.kernel)} from the kernel`,
    `segments         ${count(tcp.outSegs)} from tsvs, ${count(kernel['OutSegs'])} from the kernel`,
    `sent again       ${count(tcp.retransSegs)} by tsvs (${count(tcp.fastRecoveries)} recoveries, ${count(tcp.timeouts)} time-outs,` +
      ` ${count(tcp.lossProbes)} probes, ${count(tcp.undos)} undone), ${count(kernel['RetransSegs'])} by the kernel`,
    `faults           ${count(faults.lost)} frames lost, ${count(faults.duplicated)} doubled, ${count(faults.reordered)} reordered,` +
      ` ${count(faults.corrupted)} damaged, ${count(faults.marked)} marked, ${count(faults.overRate)} beyond the rate`,
    `shut windows     ${count(tcp.zeroWindowProbes)} probes by tsvs, ${count(kernel['TCPToZeroWindowAdv'])} times by the kernel`,
    `SYN cookies      ${count(tcp.cookiesSent)} sent, ${count(tcp.cookiesAccepted)} came back, ${count(t.overtaken)} connections lost to overtaking`,
    `ECN granted      ${count(ecn.tsvs.granted)} times by tsvs, ${count(ecn.kernel.granted)} by the kernel`,
    `marks to tsvs    echoed in ${count(ecn.tsvs.ece)} segments, answered by ${count(ecn.kernel.cwr)} CWR`,
    `marks to kernel  echoed in ${count(ecn.kernel.ece)} segments, answered by ${count(ecn.tsvs.cwr)} CWR, ${count(tcp.ecnReductions)} reductions`,
    `worst gap        tsvs ${gap(t.worstMs.tsvs, t.worstShare.tsvs)}; kernel ${gap(t.worstMs.kernel, t.worstShare.kernel)}`,
  ];
}

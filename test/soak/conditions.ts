/**
 * Under what conditions a round of the soak runs: offloads, MTU, options of TCP on the kernel's side, buffers on both, what
 * the link does wrong. Drawn from the seed and the round; offloads and ECN go through all combinations in four rounds,
 * options in six.
 */
import { type FaultRules, NO_FAULTS } from '../../stack/netif/middleware/fault.ts';
import { cubic } from '../../stack/tcp/congestion/cubic.ts';
import type { CongestionControl } from '../../stack/tcp/congestion/index.ts';
import { reno } from '../../stack/tcp/congestion/reno.ts';
import { Dice, LONGEST, mixSeed, OF_CONDITIONS } from './plan.ts';

/** TCP options that the kernel offers and grants. */
export interface TcpOptions {
  readonly timestamps: boolean;
  readonly sack: boolean;
  readonly scaling: boolean;
}

export interface Conditions {
  readonly offload: boolean;
  readonly ecn: boolean;
  readonly options: TcpOptions;
  /** Of the interface, and the smaller one that our port may have. */
  readonly mtu: number;
  readonly portMtu: number;
  /** Bytes: largest receive and send buffers of the kernel's sockets, and of ours. */
  readonly kernelBuffer: number;
  readonly rcvBuf: number;
  readonly sndBuf: number;
  readonly congestion: CongestionControl;
  /** Of our stack: descriptors of data to send, and half-open connections before cookies are sent. */
  readonly maxSegments: number;
  readonly backlog: number;
  /** Bytes of the longest stream. */
  readonly longest: number;
  /** From the kernel to us, and from us to it. */
  readonly rx: FaultRules;
  readonly tx: FaultRules;
}

const OPTIONS: readonly TcpOptions[] = [
  { timestamps: true, sack: true, scaling: true },
  { timestamps: false, sack: true, scaling: true },
  { timestamps: true, sack: false, scaling: true },
  { timestamps: true, sack: true, scaling: false },
  { timestamps: false, sack: false, scaling: false },
  { timestamps: false, sack: false, scaling: true },
];

function drawFaults(dice: Dice, ecn: boolean): FaultRules {
  const bitsPerSecond = dice.pick(50e6, 100e6, 200e6);
  const delayMicros = dice.pick(0, 0, 1000, 5000, 25_000);
  return {
    ...NO_FAULTS,
    loss: dice.pick(0, 0.002, 0.01, 0.03),
    duplicate: dice.pick(0, 0.01),
    reorder: dice.pick(0, 0.01, 0.03),
    corrupt: dice.pick(0, 0, 0.002, 0.01),
    mark: ecn ? dice.pick(0.005, 0.02) : 0,
    reorderMicros: dice.spread(300, 6000),
    delayMicros,
    jitterMicros: dice.pick(0, delayMicros >> 3, 1000),
    bitsPerSecond,
    queueBytes: Math.max(200_000, bitsPerSecond / 80),
  };
}

/** What one connection should take this long for, in seconds, and bytes that any link can be given. */
const PATIENCE_S = 1.5;
const LEAST = 60_000;

/**
 * Where losses are frequent and the round trip is long, throughput is about MSS / (RTT * sqrt(p)) (Mathis et al. 1997);
 * that bounds what a connection is given to carry.
 */
function longestOn(mtu: number, ...faults: readonly FaultRules[]): number {
  const rttS = faults.reduce((sum, { delayMicros, jitterMicros }) => sum + delayMicros + jitterMicros, 3000) / 1e6;
  const p = Math.max(...faults.map(({ loss, corrupt, mark, reorder }) => loss + corrupt + mark + reorder / 4), 0.0005);
  const bytes = (PATIENCE_S * mtu) / (rttS * Math.sqrt(p));
  return Math.round(Math.min(Math.max(bytes, LEAST), LONGEST));
}

export function conditionsOf(seed: number, round: number): Conditions {
  const dice = new Dice(mixSeed(seed, OF_CONDITIONS, round));
  const ecn = (round & 2) === 0;
  const mtu = dice.pick(1500, 1500, 1500, 576, 1280, 1400, 9000);
  const portMtu = dice.pick(mtu, mtu, Math.min(mtu, 1100));
  const rx = drawFaults(dice, ecn);
  const tx = drawFaults(dice, ecn);
  return {
    offload: (round & 1) === 0,
    ecn,
    options: OPTIONS[(seed + round) % OPTIONS.length]!,
    mtu,
    portMtu,
    kernelBuffer: dice.pick(8192, 65_536, 4_194_304),
    rcvBuf: dice.pick(16_384, 65_536, 1 << 19),
    sndBuf: dice.pick(16_384, 65_536, 1 << 19),
    congestion: dice.pick(cubic, cubic, reno),
    maxSegments: dice.pick(1024, 65_536, 65_536),
    backlog: dice.pick(2, 512, 512),
    longest: longestOn(portMtu, rx, tx),
    rx,
    tx,
  };
}

function describeFaults(rules: FaultRules): string {
  const share = (name: string, p: number): string[] => (p > 0 ? [`${name} ${Number((p * 100).toFixed(2))} %`] : []);
  const time = (name: string, us: number): string[] => (us > 0 ? [`${name} ${us / 1000} ms`] : []);
  return [
    `${rules.bitsPerSecond / 1e6} Mbit/s`,
    ...share('lost', rules.loss),
    ...share('twice', rules.duplicate),
    ...share('reordered', rules.reorder),
    ...share('damaged', rules.corrupt),
    ...share('marked', rules.mark),
    ...time('delay', rules.delayMicros),
    ...time('jitter', rules.jitterMicros),
  ].join(', ');
}

/** In one line each: the hosts, and the link in either direction. */
export function describe(c: Conditions): string[] {
  const without = Object.entries(c.options).flatMap(([name, on]) => (on ? [] : [name]));
  const options = without.length === 0 ? 'all options' : `without ${without.join(', ')}`;
  const mtu = c.portMtu === c.mtu ? `MTU ${c.mtu}` : `MTU ${c.mtu}, ours ${c.portMtu}`;
  const buffers = `buffers ${c.kernelBuffer >> 10} KB there, ${c.rcvBuf >> 10} and ${c.sndBuf >> 10} KB here`;
  const cc = c.congestion === cubic ? 'CUBIC' : 'Reno';
  const scarce = `${c.maxSegments} descriptors, backlog ${c.backlog}`;
  return [
    `${c.offload ? 'with' : 'without'} offloads, ECN ${c.ecn ? 'on' : 'off'}, ${options}, ${mtu}`,
    `${buffers}, ${scarce}, ${cc}, streams of up to ${Math.round(c.longest / 1000)} KB`,
    `to tsvs: ${describeFaults(c.rx)}`,
    `to the kernel: ${describeFaults(c.tx)}`,
  ];
}

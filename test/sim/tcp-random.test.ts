/**
 * Transfers under conditions drawn at random: wires, faults, options, buffer sizes, writes, readers, pools too small.
 * `SIM_RUNS` sets how many, `SIM_SEED` the first seed; a failure prints the conditions whole.
 */
import { test } from 'uvu';
import { OFFLOAD_WIRE, PLAIN_WIRE } from '../../stack/netif/memory.ts';
import { seeded } from '../lib/random.ts';
import { NO_OPTIONS, NO_SACK, NO_TIMESTAMPS, type TransferOptions, transfer } from '../lib/sim-tcp.ts';

const RUNS = Number(process.env['SIM_RUNS'] ?? 80);
const FIRST = Number(process.env['SIM_SEED'] ?? 1);

const TINY_POOL = { slotBytes: 2048, bigSlots: 8, bigSlotBytes: 69632 };

function conditions(seed: number): TransferOptions {
  const random = seeded(seed * 31 + 7);
  for (let i = 0; i < 5; i++) random.next();
  const unit = (): number => (random.next() >>> 0) / 0x100000000;
  const upTo = (n: number): number => Math.floor(unit() * n);
  const pick = <T>(list: readonly T[]): T => list[upTo(list.length)]!;
  const sometimes = <T>(probability: number, value: () => T): T | undefined =>
    unit() < probability ? value() : undefined;
  const writeMax = sometimes(0.3, () => pick([1, 10, 100, 3000, 100_000]));
  // Byte by byte a little goes a long way.
  const bytes = writeMax !== undefined && writeMax < 50 ? 6000 : 300_000;
  const options = {
    seed,
    wire: pick([PLAIN_WIRE, OFFLOAD_WIRE, { ...PLAIN_WIRE, mtu: 576 }, { ...OFFLOAD_WIRE, mtu: 1400 }]),
    faults: {
      delayMicros: upTo(20_000),
      loss: pick([0, 0.01, 0.03, 0.05]),
      duplicate: pick([0, 0.02, 0.05]),
      reorder: pick([0, 0.02, 0.1]),
      reorderMicros: upTo(10_000),
      jitterMicros: pick([0, 0, 200, 2000]),
      corrupt: pick([0, 0, 0.01]),
      ...sometimes(0.2, () => ({ bitsPerSecond: 5e6 + upTo(5e7), queueBytes: 20_000 + upTo(60_000) })),
    },
    connections: 1 + upTo(4),
    up: upTo(bytes),
    down: upTo(bytes),
    noDelay: pick([0, 1]),
    without: sometimes(0.4, () => pick([NO_SACK, NO_TIMESTAMPS, NO_OPTIONS, [3]])),
    writeMax,
    readPerMs: sometimes(0.15, () => pick([20, 200, 2000])),
    pool: sometimes(0.15, () => ({ slots: pick([256, 512]), ...TINY_POOL })),
    tcp: {
      ...sometimes(0.3, () => ({
        rcvBuf: pick([2000, 10_000, 65_535, 70_000, 1 << 20]),
        sndBuf: pick([3000, 20_000, 100_000]),
      })),
      ...sometimes(0.1, () => ({ maxSegments: pick([32, 128]) })),
    },
  };
  // An absent key, not an undefined one.
  return Object.fromEntries(Object.entries(options).filter(([, v]) => v !== undefined)) as unknown as TransferOptions;
}

test(`${RUNS} transfers under random conditions, seeds from ${FIRST}`, () => {
  let worst = 0;
  let again = 0;
  let simulated = 0;
  for (let seed = FIRST; seed < FIRST + RUNS; seed++) {
    const r = transfer(conditions(seed));
    worst = Math.max(worst, r.worstStall);
    again += r.retransmitted;
    simulated += r.ms;
  }
  console.log(
    `  seeds ${FIRST} to ${FIRST + RUNS - 1}: ${Math.round(simulated / 1000)} s simulated, ${again} segments sent again, ` +
      `longest stand ${worst.toFixed(2)} of the limit`,
  );
});

test.run();

/**
 * Two stacks, one bad wire: every byte arrives, in both directions at once, whatever the wire does to the frames; no
 * frame is lost track of; no connection stands still for more than twice its time-out (see StallDetector).
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { OFFLOAD_WIRE, PLAIN_WIRE } from '../../stack/netif/memory.ts';
import { NO_OPTIONS, NO_SACK, NO_TIMESTAMPS, type TransferOptions, transfer } from '../lib/sim-tcp.ts';

const OFFLOAD = OFFLOAD_WIRE;
const MTU_576 = { ...PLAIN_WIRE, mtu: 576 };

function report(name: string, o: TransferOptions): ReturnType<typeof transfer> {
  const began = process.cpuUsage().user;
  const r = transfer(o);
  const cpu = Math.round((process.cpuUsage().user - began) / 1000);
  console.log(
    `  ${name}: seed ${o.seed}, ${Math.round(r.ms)} ms simulated, ${r.retransmitted} sent again, ` +
      `${r.timeouts} time-outs, ${r.fastRecoveries} recoveries, longest stand ${r.worstStall.toFixed(2)} of the limit, ${cpu} ms`,
  );
  return r;
}

const DELAY = { delayMicros: 4000 };

for (const [wireName, wire] of [
  ['plain', PLAIN_WIRE],
  ['offloads', OFFLOAD],
  ['MTU 576', MTU_576],
] as const) {
  for (const loss of [0, 0.01, 0.03, 0.05]) {
    for (const sack of [true, false]) {
      const name = `${wireName}, ${loss * 100} % loss, SACK ${sack ? 'on' : 'off'}, both directions, 3 connections`;
      test(name, () => {
        // 64 KB frames are few: it takes more bytes for as many losses.
        const scale = wire === OFFLOAD ? 8 : 1;
        for (let i = 0; i < 4; i++) {
          const r = report(name, {
            seed: 1000 + i * 17 + Math.round(loss * 100),
            wire,
            faults: { ...DELAY, loss },
            ...(!sack && { without: NO_SACK }),
            // What flies waits in the receiver's pool: room for every window.
            ...(scale > 1 && { pool: { slots: 4096, slotBytes: 2048, bigSlots: 256, bigSlotBytes: 69632 } }),
            connections: 3,
            up: 300_000 * scale,
            down: 400_000 * scale,
          });
          if (loss === 0) assert.is(r.retransmitted, 0, 'nothing is sent again when nothing is lost');
        }
      });
    }
  }
  for (const sack of [true, false]) {
    const name = `${wireName}, loss, duplication, reordering, SACK ${sack ? 'on' : 'off'}`;
    test(name, () => {
      for (let i = 0; i < 3; i++) {
        report(name, {
          seed: 2000 + i,
          wire,
          faults: { ...DELAY, loss: 0.02, duplicate: 0.03, reorder: 0.05, reorderMicros: 6000, jitterMicros: 500 },
          ...(!sack && { without: NO_SACK }),
          connections: 2,
          up: 250_000,
          down: 250_000,
        });
      }
    });
  }
}

test('sequence numbers wrap in mid-transfer, at 2^31 and at 2^32', () => {
  for (const iss of [0x7fffffff - 100_000, -100_000])
    for (const without of [[], NO_SACK, NO_OPTIONS])
      report(`wrap from ${iss}`, {
        seed: 71,
        iss,
        without,
        faults: { ...DELAY, loss: 0.02, reorder: 0.02, reorderMicros: 3000 },
        up: 300_000,
        down: 300_000,
      });
});

test('corruption is as good as loss', () => {
  for (const seed of [1, 2, 3])
    report('corruption', { seed, faults: { ...DELAY, corrupt: 0.02 }, up: 300_000, down: 300_000 });
});

for (const [name, without] of [
  ['no timestamps', NO_TIMESTAMPS],
  ['no option at all', NO_OPTIONS],
] as const) {
  test(name, () => {
    for (const seed of [11, 12]) {
      report(name, {
        seed,
        without,
        faults: { ...DELAY, loss: 0.02, reorder: 0.02, reorderMicros: 3000 },
        up: 300_000,
        down: 200_000,
      });
    }
  });
}

test('slow readers: windows close and open, on a bad wire', () => {
  for (const seed of [21, 22, 23])
    for (const wire of [PLAIN_WIRE, OFFLOAD])
      report('slow readers', {
        seed,
        wire,
        faults: { ...DELAY, loss: 0.02 },
        readPerMs: 100,
        tcp: { rcvBuf: 20_000, sndBuf: 30_000 },
        up: 150_000,
        down: 150_000,
      });
});

test('many small writes, with and without Nagle', () => {
  for (const noDelay of [0, 1])
    for (const seed of [31, 32])
      report(`small writes, noDelay ${noDelay}`, {
        seed,
        noDelay,
        writeMax: 700,
        faults: { ...DELAY, loss: 0.02, reorder: 0.02, reorderMicros: 2000 },
        up: 100_000,
        down: 100_000,
      });
});

test('pieces of a segment each, gathered into large frames, with loss', () => {
  for (const seed of [33, 34, 35])
    report('pieces', {
      seed,
      wire: OFFLOAD,
      writeMax: 3000,
      faults: { ...DELAY, loss: 0.02, reorder: 0.02, reorderMicros: 2000 },
      up: 600_000,
      down: 600_000,
    });
});

test('a rate limit with a short queue', () => {
  for (const seed of [41, 42])
    report('rate limit', {
      seed,
      faults: { delayMicros: 10_000, bitsPerSecond: 20_000_000, queueBytes: 40_000 },
      up: 2_000_000,
      down: 1_000_000,
    });
});

test('a small pool: sixteen connections starve each other, and all get through', () => {
  for (const seed of [51, 52])
    report('small pool', {
      seed,
      pool: { slots: 512, slotBytes: 2048, bigSlots: 8, bigSlotBytes: 69632 },
      faults: { ...DELAY, loss: 0.01 },
      connections: 16,
      up: 60_000,
      down: 60_000,
    });
});

test('few descriptors, few frames, reordering: what is lost goes again although nothing can be cut', () => {
  for (const without of [NO_SACK, [3]])
    report('descriptors run out', {
      seed: 50_016,
      wire: { ...OFFLOAD, mtu: 1400 },
      without,
      tcp: { maxSegments: 32 },
      pool: { slots: 256, slotBytes: 2048, bigSlots: 8, bigSlotBytes: 69632 },
      faults: {
        delayMicros: 12_500,
        loss: 0.03,
        duplicate: 0.05,
        reorder: 0.1,
        reorderMicros: 9000,
        jitterMicros: 200,
      },
      connections: 4,
      up: 126_778,
      down: 208_950,
    });
});

test('few descriptors: connections wait for each other, and all get through', () => {
  for (const seed of [61, 62])
    report('few descriptors', {
      seed,
      tcp: { maxSegments: 64 },
      faults: DELAY,
      connections: 8,
      up: 100_000,
      down: 100_000,
    });
});

test.run();

/** Runs the device contract for everything that needs no privileges: the in-memory wire, each middleware on it, capture files. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import { PcapFileDevice } from '../../src/links/pcapfile.ts';
import type { Context } from '../../stack/context.ts';
import { FATE_RECEIVED } from '../../stack/context.ts';
import type { Device } from '../../stack/netif/device.ts';
import { memoryWire, OFFLOAD_WIRE, PLAIN_WIRE, type WireOptions } from '../../stack/netif/memory.ts';
import { Fault, NO_FAULTS } from '../../stack/netif/middleware/fault.ts';
import { PcapWriter } from '../../stack/netif/middleware/pcap-writer.ts';
import { Tracer } from '../../stack/netif/middleware/tracer.ts';
import { DELIVERED } from '../../stack/verdict.ts';
import { deviceContract, newContext, type Rig, SeededRandom } from './device.ts';

const RING = 16;

type Wrap = (ctx: Context, inner: Device) => Device;

function wire(options: WireOptions, wrap: Wrap = (_, inner) => inner): () => Rig {
  return () => {
    const ctxA = newContext();
    const ctxB = newContext();
    const [a, b] = memoryWire(ctxA, ctxB, { ...options, ring: RING });
    return { a: wrap(ctxA, a), b: wrap(ctxB, b), ctxA, ctxB };
  };
}

const bounded = { bounded: true };
const finishing: WireOptions = { ...PLAIN_WIRE, txChecksum: true };

const capture: Wrap = (ctx, inner) => new PcapWriter(ctx, inner, { sink() {}, epochMicros: 0, snapLength: 70000 });
const trace: Wrap = (ctx, inner) => new Tracer(ctx, inner, () => {});
const fault: Wrap = (ctx, inner) =>
  new Fault(ctx, inner, { rx: NO_FAULTS, tx: NO_FAULTS, capacity: 64 }, new SeededRandom(1));

deviceContract('memory', test, bounded, wire(PLAIN_WIRE));
deviceContract('memory with offloads', test, bounded, wire(OFFLOAD_WIRE));
deviceContract('memory that finishes checksums', test, bounded, wire(finishing));
deviceContract('pcap-writer', test, bounded, wire(OFFLOAD_WIRE, capture));
deviceContract('tracer', test, bounded, wire(OFFLOAD_WIRE, trace));
deviceContract('fault without faults', test, bounded, wire(OFFLOAD_WIRE, fault));
deviceContract(
  'all middleware in a row',
  test,
  bounded,
  wire(OFFLOAD_WIRE, (ctx, inner) => trace(ctx, capture(ctx, fault(ctx, inner)))),
);

/** What A sends goes to a file; B reads it from the start whenever something is to be carried over, past what it has had. */
function file(): Rig {
  const folder = mkdtempSync(join(tmpdir(), 'tsvs-pcap-'));
  const path = join(folder, 'wire.pcapng');
  const ctxA = newContext();
  const ctxB = newContext();
  const common = { paced: false, epochMicros: 0, mtu: 1500 };
  const a = new PcapFileDevice(ctxA, { ...common, read: '', write: path });
  const reader = (): PcapFileDevice => new PcapFileDevice(ctxB, { ...common, read: path, write: '' });
  a.flush();
  let seen = 0;
  let carried = 0;
  const rig: Rig = {
    a,
    b: reader(),
    ctxA,
    ctxB,
    carry() {
      if (a.stats.txFrames === carried) return;
      carried = a.stats.txFrames;
      seen += rig.b.stats.rxFrames + ctxB.drops.reduce((x, y) => x + y, 0);
      rig.b.close();
      a.flush();
      const b = reader();
      const skipped = new Int32Array(1);
      for (let i = 0; i < seen && b.rx(skipped, 1) === 1; i++) {
        ctxB.fate[FATE_RECEIVED]! += 1;
        ctxB.settle(skipped[0]!, DELIVERED);
      }
      b.stats.rxFrames = 0;
      rig.b = b;
    },
    cleanup: () => rmSync(folder, { recursive: true }),
  };
  return rig;
}

deviceContract('pcapfile', test, { bounded: false }, file);

test.run();

/** Runs the device contract for memif: both roles, at either end, one and several workers, in one process; it needs no privileges. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import { MemifClient } from '../../src/links/memif-client.ts';
import { type MemifOptions, openMemif, sharePool } from '../../src/links/memif-open.ts';
import { MemifServer } from '../../src/links/memif-server.ts';
import type { Context } from '../../stack/context.ts';
import type { Device } from '../../stack/netif/device.ts';
import { deviceContract, newContext, type Rig } from './device.ts';

/** Rounds until two ends that find each other have done so: a look each 100 ms, and a message per round. */
const PATIENCE = 100;

/** All workers of one side: the last one's device is looked at, the others do what they have to. */
class Side {
  readonly ctxs: Context[];
  readonly devices: Device[];

  constructor(options: MemifOptions, workers: number) {
    this.ctxs = Array.from({ length: workers }, () => newContext());
    const pools = options.role === 'client' ? this.ctxs.map(({ pool }) => sharePool(pool)) : [];
    this.devices = openMemif(options, pools, workers).map((handle, w) => {
      // What goes to a worker has to survive the journey; shared memory stays the same there.
      const copy = structuredClone(handle);
      return options.role === 'client' ? new MemifClient(this.ctxs[w]!, copy) : new MemifServer(this.ctxs[w]!, copy);
    });
  }

  turn(us: number): void {
    for (const ctx of this.ctxs) ctx.tick(ctx.now + us);
    for (const device of this.devices) device.rx(new Int32Array(1), 0);
  }

  get last(): { ctx: Context; device: Device } {
    return { ctx: this.ctxs.at(-1)!, device: this.devices.at(-1)! };
  }

  get others(): Device[] {
    return this.devices.slice(0, -1);
  }
}

function pair(sender: 'client' | 'server', queues: number, workers = 1): () => Rig {
  return () => {
    const folder = mkdtempSync(join(tmpdir(), 'tsvs-memif-'));
    const common = { path: join(folder, 'sock'), id: 3, secret: 'abc', queues, log2: 6, mtu: 1500 };
    const server = new Side({ ...common, role: 'server' }, workers);
    const client = new Side({ ...common, role: 'client' }, workers);
    const all = [...server.devices, ...client.devices];
    for (let i = 0; i < PATIENCE && !all.every(({ up }) => up); i++) {
      server.turn(100_000);
      client.turn(100_000);
    }
    if (!all.every(({ up }) => up)) throw new Error(`not connected: ${all.map(({ notice }) => notice)}`);
    const [a, b] = sender === 'client' ? [client, server] : [server, client];
    return {
      ...{ a: a.last.device, b: b.last.device, ctxA: a.last.ctx, ctxB: b.last.ctx },
      // What is sent in place comes back when it was received.
      carry: () => {
        a.last.device.rx(new Int32Array(1), 0);
      },
      cleanup: () => {
        for (const device of [...client.others, ...server.others]) device.close();
        rmSync(folder, { recursive: true });
      },
    };
  };
}

const bounded = { bounded: true };
deviceContract('memif, client to server', test, bounded, pair('client', 1));
deviceContract('memif, server to client', test, bounded, pair('server', 1));
deviceContract('memif, two queues', test, bounded, pair('client', 2));
deviceContract('memif, the second of two workers, client to server', test, bounded, pair('client', 2, 2));
deviceContract('memif, the second of two workers, server to client', test, bounded, pair('server', 2, 2));
deviceContract('memif, five queues for three workers', test, bounded, pair('client', 5, 3));

test.run();

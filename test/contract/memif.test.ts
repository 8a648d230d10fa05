/** Runs the device contract for memif: both roles, at either end, in one process; it needs no privileges. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import { MemifClient } from '../../src/links/memif-client.ts';
import { type MemifOptions, openMemif, sharePool } from '../../src/links/memif-open.ts';
import { MemifServer } from '../../src/links/memif-server.ts';
import type { Device } from '../../stack/netif/device.ts';
import { deviceContract, newContext, type Rig } from './device.ts';

/** Rounds until two ends that find each other have done so: a look each 100 ms, and a message per round. */
const PATIENCE = 100;

function pair(sender: 'client' | 'server', queues: number): () => Rig {
  return () => {
    const folder = mkdtempSync(join(tmpdir(), 'tsvs-memif-'));
    const common = { path: join(folder, 'sock'), id: 3, secret: 'abc', queues, log2: 6, mtu: 1500 };
    const [ctxA, ctxB] = [newContext(), newContext()];
    const [ctxC, ctxS] = sender === 'client' ? [ctxA, ctxB] : [ctxB, ctxA];
    const options = (role: MemifOptions['role']): MemifOptions => ({ ...common, role });
    const server = new MemifServer(ctxS, openMemif(options('server'), -1));
    const client = new MemifClient(ctxC, openMemif(options('client'), sharePool(ctxC.pool)));
    const none = new Int32Array(1);
    for (let i = 0; i < PATIENCE && !(client.up && server.up); i++) {
      for (const ctx of [ctxA, ctxB]) ctx.tick(ctx.now + 100_000);
      server.rx(none, 1);
      client.rx(none, 1);
    }
    if (!client.up || !server.up) throw new Error(`not connected: '${client.notice}' '${server.notice}'`);
    const [a, b]: Device[] = sender === 'client' ? [client, server] : [server, client];
    return {
      ...{ a: a!, b: b!, ctxA, ctxB },
      // What is sent in place comes back when it was received.
      carry: () => {
        a!.rx(none, 0);
      },
      cleanup: () => rmSync(folder, { recursive: true }),
    };
  };
}

const bounded = { bounded: true };
deviceContract('memif, client to server', test, bounded, pair('client', 1));
deviceContract('memif, server to client', test, bounded, pair('server', 1));
deviceContract('memif, two queues', test, bounded, pair('client', 2));

test.run();

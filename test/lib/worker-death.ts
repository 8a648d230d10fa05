/** Real traffic through workers one of which dies: the others go on, it is started again, and no number is forgotten. */
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import * as assert from 'uvu/assert';
import { PATHS, serverPath } from '../../src/control/api.ts';
import type { LinksReply } from '../../src/control/api-network.ts';
import { ask, send } from '../../src/control/client.ts';
import { VIP, VipNet, type VipNetOptions } from './vip-net.ts';

/** Asks `n` times, once per connection; how often each server answered. Throws when one is not answered. */
export async function greetings(lab: VipNet, n: number): Promise<Map<string, number>> {
  const script = `for i in $(seq ${n}); do curl -sS -f -m 5 http://${VIP}/; echo; done`;
  const lines = (await lab.shell(script, 60_000)).split('\n').filter((line) => line !== '');
  assert.is(lines.length, n);
  const count = new Map<string, number>();
  for (const line of lines) count.set(line, (count.get(line) ?? 0) + 1);
  return count;
}

export const DIES = 'died on purpose';
export const HANGS = 'it has hung for 3 s';

/** Has these workers of a tsvs with these options die so and come back, while a server is drained. */
export async function workersDie(options: VipNetOptions, how: string, ...workers: number[]): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'tsvs-crash-'));
  // Whoever tsvs is, it sees the file.
  chmodSync(folder, 0o755);
  const now = join(folder, 'now');
  process.env['TSVS_TEST_CRASH'] = `${workers}:${now}`;
  if (how === HANGS) process.env['TSVS_TEST_PATIENCE'] = '3';
  const lab = await VipNet.start(options);
  delete process.env['TSVS_TEST_CRASH'];
  delete process.env['TSVS_TEST_PATIENCE'];
  try {
    await lab.startHttp();
    await greetings(lab, 10);
    await lab.quiet();
    writeFileSync(now, how === HANGS ? 'hang' : '');
    await lab.tsvs.waitFor(new RegExp(`worker ${workers[0]} died: ${how}`), 10_000);
    assert.is(await lab.counter('proxy.accepted'), 10, 'nothing is forgotten, or counted twice');
    // It waits until all can take it.
    await send(lab.socket, 'PUT', serverPath('web', 'server1'), { state: 'drain' });
    for (const worker of workers) await lab.tsvs.waitFor(new RegExp(`worker ${worker} serves again`), 10_000);
    assert.equal([...(await greetings(lab, 20)).keys()], ['rs-2'], 'drained at all workers');
    assert.is(await lab.counter('proxy.accepted'), 30);
    assert.is(await lab.counter('workers.restarts'), workers.length);
    await lab.quiet();
    const { links } = await ask<LinksReply>(lab.socket, PATHS.links);
    assert.is(links[0]!.rxFrames, await lab.counter('port.rxFrames'));
  } finally {
    await lab.close();
    rmSync(folder, { recursive: true });
  }
}

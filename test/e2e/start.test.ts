/** From the start of the process to the first byte through the VIP: what an operator waits for, warming included. */
import { readFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { LinkKind } from '../../src/config/model.ts';
import { PATHS } from '../../src/control/api.ts';
import { ask } from '../../src/control/client.ts';
import { noCommands, noNamespaces, testUnless } from '../lib/privilege.ts';
import { VIP, VipNet } from '../lib/vip-net.ts';

const add = testUnless(noNamespaces() ?? noCommands('ip', 'curl'), test);

/** Two seconds is what it may take on a machine of its own, of which it cannot use more processor time than this. */
const LIMIT_MS = 10_000;
const CPU_LIMIT_MS = 4000;
/** In the ticks of /proc, of which there are a hundred a second. */
function cpuMs(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]!.split(' ');
  return (Number(fields[11]) + Number(fields[12])) * 10;
}

/** A service of layer 4, so that both layers are warmed. */
const FULLNAT = ['far', 81, 'mode = fnat', 'local_address = 10.9.0.30'] as const;
/** Asks until there is an answer. A client that waits for an ARP answer would see nothing for a second: each try is short. */
const CURL = `until curl -s -o /dev/null -m 0.3 http://${VIP}/; do sleep 0.01; done`;

for (const [link, global] of [
  ['tap', []],
  ['packet', ['workers = 2']],
] as [LinkKind, string[]][]) {
  add(`${link}${global.map((line) => `, ${line}`).join('')}: the first byte comes soon after the start`, async () => {
    const lab = await VipNet.start({ link, global, more: [FULLNAT] });
    try {
      const { frames, counters, sessions } = await lab.stats();
      assert.is(counters['proxy.accepted'], 0, 'what was warmed with is not counted');
      assert.is(counters['tcp.connects'] ?? 0, 0);
      assert.is(sessions, 0);
      assert.is(frames.held, 0);
      assert.equal((await ask<{ neighbours: unknown[] }>(lab.socket, PATHS.neigh)).neighbours, []);
      await lab.startHttp();
      await lab.tsvs.stop('SIGKILL');
      const started = performance.now();
      const [first] = await Promise.all([
        lab.shell(CURL, 20_000).then(() => performance.now() - started),
        lab.restart(),
      ]);
      const cpu = cpuMs(lab.tsvs.child.pid!);
      console.log(
        `${link}: ${first.toFixed(0)} ms from the start of the process to the first byte, ${cpu} ms of processor time`,
      );
      assert.ok(first < LIMIT_MS && cpu < CPU_LIMIT_MS, `${first} ms, ${cpu} ms of processor time`);
      await lab.quiet();
    } finally {
      await lab.close();
    }
  });
}

test.run();

/**
 * Floods of SYNs from everywhere at a service of each layer: clients of the kernel's are served meanwhile, what the
 * flood takes is bounded and said, and nothing stays.
 */
import { setTimeout as pause } from 'node:timers/promises';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { load } from '../lib/http-load.ts';
import { noCommands, noNamespaces, testUnless } from '../lib/privilege.ts';
import { VIP, VipNet } from '../lib/vip-net.ts';

const add = testUnless(noNamespaces() ?? noCommands('ip', 'ab'), test);

const SYNS = 200_000;
/** So that the flood is not over before the clients have come. */
const PER_MS = 20;
const REQUESTS = 2000;
/** What a flood may cost: blocks for the backlog, and rows. */
const PROXY_BYTES = 40e6;
/** What it may cost at layer 4: rows of the connection table, touched for the first time. */
const LAYER4_BYTES = 150e6;
/** A service that passes packets on. Two addresses and two servers: 258,044 connections. */
const FLAT = 81;
const flat = ['flat', FLAT, 'mode = fnat', 'local_address = 10.9.0.200, 10.9.0.201'] as const;

/** Floods `port`; when `counter` has begun to rise, real clients come. Gives how much memory it took. */
async function flood(lab: VipNet, port: number, counter: string): Promise<number> {
  const url = `http://${VIP}:${port}/`;
  await load(lab, { requests: 500, concurrency: 16, url });
  const before = lab.memory();
  const from = await lab.counter(counter);
  const running = lab.synFlood(port, SYNS, PER_MS);
  while ((await lab.counter(counter)) <= from + 1000) await pause(20);
  const { complete, failed, perSecond, slowestMs, report } = await load(lab, {
    requests: REQUESTS,
    concurrency: 16,
    url,
  });
  assert.equal([complete, failed], [REQUESTS, 0], report);
  assert.is(await running.ended, 0, running.output);
  const more = (await lab.counter(counter)) - from;
  console.log(`port ${port}: ${perSecond} requests per s, slowest ${slowestMs} ms; ${counter} rose by ${more}`);
  return lab.memory() - before;
}

add(
  `${SYNS} SYNs from random addresses at each layer: requests beside them succeed, then nothing is left`,
  async () => {
    const lab = await VipNet.start({ gateway: '10.9.0.1', more: [flat] });
    try {
      await lab.startHttp();
      for (const [i, place] of ['rs1', 'rs2'].entries()) {
        // Their kernels would keep answering SYNs for a minute, and each answer keeps the connection in the table.
        await lab.net.exec(place, ['sysctl', '-q', 'net.ipv4.tcp_synack_retries=1']);
        await lab.net.startRealServer(place, `rs-${i + 1}`, FLAT);
      }
      const rows = await flood(lab, FLAT, 'l4.opened');
      assert.ok(rows < LAYER4_BYTES, `${(rows / 1e6).toFixed(1)} MB more for rows`);
      const counters = (await lab.stats()).counters;
      assert.equal([counters['l4.noLocalPort'], counters['l4.tableFull']], [0, 0]);
      assert.ok(counters['l4.open']! > SYNS / 10, `${counters['l4.open']} half open`);

      const blocks = await flood(lab, 80, 'tcp.cookiesSent');
      assert.ok(blocks < PROXY_BYTES, `${(blocks / 1e6).toFixed(1)} MB more for blocks`);
      assert.ok((await lab.counter('tcp.cookiesAccepted')) > 0, 'some of the clients came in by cookie');
      await lab.tsvs.waitFor(/too many connections are half open.*tcp\.cookiesSent/);

      // What is half open at layer 4 is forgotten after 30 s, a good part of which has passed.
      for (const what of ['tcp.open', 'l4.open']) {
        for (let i = 0; (await lab.counter(what)) > 0; i++) {
          if (i === 400) throw new Error(`${await lab.counter(what)} of ${what} after 40 s`);
          await pause(100);
        }
      }
      assert.is(await lab.counter('pool.inUse'), 0);
      for (const port of [80, FLAT]) {
        await load(lab, { requests: 200, concurrency: 16, url: `http://${VIP}:${port}/` });
      }
      await lab.quiet();
    } finally {
      await lab.close();
    }
  },
);

test.run();

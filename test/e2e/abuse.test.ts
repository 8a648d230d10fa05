/** A flood of SYNs from everywhere, by hping3: clients of the kernel's are served meanwhile, and nothing stays. */
import { setTimeout as pause } from 'node:timers/promises';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { load } from '../lib/http-load.ts';
import { isRealRoot, noCommands, noNamespaces, testUnless } from '../lib/privilege.ts';
import { VIP, VipNet } from '../lib/vip-net.ts';

const tools = noNamespaces() ?? noCommands('ip', 'ab', 'hping3');
const add = testUnless(tools ?? (isRealRoot() ? undefined : 'hping3 needs root'), test);

const SYNS = 40_000;
const REQUESTS = 2000;
/** What a flood may cost: blocks for the backlog, and rows. */
const FLOOD_BYTES = 40e6;

add(`${SYNS} SYNs from random addresses: 2000 requests beside them succeed, then nothing is left`, async () => {
  const lab = await VipNet.start({ gateway: '10.9.0.1' });
  try {
    await lab.startHttp();
    const url = `http://${VIP}/`;
    await load(lab, { requests: 500, concurrency: 16, url });
    const before = lab.memory();
    const words = ['hping3', '-q', '-S', '-p', '80', '--rand-source', '-i', 'u40', '-c', String(SYNS), VIP];
    const flood = lab.net.start('client', words);
    while ((await lab.counter('tcp.cookiesSent')) === 0) await pause(20);
    const { complete, failed, perSecond, slowestMs, report } = await load(lab, {
      requests: REQUESTS,
      concurrency: 16,
      url,
    });
    assert.equal([complete, failed], [REQUESTS, 0], report);
    await flood.ended;
    const { counters } = await lab.stats();
    console.log(
      `beside the flood: ${perSecond} requests per s, slowest ${slowestMs} ms; ${counters['tcp.cookiesSent']} cookies`,
    );
    assert.ok(counters['tcp.cookiesAccepted']! > 0, 'some of the clients came in by cookie');
    const growth = lab.memory() - before;
    assert.ok(growth < FLOOD_BYTES, `${(growth / 1e6).toFixed(1)} MB more`);
    for (let i = 0; (await lab.counter('tcp.open')) > 0; i++) {
      if (i === 200) throw new Error(`${await lab.counter('tcp.open')} half-open connections after 20 s`);
      await pause(100);
    }
    assert.is(await lab.counter('pool.inUse'), 0);
    await load(lab, { requests: 200, concurrency: 16, url });
    await lab.quiet();
  } finally {
    await lab.close();
  }
});

test.run();

/**
 * A bad link: 1 % of the frames lost, 1 % twice, 1 % out of order, both ways. Transfers take longer and arrive complete;
 * so do many small requests. With offloads a lost frame is up to 64 KB, without them one segment.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { load } from '../lib/http-load.ts';
import { patternHash } from '../lib/pattern.ts';
import { noCommands, noNamespaces, testUnless } from '../lib/privilege.ts';
import { VIP, VipNet } from '../lib/vip-net.ts';

const add = testUnless(noNamespaces() ?? noCommands('ip', 'curl', 'ab', 'ethtool'), test);

const FAULTS = 'loss=1%,duplicate=1%,reorder=1%,seed=7';
const HUNDRED_MB = 100_000_000;
const FEW_MB = 3_000_000;
const LIMIT_MS = 45_000;

for (const offload of [true, false]) {
  const kind = offload ? 'with offloads' : 'without offloads';
  // Segment by segment there are forty times as many losses to make up for: one direction in full will do.
  const upload = offload ? HUNDRED_MB : HUNDRED_MB / 4;

  add(`${kind}: 100 MB down and ${upload / 1e6} MB up arrive complete over a bad link`, async () => {
    const lab = await VipNet.start({ offload, fault: FAULTS });
    try {
      assert.match(lab.tsvs.output, /"level":40.*loss=1%,duplicate=1%,reorder=1%,hold=1ms,seed=7/);
      await Promise.all([lab.startHttp(), lab.startTalk()]);
      const began = performance.now();
      await lab.download(HUNDRED_MB, '', LIMIT_MS);
      const middle = performance.now();
      assert.is((await lab.talk<{ answer: string }>('upload', upload)).answer, `${upload} ${patternHash(upload)}`);
      const ended = performance.now();
      await lab.quiet();

      const { counters } = await lab.stats();
      const { drops } = await lab.drops();
      const lost = drops.find((drop) => drop.name === 'fault_loss')?.count ?? 0;
      console.log(
        `${kind}: down in ${(middle - began).toFixed(0)} ms, up in ${(ended - middle).toFixed(0)} ms; ${lost} lost, ` +
          `${counters['tcp.retransSegs']} repeated, ${counters['tcp.fastRecoveries']} recoveries, ${counters['tcp.timeouts']} time-outs`,
      );
      assert.ok(lost > 0 && counters['tcp.retransSegs']! > 0);
    } finally {
      await lab.close();
    }
  });
}

add('damaged frames are noticed, on a link with delay', async () => {
  const lab = await VipNet.start({ fault: 'corrupt=1%,delay=2ms,jitter=1ms,seed=7' });
  try {
    await Promise.all([lab.startHttp(), lab.startTalk()]);
    const { stdout } = await lab.client(['ping', '-q', '-i', '0.01', '-c', '20', VIP]);
    const fastest = Number(/= ([\d.]+)\//.exec(stdout)?.[1]);
    assert.ok(fastest >= 4, `a ping came back after ${fastest} ms`);
    await lab.download(FEW_MB, '', LIMIT_MS);
    assert.is((await lab.talk<{ answer: string }>('upload', FEW_MB)).answer, `${FEW_MB} ${patternHash(FEW_MB)}`);
    const { drops } = await lab.drops();
    assert.ok(
      drops.some((drop) => /checksum/.test(drop.name)),
      JSON.stringify(drops),
    );
    await lab.quiet();
  } finally {
    await lab.close();
  }
});

add('1000 requests over new connections: all answered over a bad link', async () => {
  const lab = await VipNet.start({ fault: FAULTS });
  try {
    await lab.startHttp();
    const all = { requests: 1000, concurrency: 64, url: `http://${VIP}/` };
    const { complete, failed, perSecond, slowestMs, report } = await load(lab, all);
    assert.equal([complete, failed], [1000, 0], report);
    console.log(`requests over a bad link: ${perSecond} per s, slowest ${slowestMs} ms`);
    await lab.quiet(20_000);
  } finally {
    await lab.close();
  }
});

test.run();

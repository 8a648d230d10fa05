/** The MTU of an interface is changed under a transfer: it is said and followed, down and up, and every byte arrives. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { LinkKind } from '../../src/config/model.ts';
import { PATHS } from '../../src/control/api.ts';
import type { LinksReply } from '../../src/control/api-network.ts';
import { ask } from '../../src/control/client.ts';
import { poll, SWITCH } from '../lib/netns.ts';
import { noCommands, noNamespaces, noPackage, testUnless } from '../lib/privilege.ts';
import { LB, VipNet } from '../lib/vip-net.ts';

const tools = noNamespaces() ?? noCommands('ip', 'curl');
const BYTES = 4_000_000;

for (const [link, place, device] of [
  ['tap', SWITCH, 'tap0'],
  ['packet', LB, 'eth0'],
  ['xdp', LB, 'eth0'],
  ['pcap', LB, 'eth0'],
] as [LinkKind, string, string][]) {
  const add = testUnless(tools ?? (link === 'pcap' ? noPackage('cap') : undefined), test);
  add(`${link}: its MTU falls and grows again under a transfer`, async () => {
    const lab = await VipNet.start({ link });
    try {
      await lab.startHttp();
      const transfer = lab.download(BYTES, '--limit-rate 4M');
      for (const mtu of [1200, 1500]) {
        const { code, stderr } = await lab.net.exec(place, ['ip', 'link', 'set', device, 'mtu', String(mtu)]);
        assert.is(code, 0, stderr);
        await lab.tsvs.waitFor(new RegExp(`the MTU of its interface is now ${mtu} bytes: packets have at most ${mtu}`));
        // The worker has told before it publishes: its numbers follow within 100 ms.
        await poll(
          'the new MTU',
          2000,
          async () => (await ask<LinksReply>(lab.socket, PATHS.links)).links[0]!.mtu === mtu,
        );
        await lab.download(100_000);
      }
      await transfer;
      await lab.quiet();
    } finally {
      await lab.close();
    }
  });
}

test.run();

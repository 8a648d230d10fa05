/** tsvs on an interface of the system by AF_XDP: ping, curl, a download of which every byte arrives, in the driver and behind it. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { noCommands, noNamespaces, testUnless } from '../lib/privilege.ts';
import { Capture } from '../lib/tshark.ts';
import { LB, VIP, VIP_MAC, VipNet } from '../lib/vip-net.ts';

const add = testUnless(noNamespaces() ?? noCommands('ip', 'ping', 'curl', 'ethtool', 'tcpdump', 'tshark'), test);

const TWENTY_MB = 20_000_000;

async function traffic(lab: VipNet): Promise<void> {
  await lab.ping(1000);
  for (const server of ['rs-1', 'rs-2']) assert.is(await lab.shell(`curl -sS -f http://${VIP}/`), server);
  await lab.download(TWENTY_MB);
}

add(
  'in the driver, with the offloads of the neighbours on: unfinished checksums are dealt with, and said',
  async () => {
    const lab = await VipNet.start({ link: 'xdp', linkSettings: ['xdp_mode = native'] });
    try {
      await lab.startHttp();
      await traffic(lab);
      await lab.tsvs.waitFor(/ethtool -K PEER tx off/);
      await lab.quiet();
    } finally {
      await lab.close();
    }
  },
);

add('behind the driver: every checksum on the wire is right, and the host keeps an address of its own', async () => {
  const lab = await VipNet.start({ link: 'xdp', offload: false, linkSettings: ['xdp_mode = generic'] });
  try {
    await lab.startHttp();
    await lab.net.exec(LB, ['ip', 'addr', 'add', '10.9.0.9/24', 'dev', 'eth0']);
    const capture = await Capture.start(lab, 'client');
    await traffic(lab);
    const { stdout } = await lab.client(['ping', '-c', '3', '-i', '0.05', '10.9.0.9']);
    assert.match(stdout, /3 received, 0% packet loss/, 'what is not ours goes to the kernel');
    await lab.quiet();
    await capture.stop();
    const { bad, good, segments } = await capture.judge();
    assert.equal(bad, []);
    assert.ok(good > 10_000, `${good} checksums looked at`);
    assert.ok(segments.get(VIP_MAC)! > 5000);
  } finally {
    await lab.close();
  }
});

test.run();

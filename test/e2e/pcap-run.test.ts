/**
 * tsvs on an interface through libpcap: ping, curl, a download of which every byte arrives, with the segments and unfinished checksums
 * of the neighbours' offloads; the interface is set down, deleted and created again.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { isRealRoot, noCommands, noNamespaces, noPackage, testUnless } from '../lib/privilege.ts';
import { LB, VIP, VipNet } from '../lib/vip-net.ts';

const tools = noCommands('ip', 'ping', 'curl');
const add = testUnless(noNamespaces() ?? tools ?? noPackage('cap'), test);

const FIVE_MB = 5_000_000;
const NOBODY = [65534, 65534] as const;

async function greetings(lab: VipNet): Promise<void> {
  await lab.ping(200);
  const answers = await lab.shell(`curl -sS -f http://${VIP}/ && curl -sS -f http://${VIP}/`);
  assert.equal(answers.split('\n').sort(), ['rs-1', 'rs-2']);
}

add('pcap: neighbours with offloads; the interface is set down, deleted and created again', async () => {
  // As nobody tsvs itself could not open it again.
  const rights = isRealRoot() ? { global: ['user = nobody', 'group = nogroup'], folderOf: NOBODY } : {};
  const lab = await VipNet.start({ link: 'pcap', ...rights });
  const ip = async (...words: string[]): Promise<void> => {
    const { code, stderr } = await lab.net.exec(LB, ['ip', ...words]);
    assert.is(code, 0, stderr);
  };
  try {
    await lab.startHttp();
    await greetings(lab);
    await lab.download(FIVE_MB);
    await lab.tsvs.waitFor(/link pcap:eth0: .*ethtool -K PEER tx off/);
    await ip('link', 'set', 'eth0', 'down');
    await lab.tsvs.waitFor(/link pcap:eth0 is down/);
    await ip('link', 'set', 'eth0', 'up');
    await lab.linked();
    await greetings(lab);
    await ip('link', 'del', 'eth0');
    await lab.tsvs.waitFor(/link pcap:eth0 is down[\s\S]*link pcap:eth0 is down/);
    lab.net.addCable(LB, 'eth0');
    await lab.linked();
    await greetings(lab);
    await lab.quiet();
  } finally {
    await lab.close();
  }
});

test.run();

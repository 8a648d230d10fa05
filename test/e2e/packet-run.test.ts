/**
 * tsvs on an interface of the system by packet sockets: ping, curl, a download of which every byte arrives, with the segments
 * and unfinished checksums of the offloads and without; what is on the wire is clean; two links at once.
 */
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Net } from '../lib/netns.ts';
import { noCommands, noNamespaces, testUnless } from '../lib/privilege.ts';
import { Capture } from '../lib/tshark.ts';
import { LB, VIP, VIP_MAC, VipNet } from '../lib/vip-net.ts';

const add = testUnless(noNamespaces() ?? noCommands('ip', 'ping', 'curl', 'ethtool', 'tcpdump', 'tshark'), test);

const TWENTY_MB = 20_000_000;

async function greetings(lab: VipNet): Promise<void> {
  await lab.ping(1000);
  for (const server of ['rs-1', 'rs-2']) assert.is(await lab.shell(`curl -sS -f http://${VIP}/`), server);
}

add('with offloads: ping, curl, 20 MB; segments of up to 64 KB pass both ways', async () => {
  const lab = await VipNet.start({ link: 'packet' });
  try {
    await lab.startHttp();
    await greetings(lab);
    await lab.download(TWENTY_MB);
    const { counters } = await lab.stats();
    const mean = counters['port.txBytes']! / counters['port.txFrames']!;
    assert.ok(mean > 2000, `frames of ${mean.toFixed(0)} bytes on average`);
    await lab.quiet();
  } finally {
    await lab.close();
  }
});

add('without offloads: ping, curl, 20 MB, and every checksum on the wire is right', async () => {
  const lab = await VipNet.start({ link: 'packet', offload: false });
  try {
    await lab.startHttp();
    const capture = await Capture.start(lab, 'client');
    await greetings(lab);
    await lab.download(TWENTY_MB);
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

add('the interface is deleted and created again while tsvs runs', async () => {
  const lab = await VipNet.start({ link: 'packet' });
  const ip = (...words: string[]) => lab.net.exec(LB, ['ip', ...words]);
  try {
    await lab.startHttp();
    await greetings(lab);
    assert.is((await ip('link', 'del', 'eth0')).code, 0);
    await lab.tsvs.waitFor(/link packet:eth0 is down/);
    lab.net.addCable(LB, 'eth0');
    await lab.tsvs.waitFor(/link packet:eth0 is up/);
    // The switch is new, too: the client's neighbour entry leads to where we were.
    await greetings(lab);
    await lab.quiet();
  } finally {
    await lab.close();
  }
});

const TWO_ARMS = `
[link wan]
kind = packet
device = eth0
[link lan]
kind = packet
device = eth1
address = 10.10.0.2/24
[network]
netmask = 255.255.255.0
[vip]
ip = ${VIP}
ports = 80
[realserver]
count = 1
server1 = 10.10.0.11:80:1:00:00:00:00:00:00
`;

add('two links: clients at one, servers at the other', async () => {
  const hosts = { client: { address: '10.9.0.1/24' }, rs1: { address: '10.10.0.11/24' }, [LB]: {} };
  const net = new Net({ hosts });
  const folder = mkdtempSync(join(tmpdir(), 'tsvs-e2e-'));
  try {
    net.addCable(LB, 'eth1');
    const config = join(folder, 'lb.conf');
    writeFileSync(config, TWO_ARMS);
    await net.startRealServer('rs1', 'rs-1');
    const capture = join(folder, 'all.pcapng');
    const tsvs = await net.startTsvs(config, 'packet:eth0', ['--capture', capture], LB);
    const { stdout, stderr } = await net.exec('client', ['curl', '-sS', '-m', '5', `http://${VIP}/`]);
    assert.is(stdout.trim(), 'rs-1', `${stderr}${tsvs.output}`);
    const near = await net.exec('rs1', ['ping', '-c', '1', '-W', '2', '10.10.0.2']);
    assert.is(near.code, 0, 'the address of the second link answers there');
    assert.is(await tsvs.stop(), 0, tsvs.output);
    const fields = ['-T', 'fields', '-e', 'frame.interface_name', '-Y', 'tcp.flags.syn == 1'];
    const names = await net.exec('client', ['tshark', '-r', capture, ...fields]);
    assert.equal([...new Set(names.stdout.trim().split('\n'))], ['packet:eth0', 'packet:eth1'], names.stderr);
  } finally {
    await net.close();
    rmSync(folder, { recursive: true });
  }
});

test.run();

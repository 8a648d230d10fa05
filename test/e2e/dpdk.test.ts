/**
 * tsvs with Debian's dpdk-testpmd: an interface of the system, testpmd, memif, tsvs. ping and curl, a download of which every byte
 * arrives, FullNAT; either side is killed under load, and the other goes on.
 */
import { spawnSync } from 'node:child_process';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { noCommands, noNamespaces, testUnless } from '../lib/privilege.ts';
import { Capture } from '../lib/tshark.ts';
import { LB, VIP, VipNet, type VipNetOptions } from '../lib/vip-net.ts';
import { DIES, workersDie } from '../lib/worker-death.ts';

const add = testUnless(noNamespaces() ?? noCommands('ip', 'ping', 'curl', 'ethtool', 'tshark', 'dpdk-testpmd'), test);

const MB = 1_000_000;

async function greetings(lab: VipNet): Promise<void> {
  await lab.ping(1000);
  // Each worker has a turn of its own.
  const answers = await lab.shell(
    `for i in $(seq 8); do curl -sS -f -m 5 http://${VIP}/; echo; done | sort -u | xargs`,
  );
  assert.is(answers, 'rs-1 rs-2');
}

add('the proxy over memif: ping, curl, 20 MB, every checksum on the wire right', async () => {
  const lab = await VipNet.start({ link: 'memif', offload: false });
  try {
    await lab.startHttp();
    const capture = await Capture.start(lab, 'client');
    await greetings(lab);
    await lab.download(20 * MB);
    await lab.quiet();
    await capture.stop();
    const { bad, good } = await capture.judge();
    assert.equal(bad, []);
    assert.ok(good > 10_000, `${good} checksums looked at`);
  } finally {
    await lab.close();
  }
});

/** Two workers, each with a pair of rings of its own. */
const TWO: VipNetOptions = {
  link: 'memif',
  offload: false,
  global: ['workers = 2'],
  linkSettings: ['memif_queues = 2'],
  bridge: ['--memory', '128', '--queues', '2', 'packet:eth0'],
};

/** Connections one after the other, each from another port. */
async function connections(lab: VipNet, n: number): Promise<void> {
  const script = `for i in $(seq ${n}); do curl -sS -f -m 5 http://${VIP}/; echo; done | grep -c ^rs-`;
  assert.is(await lab.shell(script, 30_000), String(n));
}

add('the worker that connected dies: another goes on, and it takes over connection and rings', () =>
  workersDie(TWO, DIES, 0),
);

add('FullNAT over memif by two workers: what comes by the wrong queue changes over, nothing is lost', async () => {
  const settings = ['mode = fnat', 'local_address = 10.9.0.30, 10.9.0.31'];
  const lab = await VipNet.start({ ...TWO, settings });
  try {
    await lab.startHttp();
    await greetings(lab);
    await connections(lab, 40);
    await lab.download(20 * MB);
    const { counters } = await lab.stats();
    assert.is(counters['l4.opened'], 49);
    const handed = counters['workers.handedOver']!;
    assert.ok(handed > 0 && handed < counters['port.rxFrames']!, `${handed} of ${counters['port.rxFrames']}`);
    assert.equal(
      (await lab.drops()).drops.filter(({ name }) => /handover|link_error/.test(name)),
      [],
    );
  } finally {
    await lab.close();
  }
});

/** The processes that the bridge has started so far. */
const testpmds = (lab: VipNet): number[] =>
  [...lab.bridge!.output.matchAll(/testpmd (\d+) between/g)].map(([, pid]) => Number(pid));

/** A download that takes two seconds if nothing happens, and what happens meanwhile. */
async function during(lab: VipNet, happens: () => Promise<void>): Promise<void> {
  const received = await lab.counter('port.rxBytes');
  const transfer = lab.download(10 * MB, '--limit-rate 5M');
  while ((await lab.counter('port.rxBytes')) - received < 4 * MB) await new Promise((wake) => setTimeout(wake, 20));
  await happens();
  await transfer;
}

add('testpmd is killed under load: it is started again, both workers go on, no byte is missing', async () => {
  const lab = await VipNet.start(TWO);
  try {
    await lab.startHttp();
    for (const round of [1, 2]) {
      await during(lab, async () => {
        process.kill(testpmds(lab).at(-1)!, 'SIGKILL');
        await lab.tsvs.waitFor(/is down/);
        await lab.linked();
      });
      assert.is(testpmds(lab).length, round + 1);
    }
    assert.match(lab.bridge!.output, /testpmd ended with status 137; again in 100 ms/);
    await greetings(lab);
    await connections(lab, 40);
    await lab.quiet();
  } finally {
    await lab.close();
  }
});

add('tsvs is killed under load: testpmd lives on, and serves the next one', async () => {
  const lab = await VipNet.start({ link: 'memif', offload: false });
  try {
    await lab.startHttp();
    for (let round = 0; round < 2; round++) {
      const words = ['-sS', '-m', '3', '--limit-rate', '20M', `http://${VIP}/bytes/${80 * MB}`, '-o', '/dev/null'];
      const transfer = lab.client(['curl', ...words]);
      while ((await lab.counter('port.rxBytes')) < 4 * MB) await new Promise((wake) => setTimeout(wake, 20));
      await lab.restart();
      assert.is.not((await transfer).code, 0, 'the connection ended with it');
    }
    await greetings(lab);
    assert.is(testpmds(lab).length, 1, lab.bridge!.output);
    assert.is(await lab.bridge!.stop('SIGTERM', 10_000), 0);
    assert.match(lab.bridge!.output, /dpdk-bridge: ended/);
    await lab.tsvs.waitFor(/is down/);
  } finally {
    await lab.close();
  }
});

add('the bridge says what it lacks', () => {
  const cases: readonly (readonly [words: string, complaint: RegExp])[] = [
    ['', /a NIC and a LINK are needed/],
    ['packet:nosuch memif:/tmp/x', /there is no interface nosuch/],
    ['ffff:99:00.0 memif:/tmp/x', /there is no PCI device ffff:99:00.0/],
    ['packet:lo tap:nosuch', /there is no interface nosuch here: start tsvs first/],
    ['eth0 memif:/tmp/x', /'eth0': a PCI address, packet:IF or tap:IF/],
    ['packet:lo /tmp/x', /'\/tmp\/x': memif:SOCKET or tap:IF/],
    ['--queues 0 packet:lo memif:/tmp/x', /--queues 0: 1 or more/],
    ['--ring', /--ring needs a value/],
  ];
  for (const [words, complaint] of cases) {
    const args = words.split(' ').filter(Boolean);
    const { status, stderr } = spawnSync('scripts/dpdk-bridge.sh', args, { encoding: 'utf8' });
    assert.is(status, 1, words);
    assert.match(stderr, complaint);
  }
});

add('two queues, a secret and an id, over a TAP that testpmd makes', async () => {
  const options = ['--queues', '2', '--id', '7', '--secret', 's3same', '--memory', '128'];
  const linkSettings = ['memif_queues = 2', 'memif_id = 7', 'memif_secret = s3same'];
  const lab = await VipNet.start({ link: 'memif', offload: false, linkSettings, bridge: [...options, 'tap:dtap0'] });
  try {
    const at = (...words: string[]) => lab.net.exec(LB, words);
    for (const words of ['addr add 10.9.0.9/24 dev dtap0', 'link set dtap0 up'])
      assert.is((await at('ip', ...words.split(' '))).code, 0);
    const { stdout } = await at('ping', '-f', '-q', '-c', '1000', VIP);
    assert.match(stdout, /1000 received, 0% packet loss/);
  } finally {
    await lab.close();
  }
});

test.run();

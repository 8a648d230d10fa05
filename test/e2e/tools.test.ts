/** Everyday tools through tsvs: wget, wrk, iperf3 with several streams, ssh, scp and rsync. */
import { chmodSync, cpSync, existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { patternHash } from '../lib/pattern.ts';
import { isRealRoot, noCommands, noNamespaces, testUnless } from '../lib/privilege.ts';
import { IPERF, serverAddress, VIP, VipNet } from '../lib/vip-net.ts';

const namespaces = noNamespaces();
const add = testUnless(namespaces ?? noCommands('ip', 'wget', 'wrk', 'iperf3'), test);
const tools = noCommands('ssh', 'sshd', 'ssh-keygen', 'scp', 'rsync');
// sshd lets its unprivileged part run as another user, of whom a user namespace has none.
const addSsh = testUnless(namespaces ?? tools ?? (isRealRoot() ? undefined : 'sshd needs root'), test);

const SSH = 2222;
/** Where Debian's sshd wants an empty directory to be; packages make it when the service starts. */
const SSHD_EMPTY = '/run/sshd';
const FILES = 30;

let lab: VipNet | undefined;

/** A test in the network that all share; it must leave no session behind. */
function scene(enabled: typeof add, name: string, body: (lab: VipNet) => Promise<void>): void {
  enabled(name, async () => {
    if (lab === undefined) {
      lab = await VipNet.start({ more: [['ssh', SSH]] });
      await lab.startHttp();
    }
    await body(lab);
    await lab.quiet();
  });
}

scene(add, 'wget: 30 MB, every byte, and many small files on one kept connection', async (lab) => {
  const length = 30_000_000;
  const sum = await lab.shell(`wget -q -O - http://${VIP}/bytes/${length} | sha256sum | cut -d' ' -f1`);
  assert.is(sum, patternHash(length));
  const before = await lab.counter('proxy.accepted');
  const urls = Array.from({ length: 50 }, (_, i) => `http://${VIP}/${i}`);
  const answers = (await lab.shell(`wget -q -O - ${urls.join(' ')}`)).split('\n');
  assert.is(answers.length, 50);
  assert.is(new Set(answers).size, 1, 'one connection, one server');
  assert.is((await lab.counter('proxy.accepted')) - before, 1);
});

scene(add, 'wrk: 64 connections, kept and not, no error', async (lab) => {
  for (const header of ['keep-alive', 'close']) {
    const report = await lab.shell(`wrk -t1 -c64 -d1s -H 'Connection: ${header}' http://${VIP}/`);
    assert.not.match(report, /Socket errors|Non-2xx/, report);
    const requests = Number(/(\d+) requests in/.exec(report)?.[1]);
    assert.ok(requests > 100, report);
    console.log(`wrk, ${header}: ${requests} requests in a second`);
  }
});

scene(add, 'iperf3: four streams both ways at once', async (lab) => {
  const servers = [1, 2].map((i) => lab.net.start(`rs${i}`, ['iperf3', '-s', '-p', String(IPERF), '--forceflush']));
  await Promise.all(servers.map((server) => server.waitFor(/listening/)));
  const words = ['iperf3', '-J', '-c', VIP, '-p', String(IPERF), '-t', '1', '-P', '4', '--bidir'];
  const { code, stdout } = await lab.client(words);
  assert.is(code, 0, stdout);
  const { end } = JSON.parse(stdout) as { end: Record<string, { bytes: number }> };
  for (const direction of ['sum_received', 'sum_received_bidir_reverse']) {
    assert.ok(end[direction]!.bytes > 1e6, `${direction}: ${JSON.stringify(end[direction])}`);
  }
  await Promise.all(servers.map((server) => server.stop()));
});

/** Makes keys, has sshd listen on both servers with the same one, and gives the words for clients. */
async function startSshd(lab: VipNet): Promise<string> {
  const at = (name: string): string => join(lab.folder, name);
  await lab.shell(`for key in host user; do ssh-keygen -q -t ed25519 -N '' -f ${lab.folder}/$key; done`);
  chmodSync(lab.folder, 0o755);
  const lines = [
    `Port ${SSH}`,
    `HostKey ${at('host')}`,
    `AuthorizedKeysFile ${at('user.pub')}`,
    'StrictModes no',
    'UsePAM no',
    'PidFile none',
    'PermitRootLogin prohibit-password',
    'UseDNS no',
    'Subsystem sftp internal-sftp',
  ];
  writeFileSync(at('sshd.conf'), `${lines.join('\n')}\n`);
  writeFileSync(at('known'), `[${VIP}]:${SSH} ${readFileSync(at('host.pub'), 'utf8')}`);
  for (const i of [1, 2]) {
    const sshd = lab.net.start(`rs${i}`, ['/usr/sbin/sshd', '-D', '-e', '-f', at('sshd.conf')]);
    await sshd.waitFor(/listening on/);
  }
  return `-i ${at('user')} -o UserKnownHostsFile=${at('known')} -o BatchMode=yes -o LogLevel=ERROR`;
}

scene(addSsh, 'ssh, scp and rsync: files arrive whole both ways, on both servers', async (lab) => {
  const made = !existsSync(SSHD_EMPTY);
  if (made) mkdirSync(SSHD_EMPTY, { mode: 0o755 });
  try {
    const options = await startSshd(lab);
    const ssh = `ssh -p ${SSH} ${options} root@${VIP}`;
    const from = new Set<string>();
    for (let i = 0; i < 2; i++) from.add((await lab.shell(`${ssh} 'echo $SSH_CONNECTION'`)).split(' ')[2]!);
    assert.equal([...from].sort(), [serverAddress(1), serverAddress(2)]);

    const source = join(lab.folder, 'source');
    mkdirSync(source);
    // A compiler's output and a library are files like those that people copy.
    for (let i = 0; i < FILES; i++) writeFileSync(join(source, `small-${i}`), `${i}\n`.repeat(i * 500));
    cpSync(process.execPath, join(source, 'large'));
    const rsync = `rsync -a -e 'ssh -p ${SSH} ${options}'`;
    await lab.shell(`${rsync} ${source}/ root@${VIP}:${lab.folder}/up/`);
    await lab.shell(`${rsync} root@${VIP}:${lab.folder}/up/ ${lab.folder}/down/`);
    await lab.shell(`scp -q -P ${SSH} ${options} root@${VIP}:${lab.folder}/up/large ${lab.folder}/copied`);
    await lab.shell(`cd ${lab.folder} && diff -r source up && diff -r source down && cmp source/large copied`);
    // Only what differs goes the second time.
    const before = (await lab.stats()).counters['port.rxBytes']!;
    writeFileSync(join(source, 'small-1'), 'changed\n');
    await lab.shell(`${rsync} ${source}/ root@${VIP}:${lab.folder}/up/`);
    assert.is(readFileSync(join(lab.folder, 'up', 'small-1'), 'utf8'), 'changed\n');
    assert.ok((await lab.stats()).counters['port.rxBytes']! - before < 1e6);
  } finally {
    if (made) rmSync(SSHD_EMPTY, { recursive: true });
  }
});

test('tsvs leaves in order, every frame accounted for', async () => {
  await lab?.close();
});

test.after(() => lab?.net.remove());

test.run();

/**
 * `user` and `group`: tsvs starts as root, opens its TAP, and is nobody from the first frame on, on every thread; what has to go on
 * after that does. The program is the built one.
 */
import { spawnSync } from 'node:child_process';
import {
  chmodSync,
  existsSync,
  readdirSync,
  readFileSync,
  renameSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { LinkKind } from '../../src/config/model.ts';
import { isRealRoot, noCommands, noNamespaces, testUnless } from '../lib/privilege.ts';
import { HTTP, LB, VIP, VipNet, type VipNetOptions } from '../lib/vip-net.ts';

const unable = isRealRoot() ? undefined : 'needs root of the machine: other ids are not mapped here';
const asRoot = testUnless(noNamespaces() ?? noCommands('ip', 'curl') ?? unable, test);

/** Ids that nobody has, but for 4, which is adm on Debian. */
const USER = 64321;
const GROUP = 64322;
const ASKERS = 4;
const IDENTITY = [`user = ${USER}`, `group = ${GROUP}`, `control_group = ${ASKERS}`];

interface Ran {
  readonly code: number | null;
  readonly stdout: string;
  readonly stderr: string;
}

function tsvs(lab: VipNet, ids: { uid?: number; gid?: number }, ...words: string[]): Ran {
  const args = ['dist/bin.js', ...words, '--control', lab.socket];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: 'utf8', timeout: 20_000, ...ids });
  return { code: status, stdout, stderr };
}

/** Runs tsvs in a folder of the user's, and stops it in good order. */
async function inLab(options: VipNetOptions, body: (lab: VipNet) => Promise<void>): Promise<void> {
  const lab = await VipNet.start({ servers: 1, folderOf: [USER, GROUP], ...options });
  try {
    await lab.startHttp();
    await body(lab);
  } finally {
    await lab.close();
  }
}

const fetch = (lab: VipNet): Promise<string> =>
  lab.shell(`curl -s -o /dev/null -w '%{http_code}' http://${VIP}:${HTTP}/`);

/** What /proc says of each thread, the first one first. */
function threads(pid: number): ReadonlyMap<string, string>[] {
  return readdirSync(`/proc/${pid}/task`)
    .sort((a, b) => Number(a) - Number(b))
    .map((id) => readFileSync(`/proc/${pid}/task/${id}/status`, 'utf8'))
    .map((text) => new Map(text.split('\n').map((line) => line.split(/:\s*/) as [string, string])));
}

const NONE = '0000000000000000';

/** What /proc says of capabilities: bits, in hexadecimal. */
const setOf = (...caps: number[]): string =>
  caps
    .reduce((sum, cap) => sum | (1n << BigInt(cap)), 0n)
    .toString(16)
    .padStart(16, '0');

/** Fails unless every thread of the process is the user and nothing more; some, the first and at least so many, have these capabilities. */
function assertHarmless(pid: number, keepers = 0, kept = NONE): void {
  const all = threads(pid);
  assert.ok(all.length > 2);
  for (const [i, status] of all.entries()) {
    const of = (key: string): string | undefined => status.get(key)?.trim().replace(/\s+/g, ' ');
    assert.is(of('Uid'), `${USER} ${USER} ${USER} ${USER}`, `thread ${i}`);
    assert.is(of('Gid'), `${GROUP} ${GROUP} ${GROUP} ${GROUP}`, `thread ${i}`);
    assert.is(of('Groups'), `${GROUP}`, `thread ${i}`);
    for (const set of ['CapInh', 'CapAmb']) assert.is(of(set), NONE, `${set} of thread ${i}`);
    assert.is(of('CapEff'), of('CapPrm'));
    assert.ok([NONE, kept].includes(of('CapPrm')!), `${of('CapPrm')} of thread ${i}`);
    assert.is(of('NoNewPrivs'), '1', `thread ${i}`);
  }
  if (keepers > 0) {
    assert.is(all[0]!.get('CapPrm'), kept, 'of the main thread');
    const having = all.filter((status) => status.get('CapPrm') === kept).length;
    assert.ok(having >= keepers && having < all.length, `${having} of ${all.length} threads`);
  }
  assert.is(all[0]!.get('CapBnd'), NONE, 'of the main thread');
  assert.ok(
    all.slice(1).some((status) => status.get('CapBnd') === NONE),
    'of the worker',
  );
}

asRoot(
  'no thread has the rights of root; traffic, the access log and its rotation, reloads and the control socket go on; the socket goes at the end',
  async () => {
    let socket = '';
    await inLab({ global: [...IDENTITY, 'access_log = FOLDER/access.log'], folderMode: 0o755 }, async (lab) => {
      assertHarmless(lab.tsvs.child.pid!);
      socket = lab.socket;
      const { mode, uid, gid } = statSync(socket);
      assert.equal([mode & 0o777, uid, gid], [0o660, USER, ASKERS]);
      assert.is(tsvs(lab, { uid: 1, gid: 1 }, 'stats').code === 0, false, 'a stranger may not ask');
      assert.is(tsvs(lab, { uid: 1, gid: ASKERS }, 'stats').code, 0, 'the group may');

      const log = join(lab.folder, 'access.log');
      const lines = (file: string): number =>
        existsSync(file) ? readFileSync(file, 'utf8').split('\n').length - 1 : 0;
      const until = async (what: string, holds: () => boolean): Promise<void> => {
        for (let i = 0; i < 100 && !holds(); i++) await new Promise((resolve) => setTimeout(resolve, 50));
        assert.ok(holds(), `${what}: ${lab.tsvs.output}`);
      };
      assert.is(await fetch(lab), '200');
      await until('a line', () => lines(log) === 1);
      renameSync(log, `${log}.1`);
      lab.tsvs.child.kill('SIGUSR1');
      await until('a new file', () => existsSync(log));
      assert.is(statSync(log).uid, USER);
      assert.is(await fetch(lab), '200');
      await until('a line in it', () => lines(log) === 1);

      const file = join(lab.folder, 'lb.conf');
      const text = readFileSync(file, 'utf8');
      writeFileSync(file, text.replaceAll(':1:00:00:00:00:00:00', ':7:00:00:00:00:00:00'));
      const reloaded = tsvs(lab, {}, 'reload');
      assert.is(reloaded.code, 0, reloaded.stderr);
      assert.match(reloaded.stdout, /weight 1 -> 7/);

      writeFileSync(file, text.replace(`user = ${USER}`, 'user = 0'));
      const refused = tsvs(lab, {}, 'reload');
      assert.is(refused.code, 2);
      assert.match(refused.stderr, /\[global\] user = 0 \(now 64321\): is fixed while tsvs runs: restart it/);
      chmodSync(file, 0o600);
      const unread = tsvs(lab, {}, 'reload');
      assert.ok(unread.code !== 0);
      assert.match(unread.stderr, /lb\.conf.*(permission|may not|EACCES)/i);
      assert.is(await fetch(lab), '200');
    });
    assert.not.ok(existsSync(socket));
  },
);

const [CAP_NET_ADMIN, CAP_NET_RAW, CAP_IPC_LOCK, CAP_BPF] = [12, 13, 14, 39];
const TO_OPEN: readonly [LinkKind, number[]][] = [
  ['packet', [CAP_NET_ADMIN, CAP_NET_RAW, CAP_BPF]],
  ['xdp', [CAP_NET_ADMIN, CAP_NET_RAW, CAP_IPC_LOCK, CAP_BPF]],
];

for (const [link, caps] of TO_OPEN) {
  asRoot(`keep_capabilities, ${link}: main thread and workers keep what opens the link again, and do so`, async () => {
    const global = [...IDENTITY, 'keep_capabilities = on', 'workers = 2'];
    await inLab({ global, link, queues: true, folderMode: 0o755 }, async (lab) => {
      assertHarmless(lab.tsvs.child.pid!, 3, setOf(...caps));
      assert.match(lab.tsvs.output, new RegExp(`user ${USER} keeps CAP_NET_ADMIN, CAP_NET_RAW, .*CAP_BPF`));
      assert.is(await fetch(lab), '200');
      await lab.net.exec(LB, ['ip', 'link', 'del', 'eth0']);
      await lab.tsvs.waitFor(new RegExp(`link ${link}:eth0 is down`));
      lab.net.addCable(LB, 'eth0', 2);
      await lab.tsvs.waitFor(new RegExp(`link ${link}:eth0 is up`));
      for (let i = 0; i < 8; i++) assert.is(await fetch(lab), '200');
      assertHarmless(lab.tsvs.child.pid!, 3, setOf(...caps));
    });
  });
}

asRoot('what cannot be: said at the start where it comes later, refused where nothing comes of it', async () => {
  await inLab({ global: IDENTITY, folderOf: [0, 0], folderMode: 0o755 }, async (lab) => {
    assert.match(lab.tsvs.output, /user 64321 cannot remove .*tsvs\.sock at the end/);
    const file = join(lab.folder, 'own.conf');
    const text = readFileSync(join(lab.folder, 'lb.conf'), 'utf8');
    const attempt = (lines: string): Ran => {
      writeFileSync(file, text.replace(IDENTITY.join('\n'), lines));
      const args = [
        'dist/bin.js',
        'run',
        '--config',
        file,
        '--link',
        'tap:tsvs-none0',
        '--control',
        join(lab.folder, 'own.sock'),
      ];
      const { status, stdout, stderr } = spawnSync(
        'ip',
        ['netns', 'exec', lab.net.namespace('client'), 'setpriv', '--bounding-set=-setuid', process.execPath, ...args],
        { encoding: 'utf8', timeout: 20_000 },
      );
      return { code: status, stdout, stderr };
    };
    const unknown = attempt('user = no-such-user');
    assert.equal([unknown.code, /there is no user 'no-such-user'/.test(unknown.stderr)], [3, true], unknown.stderr);
    const link = join(lab.folder, 'link.log');
    symlinkSync(file, link);
    const linked = attempt(`user = ${USER}\ngroup = ${GROUP}\naccess_log = ${link}`);
    assert.equal([linked.code, /ELOOP.*name the file itself/.test(linked.stderr)], [3, true], linked.stderr);
    const unable = attempt(`user = ${USER}\ngroup = ${GROUP}`);
    assert.equal(
      [unable.code, /cannot become user 64321, group 64322 \(EPERM\)/.test(unable.stderr)],
      [3, true],
      unable.stderr,
    );
  });
});

test.run();

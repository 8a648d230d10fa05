/**
 * The first thing a newcomer runs: `scripts/lab.sh`, as root and without root, with everything it leaves behind,
 * which must be nothing.
 */
import { spawn, spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { isRealRoot, noCommands, noNamespaces, testUnless } from '../lib/privilege.ts';

const tools = noCommands('ip', 'ping', 'curl');
const check = testUnless(noNamespaces() ?? tools, test);
const checkAsRoot = testUnless(isRealRoot() ? (noNamespaces() ?? tools) : 'needs root to become somebody else', test);

const LIMIT_MS = 60_000;
let count = 0;

interface Ran {
  code: number | null;
  output: string;
  stderr: string;
}

/** A name that no other lab bears, so that what belongs to it can be told. */
const newLab = (): string => `test-${process.pid}-${++count}`;

function run(lab: string, words: string[]): Ran {
  const [program, ...args] = words as [string, ...string[]];
  // A runtime directory of its own would be the caller's, which another user may not enter.
  const { XDG_RUNTIME_DIR: _, ...env } = process.env;
  const options = { env: { ...env, TSVS_LAB: lab }, encoding: 'utf8', timeout: LIMIT_MS } as const;
  const { status, stdout, stderr } = spawnSync(program, args, options);
  return { code: status, output: stdout, stderr };
}

/** What is left of `lab`: processes by their environment, namespaces and state directories by their names. */
function remains(lab: string): string[] {
  const processes = readdirSync('/proc').filter((pid) => {
    if (!/^\d+$/.test(pid) || Number(pid) === process.pid) return false;
    try {
      return readFileSync(`/proc/${pid}/environ`, 'utf8').split('\0').includes(`TSVS_LAB=${lab}`);
    } catch {
      return false;
    }
  });
  const names = [spawnSync('ip', ['netns', 'list'], { encoding: 'utf8' }).stdout.split('\n'), readdirSync(tmpdir())];
  return [...processes.map((pid) => `process ${pid}`), ...names.flat().filter((name) => name.includes(lab))];
}

function assertGreen({ code, output, stderr }: Ran): void {
  assert.is(code, 0, `${output}${stderr}`);
  for (const line of [
    /^ok +ping .*3 of 3/m,
    /^ok +curl .*rs-1 x \d+, rs-2 x \d+/m,
    /^ok +10 MB .*SHA-256/m,
    /^ok +SIGTERM/m,
  ]) {
    assert.match(output, line);
  }
}

check('check is green and leaves nothing behind', () => {
  const lab = newLab();
  assertGreen(run(lab, ['scripts/lab.sh', 'check']));
  assert.equal(remains(lab), []);
});

check('up stays, exec reaches each place, down removes it', () => {
  const lab = newLab();
  try {
    const up = run(lab, ['scripts/lab.sh', 'up']);
    assert.is(up.code, 0, up.output + up.stderr);
    const vip = /VIP ([0-9.]+)/.exec(up.output)?.[1] as string;
    assert.match(run(lab, ['scripts/lab.sh', 'exec', 'client', 'curl', '-s', `http://${vip}/`]).output, /^rs-[12]\n$/);
    assert.match(run(lab, ['scripts/lab.sh', 'exec', 'tsvs', 'ip', 'link']).output, 'tap0');
    assert.match(run(lab, ['scripts/lab.sh', 'exec', 'rs2', 'ip', 'addr']).output, '192.168.100.12');
    assert.is(run(lab, ['scripts/lab.sh', 'exec', 'client', 'sh', '-c', 'exit 7']).code, 7);
    assert.match(run(lab, ['scripts/lab.sh', 'up']).stderr, 'is up already');
  } finally {
    assert.is(run(lab, ['scripts/lab.sh', 'down']).code, 0);
  }
  assert.equal(remains(lab), []);
  assert.is(run(lab, ['scripts/lab.sh', 'down']).code, 0, 'down has nothing to do the second time');
});

check('a check that is interrupted leaves nothing behind', async () => {
  const lab = newLab();
  const child = spawn('scripts/lab.sh', ['check'], {
    env: { ...process.env, TSVS_LAB: lab },
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  child.stdout.once('data', () => child.kill('SIGTERM'));
  const code = await new Promise((resolve) => child.on('close', resolve));
  assert.is(code, 143);
  assert.equal(remains(lab), []);
});

/**
 * The words that run `script` as nobody, with a /dev/net/tun of this mode. A private mount namespace holds the device,
 * and this project and Node where nobody can reach them, wherever they really are.
 */
function asNobody(tunMode: string, script: string): string[] {
  const prepare = `set -e
    mount -t tmpfs -o mode=755 tmpfs /mnt
    mknod -m ${tunMode} /mnt/tun c 10 200
    mount --bind /mnt/tun /dev/net/tun
    touch /mnt/node
    mount --bind "$1" /mnt/node
    mkdir /mnt/project
    mount --rbind "$2" /mnt/project
    cd /mnt/project
    PATH=/mnt:$PATH HOME=/nonexistent exec setpriv --reuid=65534 --regid=65534 --clear-groups --inh-caps=-all bash -c '${script}'`;
  return ['unshare', '--mount', 'bash', '-c', prepare, 'bash', process.execPath, process.cwd()];
}

checkAsRoot('check is green without root, where user namespaces are allowed', () => {
  const lab = newLab();
  assertGreen(run(lab, asNobody('0666', 'scripts/lab.sh check')));
  assert.equal(remains(lab), []);
});

checkAsRoot('without root, later commands find the lab that up has built', () => {
  const lab = newLab();
  const script = 'trap "scripts/lab.sh down" EXIT; scripts/lab.sh up && scripts/lab.sh exec rs1 ip -br addr';
  const { code, output, stderr } = run(lab, asNobody('0666', script));
  assert.is(code, 0, output + stderr);
  assert.match(output, '192.168.100.11/24');
  assert.equal(remains(lab), []);
});

checkAsRoot('without a TAP that may be opened, one line says what to do', () => {
  const lab = newLab();
  const { code, output, stderr } = run(lab, asNobody('0600', 'scripts/lab.sh check'));
  assert.is(code, 1);
  assert.is(output, '');
  assert.match(stderr, /^lab\.sh: \/dev\/net\/tun cannot be opened: .*chmod 0666.*\n$/);
  assert.equal(remains(lab), []);
});

test.run();

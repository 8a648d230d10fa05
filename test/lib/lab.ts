/** Runs scripts/lab.sh for tests, under names of their own, and finds what a lab left behind. */
import { spawn, spawnSync } from 'node:child_process';
import { readdirSync, readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';

const LIMIT_MS = 60_000;
let count = 0;

export interface Ran {
  code: number | null;
  output: string;
  stderr: string;
}

/** A name that no other lab bears, so that what belongs to it can be told. */
export const newLab = (): string => `test-${process.pid}-${++count}`;

/** The environment in which scripts/lab.sh calls its lab so. */
export function environment(lab: string): NodeJS.ProcessEnv {
  // A runtime directory of its own would be the caller's, which another user may not enter.
  const { XDG_RUNTIME_DIR: _, ...env } = process.env;
  return { ...env, TSVS_LAB: lab };
}

/** Runs a command to its end. */
export function run(lab: string, words: string[]): Ran {
  const [program, ...args] = words as [string, ...string[]];
  const options = { env: environment(lab), encoding: 'utf8', timeout: LIMIT_MS } as const;
  const { status, stdout, stderr } = spawnSync(program, args, options);
  return { code: status, output: stdout, stderr };
}

/** The same, without waiting for it here. */
export function runBeside(lab: string, words: string[]): Promise<Ran> {
  const [program, ...args] = words as [string, ...string[]];
  const child = spawn(program, args, { env: environment(lab), stdio: ['ignore', 'pipe', 'pipe'], timeout: LIMIT_MS });
  const ran: Ran = { code: null, output: '', stderr: '' };
  child.stdout.setEncoding('utf8').on('data', (text: string) => void (ran.output += text));
  child.stderr.setEncoding('utf8').on('data', (text: string) => void (ran.stderr += text));
  return new Promise((resolve, reject) => {
    child.on('error', reject);
    child.on('close', (code) => resolve({ ...ran, code }));
  });
}

/** What is left of `lab`: processes by their environment, namespaces and state directories by their names. */
export function remains(lab: string): string[] {
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

/**
 * The words that run `script` as nobody, with a /dev/net/tun of this mode. A private mount namespace holds the device,
 * and this project and Node where nobody can reach them, wherever they really are.
 */
export function asNobody(tunMode: string, script: string): string[] {
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

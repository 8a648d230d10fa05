/**
 * What this machine and user allow: end-to-end tests ask here before they build namespaces.
 */
import { spawnSync } from 'node:child_process';
import { accessSync, constants, readFileSync } from 'node:fs';
import type { Test } from 'uvu';

const UNSHARE = ['unshare', '--user', '--map-root-user', '--net', '--mount'];

/** True for root of the machine or container itself, not of a user namespace. */
export function isRealRoot(): boolean {
  if (process.getuid?.() !== 0) return false;
  return /^\s*0\s+0\s+4294967295\s*$/.test(readFileSync('/proc/self/uid_map', 'utf8'));
}

function succeeds(command: string[]): boolean {
  const [program, ...args] = command;
  return spawnSync(program as string, args, { stdio: 'ignore' }).status === 0;
}

/**
 * The words to put before a command so that it may build network namespaces: none for root, a user namespace with
 * its own /run otherwise, and none again where user namespaces are refused (then `noNamespaces` says why).
 */
export function namespaceWrapper(): string[] {
  if (process.getuid?.() === 0 || !succeeds([...UNSHARE, 'ip', 'link', 'set', 'lo', 'up'])) return [];
  return [...UNSHARE, 'sh', '-c', 'mount -t tmpfs run /run && exec "$@"', 'sh'];
}

/** Why namespaces with a TAP cannot be built here, or nothing when they can. */
export function noNamespaces(): string | undefined {
  if (process.platform !== 'linux') return 'network namespaces need Linux';
  if (process.getuid?.() !== 0) return 'needs root, or user namespaces, which this system refuses';
  if (!succeeds(['unshare', '--net', 'ip', 'link', 'set', 'lo', 'up']))
    return 'this user may not create network namespaces';
  try {
    accessSync('/dev/net/tun', constants.R_OK | constants.W_OK);
  } catch {
    return '/dev/net/tun cannot be opened';
  }
  return undefined;
}

/** Why a test that uses these commands cannot run, or nothing when all are installed. */
export function noCommands(...names: string[]): string | undefined {
  const missing = names.filter((name) => !succeeds(['sh', '-c', `command -v ${name}`]));
  return missing.length === 0 ? undefined : `not installed: ${missing.join(', ')}`;
}

/** Why a test that uses this package of npm cannot run, or nothing when it loads. */
export function noPackage(name: string): string | undefined {
  return succeeds([process.execPath, '-e', `require('${name}')`]) ? undefined : `the package ${name} does not load`;
}

/** `test`, or a stand-in that skips and prints `missing`, the reason, for the runner to show. */
export function testUnless(missing: string | undefined, test: Test): (name: string, body: () => unknown) => void {
  return (name, body) => {
    if (missing === undefined) {
      test(name, body as Parameters<Test>[1]);
    } else {
      console.log(`skipped: ${name}: ${missing}`);
      test.skip(name);
    }
  };
}

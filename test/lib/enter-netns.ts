/** Does something in another network namespace: sockets opened there stay there. Needs root, as everything with namespaces. */
import { closeSync, openSync } from 'node:fs';
import { createRequire } from 'node:module';

const CLONE_NEWNET = 0x40000000;
const koffi = createRequire(import.meta.url)('koffi') as typeof import('koffi');

let setns: ((fd: number, type: number) => number) | null = null;

function enter(path: string): void {
  setns ??= koffi.load(null).func('setns', 'int', ['int', 'int']) as unknown as (fd: number, type: number) => number;
  const fd = openSync(path, 'r');
  const result = setns(fd, CLONE_NEWNET);
  closeSync(fd);
  if (result < 0) throw new Error(`cannot enter ${path}: errno ${koffi.errno()}`);
}

/** Runs `body`, which must not be asynchronous, in the namespace that `ip netns` calls `name`. */
export function inNamespace<T>(name: string, body: () => T): T {
  const home = openSync('/proc/thread-self/ns/net', 'r');
  enter(`/var/run/netns/${name}`);
  try {
    return body();
  } finally {
    enter(`/proc/self/fd/${home}`);
    closeSync(home);
  }
}

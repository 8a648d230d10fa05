/** Two good configurations, and what the loader says when lines of them are changed. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { formatError } from '../../../../src/config/error.ts';
import { load } from '../../../../src/config/load.ts';
import type { Config } from '../../../../src/config/model.ts';

export const PLAIN = `[global]
mode = proxy
[vip]
ip = 192.168.100.10
ports = 80,8080
mac = 02:00:00:64:00:0a
[realserver]
count = 2
server1 = 192.168.100.11:80:1:00:00:00:00:00:00
server2 = 192.168.100.12:80:1:00:00:00:00:00:00
[network]
gateway = 192.168.100.1
netmask = 255.255.255.0
`;

export const GENERAL = `[link lan]
device = tap0
[network]
gateway = 192.168.100.1
netmask = 255.255.255.0
local_address = 192.168.100.20
[service web]
ip = 192.168.100.10
ports = 80
count = 1
server1 = 192.168.100.11:80:1:00:00:00:00:00:00
[service db]
ip = 192.168.100.30
ports = 5432
count = 1
server1 = 192.168.100.13:5432:1:00:00:00:00:00:00
`;

export function errorsOf(text: string): string[] {
  const loaded = load(text, 'lb.conf');
  return 'errors' in loaded ? loaded.errors.map(formatError) : [];
}

/** Lines of `text` by number, each replaced (by several, by none). */
export function edit(text: string, changes: Record<number, string | null>): string {
  return text
    .split('\n')
    .flatMap((line, i) => (changes[i + 1] === undefined ? [line] : (changes[i + 1]?.split('\n') ?? [])))
    .join('\n');
}

/** A test: with these changes the file gets these messages. */
export function reports(name: string, text: string, changes: Record<number, string | null>, expected: string[]): void {
  test(name, () => assert.equal(errorsOf(edit(text, changes)), expected));
}

/** [service web] of GENERAL with these lines more. */
export const webWith = (lines: string): Record<number, string> => ({ 9: `ports = 80\n${lines}` });

/** The model of a good file. */
export function modelOf(text: string): Config {
  const loaded = load(text, 'lb.conf');
  if (!('model' in loaded)) throw new Error(loaded.errors.map(formatError).join('\n'));
  return loaded.model;
}

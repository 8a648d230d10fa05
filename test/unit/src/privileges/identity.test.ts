/** Files that are handed over to the user: they have to be what they are called, and only that. */
import { spawnSync } from 'node:child_process';
import { existsSync, linkSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { PrivilegeError } from '../../../../src/privileges/account.ts';
import { Identity } from '../../../../src/privileges/identity.ts';

const ME = { user: String(process.getuid!()), group: String(process.getgid!()), controlGroup: null };

/** A folder with the control socket `s` in it. */
async function inFolder(body: (at: (name: string) => string) => void): Promise<void> {
  const folder = mkdtempSync(join(tmpdir(), 'identity-'));
  const at = (name: string): string => join(folder, name);
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(at('s'), resolve));
  try {
    body(at);
  } finally {
    server.close();
    rmSync(folder, { recursive: true });
  }
}

const refused = (act: () => void, why: RegExp): void =>
  assert.throws(act, (error: Error) => error instanceof PrivilegeError && why.test(error.message));

test('the access log is made, and both are handed over', () =>
  inFolder((at) => {
    new Identity(ME).own(at('s'), at('log'));
    assert.ok(existsSync(at('log')));
    assert.is(statSync(at('log')).mode & 0o777, 0o640 & ~process.umask());
  }));

test('an access log that has a second name is refused: the user may have linked it to what is not its own', () =>
  inFolder((at) => {
    writeFileSync(at('precious'), '');
    linkSync(at('precious'), at('log'));
    refused(() => new Identity(ME).own(at('s'), at('log')), /access_log: .*log cannot be given.*has other names/);
  }));

test('a symbolic link, a device and a pipe are refused, and nobody waits for a reader', () =>
  inFolder((at) => {
    writeFileSync(at('precious'), '');
    symlinkSync(at('precious'), at('link'));
    refused(() => new Identity(ME).own(at('s'), at('link')), /ELOOP.*name the file itself/);
    refused(() => new Identity(ME).own(at('s'), '/dev/null'), /no file of that kind/);
    assert.is(spawnSync('mkfifo', [at('pipe')]).status, 0);
    refused(() => new Identity(ME).own(at('s'), at('pipe')), /ENXIO.*not a pipe/);
  }));

test('what has taken the place of the control socket is refused', () =>
  inFolder((at) => {
    writeFileSync(at('file'), '');
    symlinkSync(at('s'), at('link'));
    refused(() => new Identity(ME).own(at('file'), null), /control_group: .*no file of that kind/);
    refused(() => new Identity(ME).own(at('link'), null), /no file of that kind|ELOOP/);
    linkSync(at('s'), at('second'));
    refused(() => new Identity(ME).own(at('s'), null), /has other names/);
  }));

test.run();

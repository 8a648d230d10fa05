/** Configuration files that cannot be read as text, each with the message it gets. */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { formatError } from '../../../../src/config/error.ts';
import { loadFile } from '../../../../src/config/load.ts';
import { edit, PLAIN } from './mistakes.ts';

const directory = mkdtempSync(join(tmpdir(), 'tsvs-config-'));

const fileErrors = (file: string): string[] => {
  const loaded = loadFile(file);
  return 'errors' in loaded ? loaded.errors.map((error) => formatError(error).replace(directory, 'DIR')) : [];
};

test('missing file', () => {
  assert.equal(fileErrors(join(directory, 'none.conf')), [
    'DIR/none.conf: there is no such file; check the path; config/lb.conf is a sample to start from',
  ]);
});

test('directory in place of a file', () => {
  assert.equal(fileErrors(directory), ['DIR: is a directory; name a file']);
});

test('what has no end or nobody at the other end is refused, not waited for', () => {
  assert.equal(fileErrors('/dev/zero'), ['/dev/zero: is a device; name a file']);
  const pipe = join(directory, 'pipe');
  assert.is(spawnSync('mkfifo', [pipe]).status, 0);
  const loaded = loadFile(pipe, undefined, false);
  assert.ok('errors' in loaded);
  assert.equal(loaded.errors.map(formatError), [`${pipe}: is a pipe; name a file`]);
});

test('a pipe is read where there is time for that, but not for ever', () => {
  const check = (words: string): string =>
    spawnSync(
      'bash',
      ['-c', `${words} | timeout 20 ${process.execPath} --import tsx src/bin.ts check --config /dev/stdin`],
      {
        encoding: 'utf8',
      },
    ).stderr;
  assert.match(check('echo "[vip"'), /^\/dev\/stdin:1: /);
  assert.match(check("yes '# nothing'"), /^\/dev\/stdin: is too large; a configuration has at most 16 MiB/);
});

test('binary file', () => {
  const file = join(directory, 'binary.conf');
  writeFileSync(file, Buffer.from([0x5b, 0x76, 0x69, 0x70, 0x5d, 0x0a, 0x7f, 0x45, 0x4c, 0x46, 0x00, 0xff, 0xfe]));
  assert.equal(fileErrors(file), [
    'DIR/binary.conf:2: is not a text file: it contains the control character 0x7f; save it as UTF-8 text',
  ]);
});

test('UTF-16 file', () => {
  const file = join(directory, 'utf16.conf');
  writeFileSync(file, Buffer.from(`\ufeff${PLAIN}`, 'utf16le'));
  assert.equal(fileErrors(file), [
    'DIR/utf16.conf:1: is not a text file: it contains the control character 0x00; save it as UTF-8 text',
  ]);
});

test('a value that is not UTF-8 is refused', () => {
  const file = join(directory, 'latin.conf');
  const bytes = Buffer.from(edit(PLAIN, { 2: 'control_socket = /run/tsvs-\u00e9' }), 'latin1');
  writeFileSync(file, bytes);
  assert.equal(fileErrors(file), [
    "DIR/latin.conf:2: [global] control_socket: '/run/tsvs-\ufffd' contains bytes that are not UTF-8; choose a plain name",
  ]);
});

test.after(() => rmSync(directory, { recursive: true }));

test.run();

/**
 * Every packet script below test/scripts is a test, named after its first comment. The language is described in
 * docs/packet-scripts.md.
 */
import { readFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { listFiles } from '../lib/files.ts';
import { parseScript } from '../lib/script/parse.ts';
import { Play } from '../lib/script/play.ts';

const files = listFiles('test/scripts', '.pkt');

for (const file of files) {
  test(file, () => {
    const script = parseScript(file, readFileSync(file, 'utf8'));
    assert.match(script.title, /\bRFC \d+\b/, `${file}: the first comment names the RFC it shows`);
    new Play(script).run();
  });
}

test('there are scripts', () => {
  assert.ok(files.length > 0);
});

test.run();

/** docs/configuration.md says what the schema says. */
import { readFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { CONFIG_DOC, renderConfigDoc } from '../../../../scripts/gen-config-docs.ts';
import type { Section } from '../../../../src/config/rows/row.ts';
import { SCHEMA } from '../../../../src/config/schema.ts';

test('the page is what the generator makes: run npx tsx scripts/gen-config-docs.ts', () => {
  assert.is(readFileSync(CONFIG_DOC, 'utf8'), renderConfigDoc());
});

const sections: [string, Section][] = Object.entries(SCHEMA);

for (const [kind, { rows }] of sections) {
  test(`the examples and defaults of [${kind}] are valid`, () => {
    for (const [key, row] of Object.entries(rows)) {
      assert.ok(row.read.safeParse(row.example).success, `${key} = ${row.example}`);
      if (row.default !== null) assert.ok(row.read.safeParse(row.default).success, `${key} = ${row.default}`);
    }
  });
}

test('every key is on the page', () => {
  const page = renderConfigDoc();
  for (const [kind, { rows }] of sections) {
    assert.match(page, new RegExp(`^### \\[${kind}( NAME)?\\]$`, 'm'));
    for (const key of Object.keys(rows)) assert.match(page, `| \`${key}\` |`);
  }
});

test.run();

/**
 * Imports point one way, src -> lb -> stack, and the two lower layers depend on no host: no Node, no package, no
 * clock, no random source. Every file says at its head what it is for.
 */
import { readFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { listFiles } from '../lib/files.ts';
import { ambientNames, hasHead, importsOf, isNameless, LAYER_NAMES, wrongImports } from './layers.ts';

const sources = LAYER_NAMES.flatMap((layer) =>
  listFiles(layer, '.ts').map((file) => ({ layer, file, source: readFileSync(file, 'utf8') })),
);

/** Compares with the empty list, so that a failure names every offender. */
const none = (offenders: string[]): void => assert.equal(offenders, []);

test('every layer has source files', () => {
  none(LAYER_NAMES.filter((layer) => !sources.some((one) => one.layer === layer)));
});

test('stack imports stack, lb imports lb and stack, layers 4 and 7 stay apart', () => {
  none(sources.flatMap(({ layer, file, source }) => wrongImports(layer, file, source)));
});

test('stack and lb use no clock, no random source and nothing of the host', async () => {
  const offenders: string[] = [];
  for (const { layer, file, source } of sources) {
    if (layer === 'src') continue;
    for (const name of await ambientNames(source)) offenders.push(`${file} uses ${name}`);
  }
  none(offenders);
});

test('every file opens with a doc comment', () => {
  none(sources.filter(({ source }) => !hasHead(source)).map(({ file }) => file));
});

test('no file is named for nothing in particular', () => {
  const files = ['stack', 'lb', 'src', 'test', 'scripts'].flatMap((folder) => listFiles(folder, ''));
  none(files.filter(isNameless));
});

test('an import that points up, out or across is found', () => {
  const wrong = (layer: 'stack' | 'lb' | 'src', file: string, source: string): number =>
    wrongImports(layer, file, source).length;
  assert.is(wrong('stack', 'stack/ipv4/input.ts', "import { a } from '../../lb/core.ts';"), 1);
  assert.is(wrong('stack', 'stack/ipv4/input.ts', "import { a } from '../mem/slab.ts';"), 0);
  assert.is(wrong('stack', 'stack/index.ts', "import type { A } from 'node:fs';"), 1);
  assert.is(wrong('lb', 'lb/core.ts', "export * from '../src/main.ts';"), 1);
  assert.is(wrong('lb', 'lb/core.ts', "import ini from 'ini';\nimport './conn.ts';"), 1);
  assert.is(wrong('lb', 'lb/conn.ts', "import {\n  a,\n  b,\n} from './l7/listener.ts';"), 1);
  assert.is(wrong('lb', 'lb/l7/relay.ts', "import { a } from '../xmit/nat.ts';"), 1);
  assert.is(wrong('lb', 'lb/splice.ts', "import { a } from './xmit/nat.ts';\nimport { b } from './l7/relay.ts';"), 0);
  assert.is(wrong('src', 'src/main.ts', "import { a } from '../test/lib/netns.ts';"), 1);
  assert.equal(importsOf("const a = await import('x');\nexport { b } from 'y';\nimport z, { c } from 'z';").sort(), [
    'x',
    'y',
    'z',
  ]);
});

test('an ambient name is found where it is used, and only there', async () => {
  assert.equal(await ambientNames('export const now = () => Date.now() + Math.random();'), ['Date', 'Math.random']);
  assert.equal(await ambientNames('export const f = (id: number) => { setTimeout(() => process.exit(id)); };'), [
    'process',
    'setTimeout',
  ]);
  assert.equal(await ambientNames('/** Date */ export const f = (h: { process(): void }) => h.process();'), []);
  assert.equal(
    await ambientNames('export function process(performance: number) { return Math.abs(performance); }'),
    [],
  );
});

test('a missing head and an empty name are found', () => {
  assert.ok(hasHead('/**\n * What it is for.\n */\nexport {};\n'));
  assert.ok(hasHead('#!/usr/bin/env node\n/** What it is for. */\n'));
  assert.not.ok(hasHead("import 'x';\n/** late */\n"));
  assert.not.ok(hasHead('/** */\n'));
  assert.ok(isNameless('stack/utils.ts'));
  assert.ok(isNameless('src/common/log.ts'));
  assert.not.ok(isNameless('stack/tcp/output.ts'));
});

test.run();

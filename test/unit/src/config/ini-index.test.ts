/** The line index of INI files, and the guess at what a mistyped word meant. */
import * as fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { formatError } from '../../../../src/config/error.ts';
import { indexIni } from '../../../../src/config/ini-index.ts';
import { load, loadWithFstack } from '../../../../src/config/load.ts';
import { editDistance, nearest } from '../../../../src/config/nearest.ts';

function read(line: string): string | undefined {
  return indexIni(`[s]\n${line}`).sections[0].entries[0]?.value;
}

test('a value ends at a comment and loses the spaces around it', () => {
  assert.is(read('k = v'), 'v');
  assert.is(read('  k=v  # c'), 'v');
  assert.is(read('k = v;c'), 'v');
  assert.is(read('k = a b '), 'a b');
  assert.is(read('k = a=b'), 'a=b');
  assert.is(read('k = # all comment'), '');
  assert.is(read('k = 值 # 注释'), '值');
});

test('quotes and backslashes keep comment characters', () => {
  assert.is(read('k = "a # b"'), 'a # b');
  assert.is(read("k = 'a ; b'"), 'a ; b');
  assert.is(read('k = a\\#b'), 'a#b');
  assert.is(read('k = "a" # c'), 'a');
});

test('values are text, never numbers, objects or truth', () => {
  assert.is(read("k = '1'"), '1');
  assert.is(read('k = true'), 'true');
  assert.is(read('k = null'), 'null');
  assert.is(read('k = \'{"a":1}\''), '{"a":1}');
});

test('both of two equal keys are there, with their lines', () => {
  const [section] = indexIni('[s]\nk=1\n\n[t]\n[s]\nk=2').sections;
  assert.equal(section.entries, [
    { key: 'k', value: '1', line: 2, column: 1 },
    { key: 'k', value: '2', line: 6, column: 1 },
  ]);
  assert.equal(section.repeatedAt, [5]);
});

test('section titles keep their dots and lose double spaces', () => {
  const { sections } = indexIni('[a.b]\n[ service   x.y ] # c\nk=1');
  assert.equal(
    sections.map(({ title, kind, name, line }) => ({ title, kind, name, line })),
    [
      { title: 'a.b', kind: 'a.b', name: '', line: 1 },
      { title: 'service x.y', kind: 'service', name: 'x.y', line: 2 },
    ],
  );
});

test('lines are counted alike for every line end', () => {
  for (const end of ['\n', '\r\n', '\r']) {
    const { sections, lastLine } = indexIni(`# c${end}${end}[s]${end}k=1${end}`);
    assert.equal([sections[0].line, sections[0].entries[0].line, lastLine], [3, 4, 4]);
  }
});

test('the keys of a section that cannot be read are not given to the one before', () => {
  const { sections, problems } = indexIni('[a]\nx=1\n[b\ny=2\n[c]\nz=3');
  assert.equal(
    sections.map((section) => section.entries.map((entry) => entry.key)),
    [['x'], ['z']],
  );
  assert.equal(
    problems.map((problem) => problem.line),
    [3],
  );
});

test('edit distance counts insertions, deletions, replacements and swaps', () => {
  assert.is(editDistance('ports', 'ports'), 0);
  assert.is(editDistance('prots', 'ports'), 1);
  assert.is(editDistance('port', 'ports'), 1);
  assert.is(editDistance('', 'abc'), 3);
  assert.is(editDistance('kitten', 'sitting'), 3);
});

test('the nearest word is near, or there is none', () => {
  assert.is(nearest('PROTS', ['ip', 'ports', 'mac']), 'ports');
  assert.is(nearest('colour', ['ip', 'ports', 'mac']), null);
  assert.is(nearest('x'.repeat(100_000), ['x']), null);
});

const words = fc.constantFrom(
  ...[
    '[vip]',
    '[realserver]',
    '[service a]',
    '[link b]',
    '[network]',
    '[global]',
    '[port0]',
    '[',
    ']',
    'ip',
    'ports',
    'count',
    'server1',
    'server2',
  ],
  ...[
    '=',
    ',',
    ':',
    '#',
    ';',
    '"',
    "'",
    '\\',
    '\n',
    '\r\n',
    ' ',
    '192.168.100.10',
    '0',
    '80',
    '99999',
    '/24',
    'netmask',
    'addr',
    '__proto__',
    '\ufeff',
    '\0',
  ],
);
const text = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 200 }),
  fc.array(words, { maxLength: 60 }).map((parts) => parts.join('')),
  fc
    .array(fc.tuple(words, words, words), { maxLength: 30 })
    .map((lines) => lines.map(([a, b, c]) => `${a}${b}${c}`).join('\n')),
);

test('whatever the text, loading gives errors with lines of the file and never throws', () => {
  fc.assert(
    fc.property(text, (source) => {
      const loaded = load(source, 'f');
      if ('model' in loaded) return;
      const lines = source.split(/\r\n|\n|\r/).length;
      assert.ok(loaded.errors.length > 0);
      for (const error of loaded.errors) {
        assert.ok(error.line >= 1 && error.line <= lines, formatError(error));
        assert.not.match(formatError(error), 'undefined');
      }
    }),
    { numRuns: 2000 },
  );
});

test('whatever the two texts, loading them together never throws', () => {
  fc.assert(
    fc.property(text, text, (lb, fstack) => {
      const loaded = loadWithFstack(lb, 'l', fstack, 'f');
      assert.ok('model' in loaded || loaded.errors.length > 0);
      assert.ok(loaded.warnings.length <= 1);
    }),
    { numRuns: 1000 },
  );
});

test.run();

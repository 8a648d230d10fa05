/** The layout of tables. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { formatTable, left, right } from '../../../../src/cli/table.ts';

test('columns are as wide as their widest cell; numbers stand at the right', () => {
  const rows = [
    ['web', '7', 'x'],
    ['database', '1,234', ''],
  ];
  assert.equal(formatTable([left('name'), right('n'), left('note')], rows).split('\n'), [
    'name          n  note',
    'web           7  x',
    'database  1,234',
  ]);
});

test('without rows there are the titles', () => {
  assert.is(formatTable([left('a'), right('b')], []), 'a  b');
});

test('a cell that is missing is empty', () => {
  assert.is(formatTable([left('a'), left('b'), left('c')], [['1', '2']]), 'a  b  c\n1  2');
});

test('width is counted in characters, not in code units', () => {
  assert.is(formatTable([left('a'), left('b')], [['𝒲𝒲', 'x']]), 'a   b\n𝒲𝒲  x');
});

test.run();

/**
 * docs/rfc/NUMBER.md, one page for each RFC of the core: every requirement has an answer, every test named as showing it
 * exists, every number of RFC 9293 is there once, and the sums are right.
 */
import { readFileSync } from 'node:fs';
import { posix } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { listFiles } from '../lib/files.ts';
import { linksOf, referencesOf, tableRows, testsOf } from './markdown.ts';

const INDEX = 'docs/rfc/README.md';
const STATES = ['yes', 'partly', 'no', 'n/a'];

interface Row {
  readonly label: string;
  readonly requirement: string;
  readonly kept: string;
  readonly shown: string;
}

const pages = new Map(
  listFiles('docs/rfc', '.md')
    .filter((file) => file !== INDEX)
    .map((file) => [posix.basename(file, '.md'), readFileSync(file, 'utf8')]),
);

const rowsOf = (source: string): Row[] =>
  tableRows(source, 'kept').map(([label = '', requirement = '', kept = '', shown = '']) => ({
    label,
    requirement,
    kept,
    shown,
  }));

/** The first word of a label of RFC 9293: `MUST-1`. */
const numberOf = (label: string): string => label.split(' ')[0] as string;
const kept9293 = new Map(rowsOf(pages.get('9293') ?? '').map((row) => [numberOf(row.label), row.kept]));

/** Rows of RFC 9293 that another page's row rests on: "as 9293 MUST-1". */
const restsOn = (shown: string): string[] => [...shown.matchAll(/\bas 9293 ([A-Z]+-\d+)/g)].map((m) => m[1] as string);

const sources = new Map<string, string>();
function sourceOf(file: string): string {
  if (!sources.has(file)) sources.set(file, readFileSync(file, 'utf8'));
  return sources.get(file) as string;
}

/** Is there a string that reads `title`, where … may stand for what a template puts in? */
function hasTitle(source: string, title: string): boolean {
  const text = title
    .replaceAll(/[.*+?^$|(){}[\]\\/]/g, '\\$&')
    .replaceAll("'", "\\\\?'")
    .replaceAll('…', '(?:…|\\$\\{[^}]*\\})');
  return new RegExp(`(['"\`])${text}\\1`).test(source);
}

/** Compares with the empty list, so that a failure names every offender. */
const none = (offenders: string[]): void => assert.equal(offenders, []);
const eachRow = (find: (row: Row, page: string) => string[]): string[] =>
  [...pages].flatMap(([page, source]) =>
    rowsOf(source).flatMap((row) => find(row, page).map((what) => `RFC ${page}, ${row.label}: ${what}`)),
  );

test('there is a page for each RFC of the core, and the index leads to it', () => {
  const core = ['791', '792', '826', '1122', '2018', '5681', '5961', '6298', '7323', '9293'];
  assert.equal([...pages.keys()].sort(), [...core].sort());
  const links = linksOf(readFileSync(INDEX, 'utf8'));
  none(core.filter((page) => !links.includes(`${page}.md`)));
  none([...pages].filter(([page, source]) => !source.startsWith(`# RFC ${page}: `)).map(([page]) => page));
});

test('every row has a requirement and a state; what is kept names tests, what is not says why', () => {
  none(
    eachRow(({ requirement, kept, shown }) => {
      const wrong: string[] = [];
      if (requirement === '') wrong.push('no requirement');
      if (!STATES.includes(kept)) wrong.push(`'${kept}' is no state`);
      const shows = testsOf(shown).length + restsOn(shown).length;
      if ((kept === 'yes' || kept === 'partly') && shows === 0) wrong.push('which test shows it?');
      if (shown === '') wrong.push('why not?');
      return wrong;
    }),
  );
});

test('every test that is named exists, under that name', () => {
  none(
    [...pages].flatMap(([page, source]) => {
      const files = referencesOf(source);
      return rowsOf(source).flatMap(({ label, shown }) =>
        testsOf(shown)
          .filter(([name, title]) => {
            const target = files.get(name);
            return target === undefined || !hasTitle(sourceOf(posix.join('docs/rfc', target)), title);
          })
          .map(([name, title]) => `RFC ${page}, ${label}: no '${title}' in [${name}]`),
      );
    }),
  );
});

test('a row that rests on one of RFC 9293 has the same state', () => {
  none(eachRow(({ kept, shown }) => restsOn(shown).filter((number) => kept9293.get(number) !== kept)));
});

test('every MUST, SHLD and MAY of RFC 9293 is there exactly once, in order', () => {
  const wanted = (
    [
      ['MUST', 69],
      ['SHLD', 31],
      ['MAY', 18],
    ] as const
  ).flatMap(([kind, last]) => Array.from({ length: last }, (_, i) => `${kind}-${i + 1}`));
  const found = rowsOf(pages.get('9293') ?? '').map((row) => numberOf(row.label));
  assert.equal(found, wanted);
});

test('each page sums up its rows, and the index has the same sums', () => {
  const index = new Map(tableRows(readFileSync(INDEX, 'utf8'), 'statements').map(([rfc, ...sums]) => [rfc, sums]));
  none(
    [...pages].flatMap(([page, source]) => {
      const rows = rowsOf(source);
      const sums = STATES.map((state) => rows.filter((row) => row.kept === state).length);
      const line = `${rows.length} statements: ${STATES.map((state, i) => `${sums[i]} ${state}`).join(', ')}.`;
      const inIndex = [...index].find(([rfc]) => rfc?.includes(`(${page}.md)`))?.[1]?.slice(-5);
      const same = JSON.stringify(inIndex) === JSON.stringify([rows.length, ...sums].map(String));
      return [
        ...(source.includes(`\n${line}\n`) ? [] : [`${page}.md should say: ${line}`]),
        ...(same ? [] : [`${INDEX}: ${page}`]),
      ];
    }),
  );
});

test('what the checks look for is found', () => {
  assert.equal(testsOf('[a] "one"; [b-c] "two, three", see [ADR](x.md)'), [
    ['a', 'one'],
    ['b-c', 'two, three'],
  ]);
  assert.equal(
    [...referencesOf('text\n\n[a]: ../x.ts\n[b-c]: y.ts\n')],
    [
      ['a', '../x.ts'],
      ['b-c', 'y.ts'],
    ],
  );
  assert.ok(hasTitle("test('it (is)', () =>", 'it (is)'));
  // biome-ignore lint/suspicious/noTemplateCurlyInString: a source that has one
  assert.ok(hasTitle('test(`${x}: it`, () =>', '…: it'));
  assert.not(hasTitle("test('it is so', () =>", 'it is'));
  assert.equal(restsOn('as 9293 MUST-1, as 9293 SHLD-2'), ['MUST-1', 'SHLD-2']);
});

test.run();

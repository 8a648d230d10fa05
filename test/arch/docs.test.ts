/**
 * The documentation agrees with the tree: what it names exists, what it links to is there, what it shows can be typed, and what is
 * generated is fresh.
 */
import { execFileSync } from 'node:child_process';
import { existsSync, readFileSync } from 'node:fs';
import { posix } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { COUNTERS_DOC, renderCountersDoc } from '../../scripts/gen-counters-docs.ts';
import { load } from '../../src/config/load.ts';
import { listFiles } from '../lib/files.ts';
import {
  anchorsOf,
  citedRfcs,
  codeOf,
  commandsOf,
  fencesOf,
  linksOf,
  namesOf,
  npmScriptsOf,
  pathsOf,
  tableRows,
} from './markdown.ts';

const PAGES = ['README.md', 'CHANGELOG.md', 'CONTRIBUTING.md', 'SECURITY.md', ...listFiles('docs', '.md')];
const pages = new Map(PAGES.map((file) => [file, readFileSync(file, 'utf8')]));
const text = (file: string): string => pages.get(file) ?? readFileSync(file, 'utf8');
const each = (find: (source: string, file: string) => string[]): string[] =>
  [...pages].flatMap(([file, source]) => find(source, file).map((what) => `${file}: ${what}`));

/** Compares with the empty list, so that a failure names every offender. */
const none = (offenders: string[]): void => assert.equal(offenders, []);

test('docs/counters.md is what the generator makes: run npx tsx scripts/gen-counters-docs.ts', () => {
  assert.is(readFileSync(COUNTERS_DOC, 'utf8'), renderCountersDoc());
});

test('every path that a page names exists', () => {
  none(each((source) => pathsOf(source).filter((path) => !existsSync(path))));
});

test('every link leads to a file, and to a heading of it', () => {
  none(
    each((source, file) =>
      linksOf(source).filter((link) => {
        const [path = '', anchor] = link.split('#');
        const target = path === '' ? file : posix.join(posix.dirname(file), path);
        if (!existsSync(target)) return true;
        return anchor !== undefined && !anchorsOf(text(target)).includes(anchor);
      }),
    ),
  );
});

test('every page can be reached from the README', () => {
  const reached = new Set<string>();
  const visit = (file: string): void => {
    if (reached.has(file) || !pages.has(file)) return;
    reached.add(file);
    for (const link of linksOf(text(file))) {
      const path = link.split('#')[0] ?? '';
      if (path !== '') visit(posix.join(posix.dirname(file), path));
    }
  };
  visit('README.md');
  none(PAGES.filter((file) => !reached.has(file)));
});

test('every npm script and every command of tsvs that a page shows is there', () => {
  const { scripts } = JSON.parse(text('package.json')) as { scripts: Record<string, string> };
  none(each((source) => npmScriptsOf(source).filter((name) => !(name in scripts))));

  const help = execFileSync(process.execPath, ['--import', 'tsx', 'src/bin.ts', '--help'], { encoding: 'utf8' });
  const known = [...help.matchAll(/^ {2}(\w+) \[(?:options|words)/gm)].map((match) => match[1]);
  assert.ok(known.includes('run'));
  none(each((source) => commandsOf(source).filter((name) => !known.includes(name))));
  none(
    known.filter((name) => !commandsOf(text('README.md')).includes(name ?? '')).map((name) => `README lacks ${name}`),
  );
});

test("the README's sample configuration is the shipped one", () => {
  const sample = fencesOf(text('README.md'), 'ini')[0] ?? '';
  assert.equal(load(sample, 'lb.conf'), load(text('config/lb.conf'), 'lb.conf'));
});

test('features: each has a state; what works names tests, and they exist', () => {
  const wrong: string[] = [];
  for (const [feature = '', state = '', shown = ''] of tableRows(text('docs/features.md'), 'state')) {
    if (!/^(works|partly: .+|not yet)$/.test(state)) wrong.push(`${feature}: '${state}' is no state`);
    const tests = namesOf(shown);
    if (state === 'works' && tests.length === 0) wrong.push(`${feature}: works, but which test shows it?`);
    for (const file of tests) if (!existsSync(file)) wrong.push(`${feature}: there is no ${file}`);
  }
  none(wrong);
});

test('features: every test file is in a folder that the page lists', () => {
  const folders = tableRows(text('docs/features.md'), 'what is tested there').flatMap(([folder = '']) =>
    namesOf(folder),
  );
  none(folders.filter((folder) => listFiles(folder.replace(/\/$/, ''), '.test.ts').length === 0));
  none(listFiles('test', '.test.ts').filter((file) => !folders.some((folder) => file.startsWith(folder))));
});

test('decisions are numbered in order, listed, and of one form', () => {
  const files = listFiles('docs/adr', '.md').filter((file) => !file.endsWith('/README.md'));
  const index = linksOf(text('docs/adr/README.md'));
  const wrong: string[] = [];
  files.forEach((file, i) => {
    const number = String(i + 1).padStart(4, '0');
    const name = posix.basename(file);
    if (!name.startsWith(`${number}-`)) wrong.push(`${file} should be number ${number}`);
    if (!index.includes(name)) wrong.push(`${file} is not in docs/adr/README.md`);
    const source = text(file);
    if (!source.startsWith(`# ${number}: `)) wrong.push(`${file} has another title`);
    for (const part of ['Context', 'Decision', 'Alternatives', 'Consequences', 'When to look again']) {
      if (!source.includes(`\n## ${part}\n`)) wrong.push(`${file} lacks '${part}'`);
    }
  });
  none(wrong);
});

test('docs/rfc/README.md has every RFC that the code cites, and the code cites it where the page says', () => {
  const page = text('docs/rfc/README.md');
  const mentioned = new Set([...page.matchAll(/\b\d{3,4}\b/g)].map((match) => match[0]));
  const sources = ['stack', 'lb', 'src'].flatMap((layer) => listFiles(layer, '.ts'));
  const wrong = sources.flatMap((file) =>
    citedRfcs(text(file))
      .filter((rfc) => !mentioned.has(rfc))
      .map((rfc) => `${file} cites RFC ${rfc}, docs/rfc/README.md does not have it`),
  );
  for (const [rfc = '', , where = ''] of tableRows(page, 'where')) {
    const numbers = [...rfc.matchAll(/\b\d{3,4}\b/g)].map((match) => match[0]);
    for (const file of namesOf(where)) {
      const cited = existsSync(file) ? citedRfcs(text(file)) : [];
      if (!numbers.some((n) => cited.includes(n))) wrong.push(`${file} does not cite RFC ${numbers.join(' or ')}`);
    }
  }
  none(wrong);
});

test('no page has paths of one machine, or pictures instead of words', () => {
  none(each((source) => [...source.matchAll(/(?<![\w.])\/(?:work|home|root|Users)\/\S*/g)].map((match) => match[0])));
  none(each((source) => [...source.matchAll(/\p{Extended_Pictographic}/gu)].map((match) => match[0])));
});

test('what the checks look for is found', () => {
  const page = [
    '# A title, with `code`',
    'See `stack/mem/slab.ts`, [there](b.md#x) and [out](https://example.org/stack/no.ts). `npm run a`, `tsvs go --x`, `--y`.',
    '```sh',
    '$ sudo npx tsvs fly',
    'npm run b -- --json',
    'stack/nowhere.ts',
    '```',
    '| name | state |',
    '| --- | --- |',
    '| one \\| two | works |',
    '',
  ].join('\n');
  assert.equal(anchorsOf(page), ['a-title-with-code']);
  assert.equal(pathsOf(page), ['stack/mem/slab.ts', 'stack/nowhere.ts']);
  assert.equal(linksOf(page), ['b.md#x']);
  assert.equal(npmScriptsOf(page), ['a', 'b']);
  assert.equal(commandsOf(page), ['go', 'fly']);
  assert.equal(tableRows(page, 'state'), [['one | two', 'works']]);
  assert.equal(namesOf('`a`, not b, `c`'), ['a', 'c']);
  assert.equal(fencesOf(page, 'sh').length, 1);
  assert.equal(codeOf('`a` b'), ['a']);
  assert.equal(citedRfcs('RFC 6298 §2, RFCs 1858 and RFC 791.'), ['6298', '1858', '791']);
});

test.run();

/**
 * Reading Markdown for the tests of the documentation: links, headings, tables, and what stands in code. Made for the pages
 * of this project, no general parser.
 */

const FENCE = /^```(\w*)\n([\s\S]*?)^```$/gm;

/** The contents of fenced blocks, of one language or of all. */
export function fencesOf(source: string, language?: string): string[] {
  return [...source.matchAll(FENCE)]
    .filter((match) => language === undefined || match[1] === language)
    .map((match) => match[2] as string);
}

const withoutFences = (source: string): string => source.replace(FENCE, '');

/** Everything in code: spans first, then the lines of fenced blocks. */
export function codeOf(source: string): string[] {
  // A span may be wrapped, but not beyond its paragraph.
  const spans = [...withoutFences(source).matchAll(/`((?:[^`\n]|\n(?!\s*\n))+)`/g)].map((match) =>
    (match[1] as string).replaceAll(/\s*\n\s*/g, ' '),
  );
  return [...spans, ...fencesOf(source).flatMap((block) => block.split('\n'))];
}

/** What stands in code spans of a table's cell. */
export function namesOf(cell: string): string[] {
  return [...cell.matchAll(/`([^`]+)`/g)].map((match) => match[1] as string);
}

/** Paths of the project that stand in code. Those with a `*` stand for their folder. */
export function pathsOf(source: string): string[] {
  const path = /(?<![\w./-])((?:stack|lb|src|test|scripts|config|docs|\.ci)\/[\w./*-]*[\w/*])(?![\w<])/g;
  const found = codeOf(source).flatMap((code) => [...code.matchAll(path)].map((match) => match[1] as string));
  return [...new Set(found.filter((name) => !/[A-Z]{2}/.test(name.replace('README', ''))).map(folderOfPattern))];
}

const folderOfPattern = (path: string): string => (path.includes('*') ? path.slice(0, path.lastIndexOf('/')) : path);

/** Targets of links within the project. */
export function linksOf(source: string): string[] {
  return [...withoutFences(source).matchAll(/\]\(([^)\s]+)\)/g)]
    .map((match) => match[1] as string)
    .filter((target) => !/^[a-z]+:/.test(target));
}

/** The anchors of a page's headings, as GitHub makes them. */
export function anchorsOf(source: string): string[] {
  return [...withoutFences(source).matchAll(/^#{1,6} (.+)$/gm)].map((match) =>
    (match[1] as string)
      .toLowerCase()
      .replace(/[^\p{L}\p{N} _-]/gu, '')
      .replaceAll(' ', '-'),
  );
}

/** Scripts of package.json that are run in code. */
export function npmScriptsOf(source: string): string[] {
  const found = codeOf(source).flatMap((code) => [...code.matchAll(/\bnpm run (?:-s )?([\w:-]+)/g)]);
  return found.map((match) => match[1] as string);
}

/** Commands of tsvs that are typed in code: at its beginning, or behind `&&`. */
export function commandsOf(source: string): string[] {
  const found = codeOf(source).flatMap((code) => [
    ...code.matchAll(/(?:^|&& )(?:\$ )?(?:sudo )?(?:npx )?tsvs ([a-z]+)\b(?!:)/g),
  ]);
  return [...new Set(found.map((match) => match[1] as string))];
}

/** The rows of all tables one of whose columns has this heading, as cells without the marks around them. */
export function tableRows(source: string, heading: string): string[][] {
  const rows: string[][] = [];
  let inside = false;
  for (const line of source.split('\n')) {
    if (!line.startsWith('|')) inside = false;
    else if (inside && !/^\|[\s|:-]+\|$/.test(line)) rows.push(cellsOf(line));
    else if (!inside && cellsOf(line).includes(heading)) inside = true;
  }
  return rows;
}

function cellsOf(line: string): string[] {
  const cells = line.split(/(?<!\\)\|/).slice(1, -1);
  return cells.map((cell) => cell.replaceAll('\\|', '|').trim());
}

/** Numbers of the RFCs that a source file cites. */
export function citedRfcs(source: string): string[] {
  return [...new Set([...source.matchAll(/\bRFCs? ?(\d{3,4})\b/g)].map((match) => match[1] as string))];
}

/** Definitions of reference links, name to target. */
export function referencesOf(source: string): Map<string, string> {
  return new Map(
    [...source.matchAll(/^\[([\w-]+)\]: (\S+)$/gm)].map((match) => [match[1] as string, match[2] as string]),
  );
}

/** Tests named in a cell, as reference and title: `[file] "title"`. */
export function testsOf(cell: string): [string, string][] {
  return [...cell.matchAll(/\[([\w-]+)\] "([^"]+)"/g)].map((match) => [match[1] as string, match[2] as string]);
}

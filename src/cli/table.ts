/** Tables for people: columns as wide as their widest cell, two spaces apart, no trailing space. */

export interface Column {
  readonly title: string;
  /** Numbers stand at the right of their column. */
  readonly align?: 'left' | 'right';
}

/** One line per row below the titles; no line feed at the end. A cell that is missing is empty. */
export function formatTable(columns: readonly Column[], rows: readonly (readonly string[])[]): string {
  const lines = [columns.map((column) => column.title), ...rows];
  const widths = columns.map((_, i) => Math.max(...lines.map((line) => widthOf(line[i] ?? ''))));
  return lines
    .map((line) =>
      columns
        .map(({ align = 'left' }, i) => {
          const cell = line[i] ?? '';
          const fill = ' '.repeat(widths[i]! - widthOf(cell));
          return align === 'right' ? fill + cell : cell + fill;
        })
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

/** Code points: names in a configuration may be in any script. */
const widthOf = (text: string): number => [...text].length;

export const left = (title: string): Column => ({ title });
export const right = (title: string): Column => ({ title, align: 'right' });

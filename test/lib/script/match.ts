/** Compares a segment that the host sent with what the script expects; says in words what differs. */
import type { DecodedSegment } from '../segment.ts';
import type { Connection } from './connection.ts';
import type { Relative } from './frame.ts';
import type { OptionText, Range, SegmentText } from './script.ts';

const within = (n: number, r: Range): boolean => n >= r.from && n <= r.to;
const say = (r: Range): string => (r.from === -Infinity ? '*' : r.from === r.to ? `${r.from}` : `${r.from}~${r.to}`);

/** The differences, none = it is the one. */
export function differences(c: Connection, want: SegmentText, got: Relative, s: DecodedSegment): string[] {
  const wrong: string[] = [];
  const check = (name: string, ok: boolean, wanted: string | number, was: string | number): void => {
    if (!ok) wrong.push(`${name} ${was}, expected ${wanted}`);
  };
  // PSH counts where the script names it.
  const push = want.flags.includes('P');
  const flags = (f: string): string =>
    [...f]
      .filter((l) => l !== '-' && (l !== 'P' || push))
      .sort()
      .join('');
  check('flags', flags(got.flags) === flags(want.flags), want.flags, got.flags);
  if (want.ecn !== undefined) check('ECN field', (s.tos & 3) === want.ecn, want.ecn, s.tos & 3);
  if (want.seq !== undefined) check('seq', got.seq === want.seq, want.seq, got.seq);
  if (want.length !== undefined) check('length', got.length === want.length, want.length, got.length);
  if (want.ack !== undefined && got.ack !== null) check('ack', within(got.ack, want.ack), say(want.ack), got.ack);
  if (want.win !== undefined) check('win', within(got.win, want.win), say(want.win), got.win);
  if (want.options !== undefined) wrong.push(...optionDifferences(want.options, got));
  const sent = String.fromCharCode(...s.data);
  if (want.data !== undefined) check('data', sent === want.data, JSON.stringify(want.data), JSON.stringify(sent));
  // Whatever the script says: these are the bytes that the application wrote, at their place.
  for (let i = 0; i < s.data.length; i++) {
    const wrote = c.written[got.seq - 1 + i];
    if (s.data[i] === wrote) continue;
    wrong.push(`byte ${got.seq + i} is ${s.data[i]}, the application wrote ${wrote}`);
    break;
  }
  return wrong;
}

function optionDifferences(want: readonly OptionText[], got: Relative): string[] {
  const wrong: string[] = [];
  const left = new Set(got.options.keys());
  for (const o of want) {
    if (o.kind === 'nop' || o.kind === 'eol') continue;
    const value = got.options.get(o.kind);
    left.delete(o.kind);
    if (value === undefined) wrong.push(`no option ${o.kind}`);
    else if (o.kind === 'TS') {
      const [val, echo] = got.ts!;
      if (!within(val, o.value)) wrong.push(`TS val ${val}, expected ${say(o.value)}`);
      if (o.echo !== 'last' && !within(echo, o.echo)) wrong.push(`TS ecr ${echo}, expected ${say(o.echo)}`);
    } else if (o.kind === 'mss' || o.kind === 'wscale') {
      if (!within(Number(value), o.value)) wrong.push(`${o.kind} ${value}, expected ${say(o.value)}`);
    } else if (o.kind === 'sack') {
      const blocks = o.blocks.map((b) => b.join(':')).join(' ');
      if (blocks !== value) wrong.push(`sack ${value}, expected ${blocks}`);
    }
  }
  for (const name of left) wrong.push(`option ${name} ${got.options.get(name)} is not expected`);
  return wrong;
}

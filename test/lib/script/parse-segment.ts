/** Reads the text of a segment or of an ICMP error in a packet script. */
import { Expected, type Scanner } from './scan.ts';
import { ANYTHING, type IcmpText, type OptionText, type Range, type SegmentText, type Twist } from './script.ts';

type Mutable<T> = { -readonly [K in keyof T]: T[K] };

const ECN = new Map([
  ['noecn', 0],
  ['ect1', 1],
  ['ect0', 2],
  ['ce', 3],
]);

const NUMBERS = 'first:end(length), as in 1:1001(1000) or, for a SYN, 0:0(0)';

/** `sending`: everything must be said exactly; otherwise it is what to expect, and may be left open. */
export function parseSegment(scan: Scanner, sending: boolean): SegmentText {
  const s: Mutable<SegmentText> = { flags: '', twists: [] };
  const ecn = scan.accept(/\[(\w+)\]/)?.[1];
  if (ecn !== undefined) {
    const code = ECN.get(ecn);
    if (code === undefined) throw new Expected(`[${ecn}] is no ECN codepoint`, [...ECN.keys()].join(', '));
    s.ecn = code;
  }
  s.flags = scan.need(/(?:[SFRPUEW.]+|-)(?= |$)/, 'flags out of S F R P . U E W, or - for none')[0];
  numbers(scan, s, sending);
  if (scan.accept(/ack\b/) !== null) s.ack = scan.range('a number, as in ack 1');
  if (s.flags.includes('.') !== (s.ack !== undefined)) {
    const why = s.ack === undefined ? 'a segment with ACK names no number' : 'a segment without ACK names a number';
    throw new Expected(why, 'both the flag . and ack N, or neither; ack * takes any');
  }
  if (scan.accept(/win\b/) !== null) s.win = scan.range('a number, as in win 65535');
  if (scan.accept(/<\*>/) === null) s.options = scan.accept(/</) !== null ? options(scan, sending) : [];
  else if (sending) throw new Expected('<*> cannot be sent', 'a list of options, or none');
  const data = scan.quoted();
  if (data !== null) {
    if (s.length !== undefined && s.length !== data.length) {
      throw new Expected(`the text has ${data.length} bytes, the numbers say ${s.length}`, `(${data.length})`);
    }
    s.data = data;
  }
  const twists: Twist[] = [];
  while (sending && !scan.done) twists.push(twist(scan));
  s.twists = twists;
  if (sending) exact(s);
  scan.end(sending ? 'nothing more, or bad_checksum, land, urgent N, data_offset N ...' : 'the end of the line');
  return s;
}

function numbers(scan: Scanner, s: Mutable<SegmentText>, sending: boolean): void {
  if (!sending && scan.accept(/\*/) !== null) return;
  const first = scan.int(NUMBERS);
  scan.need(/:/, NUMBERS);
  const end = scan.int(NUMBERS);
  scan.need(/\(/, NUMBERS);
  const length = scan.int(NUMBERS);
  scan.need(/\)/, NUMBERS);
  if (length < 0 || end - first !== length) {
    throw new Expected(`${first}:${end}(${length}) contradicts itself`, `${first}:${first + length}(${length})`);
  }
  s.seq = first;
  s.length = length;
}

function options(scan: Scanner, sending: boolean): OptionText[] {
  const list: OptionText[] = [];
  while (scan.accept(/>/) === null) {
    if (list.length > 0) scan.need(/,/, 'a comma between options, > behind the last');
    list.push(option(scan, sending));
  }
  return list;
}

function option(scan: Scanner, sending: boolean): OptionText {
  const [word] = scan.need(
    /[A-Za-z]+/,
    'an option: mss N, wscale N, sackOK, TS val N ecr N, sack A:B, nop, eol, hex 0204',
  );
  switch (word) {
    case 'nop':
    case 'eol':
    case 'sackOK':
      return { kind: word };
    case 'mss':
    case 'wscale':
      return { kind: word, value: scan.range(`${word} 7`) };
    case 'TS': {
      scan.need(/val\b/, 'TS val 1 ecr 0');
      const value = scan.range('TS val 1 ecr 0');
      scan.need(/ecr\b/, 'TS val 1 ecr 0');
      return { kind: 'TS', value, echo: sending && scan.accept(/last\b/) ? 'last' : scan.range('TS val 1 ecr 0') };
    }
    case 'sack': {
      const blocks: [number, number][] = [];
      do {
        const left = scan.int('sack 1001:2001');
        scan.need(/:/, 'sack 1001:2001');
        blocks.push([left, scan.int('sack 1001:2001')]);
      } while (/^-?\d/.test(scan.rest));
      return { kind: 'sack', blocks };
    }
    case 'hex': {
      const [digits] = scan.need(/(?:[0-9a-fA-F]{2})+/, 'pairs of hexadecimal digits: hex 02040000');
      return { kind: 'hex', bytes: digits.match(/../g)!.map((pair) => Number.parseInt(pair, 16)) };
    }
    default:
      throw new Expected(`'${word}' is no option`, 'mss, wscale, sackOK, TS, sack, nop, eol or hex');
  }
}

function twist(scan: Scanner): Twist {
  const [kind] = scan.need(/[a-z_]+/, 'bad_checksum, no_checksum, land, data_offset N, urgent N, reserved N, cut N');
  switch (kind) {
    case 'bad_checksum':
    case 'no_checksum':
    case 'land':
      return { kind };
    case 'data_offset':
    case 'urgent':
    case 'reserved':
    case 'cut':
      return { kind, value: scan.int(`${kind} 5`) };
    default:
      throw new Expected(
        `'${kind}' is unknown`,
        'bad_checksum, no_checksum, land, data_offset, urgent, reserved or cut',
      );
  }
}

const isExact = (r: Range | undefined): boolean => r === undefined || r.from === r.to;

/** What is sent leaves nothing open. */
function exact(s: SegmentText): void {
  const ranges: (Range | undefined)[] = [s.ack, s.win];
  for (const o of s.options ?? []) {
    if (o.kind === 'mss' || o.kind === 'wscale') ranges.push(o.value);
    if (o.kind === 'TS') ranges.push(o.value, o.echo === 'last' ? undefined : o.echo);
  }
  if (!ranges.every(isExact)) throw new Expected('* and ~ cannot be sent', 'one number');
}

const ICMP: Record<string, readonly [number, number]> = {
  'unreachable net': [3, 0],
  'unreachable host': [3, 1],
  'unreachable protocol': [3, 2],
  'unreachable port': [3, 3],
  'unreachable frag_needed': [3, 4],
  'unreachable source_route': [3, 5],
  'unreachable prohibited': [3, 13],
  source_quench: [4, 0],
  'time_exceeded ttl': [11, 0],
  'time_exceeded reassembly': [11, 1],
  parameter_problem: [12, 0],
};

/** `icmp unreachable frag_needed mtu 1400 [1:1461(1460)]`, after the word icmp. */
export function parseIcmp(scan: Scanner): IcmpText {
  const [name] = scan.need(/[a-z_]+(?: (?!mtu)[a-z_]+)?/, 'an error, as in unreachable port');
  const kind = ICMP[name];
  if (kind === undefined) throw new Expected(`'${name}' is no ICMP error`, Object.keys(ICMP).join(', '));
  const mtu = scan.accept(/mtu\b/) !== null ? scan.int('mtu 1400') : 0;
  scan.need(/\[/, 'what it quotes of the host: [1:1461(1460)]');
  const quoted: Mutable<SegmentText> = { flags: '', twists: [], ack: ANYTHING };
  numbers(scan, quoted, true);
  scan.need(/\]/, ']');
  scan.end('the end of the line');
  return { type: kind[0], code: kind[1], mtu, quotedSeq: quoted.seq!, quotedLength: quoted.length! };
}

/** Filters as people type them: what they match, by a naive reading of the same words, and what is said of those that are wrong. */
import * as fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { ARP_PROTO, FrameFacts, matches } from '../../../../lb/capture/filter.ts';
import { compileFilter } from '../../../../src/capture/expression.ts';
import { parseIpv4 } from '../../../../src/config/address.ts';

const PROTOS = { tcp: 6, udp: 17, icmp: 1, ipip: 4, arp: ARP_PROTO } as const;
const ip = (text: string): number => parseIpv4(text)!;

function frame(proto: keyof typeof PROTOS, from: string, to: string): FrameFacts {
  const end = (text: string): [number, number] => {
    const [addr = '', port = '-1'] = text.split(':');
    return [ip(addr), Number(port)];
  };
  const [src, sport] = end(from);
  const [dst, dport] = end(to);
  const facts = new FrameFacts();
  facts.set(PROTOS[proto], src, dst, sport, dport);
  return facts;
}

const wanted = (filter: string, facts: FrameFacts): boolean => matches(Int32Array.from(compileFilter(filter)), facts);

test('each word means what tcpdump means by it', () => {
  const web = frame('tcp', '10.0.0.7:40000', '10.0.0.10:80');
  const yes = [
    ...['', 'tcp', 'proto tcp', 'host 10.0.0.7', '10.0.0.10', 'src 10.0.0.7', 'dst host 10.0.0.10', 'net 10.0.0.0/8'],
    ...['port 80', 'port 40000', 'src port 40000', 'dst port 80', 'port 79-81', '10.0.0.7:40000', 'dst 10.0.0.10:80'],
    ...[
      'tcp port 80',
      'tcp and port 80',
      'udp or tcp',
      'not udp',
      '! udp',
      'not (udp or icmp)',
      'src 10.0.0.7:40000 dst 10.0.0.10:80',
    ],
    ...['udp and icmp or tcp', 'tcp or udp and icmp', 'not not tcp', 'src net 0.0.0.0/0'],
  ];
  for (const filter of yes) assert.ok(wanted(filter, web), filter);
  const no = [
    ...['udp', 'arp', 'host 10.0.0.8', 'src 10.0.0.10', 'dst 10.0.0.7', 'net 11.0.0.0/8', 'src port 80', 'port 81'],
    ...['10.0.0.7:80', 'src 10.0.0.7:80', 'tcp and not port 80', 'not tcp', '(tcp or udp) and icmp', 'udp port 80'],
  ];
  for (const filter of no) assert.not(wanted(filter, web), filter);
  const arp = frame('arp', '10.0.0.7', '10.0.0.10');
  assert.equal(
    ['arp', 'host 10.0.0.7', 'port 0-65535'].map((filter) => wanted(filter, arp)),
    [true, true, false],
  );
});

type Tree = { readonly text: string; readonly holds: (facts: FrameFacts) => boolean };

const ADDRS = ['10.0.0.1', '10.0.0.2', '10.0.1.1'];
const leaf: fc.Arbitrary<Tree> = fc.oneof(
  fc
    .constantFrom(...ADDRS)
    .map((a) => ({ text: `host ${a}`, holds: (f: FrameFacts) => f.src === ip(a) || f.dst === ip(a) })),
  fc.constantFrom(...ADDRS).map((a) => ({ text: `src ${a}`, holds: (f: FrameFacts) => f.src === ip(a) })),
  fc.integer({ min: 1, max: 3 }).map((p) => ({ text: `dst port ${p}`, holds: (f: FrameFacts) => f.dport === p })),
  fc
    .constantFrom('tcp' as const, 'udp' as const)
    .map((p) => ({ text: p, holds: (f: FrameFacts) => f.proto === PROTOS[p] })),
);
const tree = fc.letrec<{ tree: Tree }>((tie) => ({
  tree: fc.oneof(
    { maxDepth: 5, withCrossShrink: true },
    leaf,
    tie('tree').map(({ text, holds }) => ({ text: `not (${text})`, holds: (f: FrameFacts) => !holds(f) })),
    fc
      .tuple(tie('tree'), tie('tree'))
      .map(([a, b]) => ({ text: `(${a.text}) and (${b.text})`, holds: (f: FrameFacts) => a.holds(f) && b.holds(f) })),
    fc
      .tuple(tie('tree'), tie('tree'))
      .map(([a, b]) => ({ text: `(${a.text} or ${b.text})`, holds: (f: FrameFacts) => a.holds(f) || b.holds(f) })),
  ),
})).tree;

test('any filter matches as its words read', () => {
  const facts = fc.tuple(
    fc.constantFrom(...ADDRS),
    fc.constantFrom(...ADDRS),
    fc.integer({ min: 1, max: 3 }),
    fc.constantFrom('tcp' as const, 'udp' as const),
  );
  fc.assert(
    fc.property(tree, facts, ({ text, holds }, [src, dst, port, proto]) => {
      const f = frame(proto, `${src}:9`, `${dst}:${port}`);
      assert.is(wanted(text, f), holds(f), text);
    }),
    { numRuns: 300 },
  );
});

test('what is wrong is told with what would be right', () => {
  const errors: Readonly<Record<string, RegExp>> = {
    'host 10.0.0': /'10\.0\.0' is no address: write 10\.0\.0\.7/,
    'port 99999': /'99999' is no port: write 80 or 8000-8010/,
    'port 9-8': /'9-8' is no port/,
    '(tcp': /the end where it should have '\)'/,
    'tcp)': /'\)' where it should have nothing/,
    'proto gre': /'gre' where it should have tcp, udp/,
    'tcp and': /the end where it should have host/,
    and: /'and' is no address/,
    '10.0.0.0/33': /no address/,
  };
  for (const [filter, message] of Object.entries(errors)) assert.throws(() => compileFilter(filter), message, filter);
  assert.throws(() => compileFilter('('.repeat(40)), /nested too deeply/);
});

test.run();

/** -S and -R: nothing is lost between them, and -R goes on or ends where the real tool does. */
import * as fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Address } from '../../../../src/ipvsadm/address.ts';
import { apply } from '../../../../src/ipvsadm/model.ts';
import { NO_NAMES } from '../../../../src/ipvsadm/names.ts';
import type { DestSettings, Match, Mutation, ServiceId, ServiceSettings } from '../../../../src/ipvsadm/ops.ts';
import { sortDests, sortServices } from '../../../../src/ipvsadm/order.ts';
import { ipvsadm, ipvsadmRestore, ipvsadmSave, type Result, type Surroundings } from '../../../../src/ipvsadm/run.ts';
import { EMPTY_TABLE, snapshotOf, type Table } from '../../../../src/ipvsadm/table.ts';

class Holder {
  table: Table = EMPTY_TABLE;
  around(stdin: string, program = 'ipvsadm'): Surroundings {
    return { target: this, names: NO_NAMES, stdin: () => stdin, program };
  }
  snapshot(): ReturnType<typeof snapshotOf> {
    return snapshotOf(this.table);
  }
  apply(mutation: Mutation): null | 'ESRCH' {
    const applied = apply(this.table, mutation);
    if (applied.ok) this.table = applied.table;
    return applied.ok ? null : (applied.errno as 'ESRCH');
  }
  restore(text: string): Promise<Result> {
    return ipvsadm(['-R'], this.around(text));
  }
  /** Marks of the services, in order. */
  marks(): number[] {
    return this.table.services.flatMap(({ id }) => (id.kind === 'fwmark' ? [id.mark] : []));
  }
}

test('lines the table refuses and unknown options do not end a restore; the last line decides', async () => {
  const holder = new Holder();
  const bad = await holder.restore('-A -f 1\n-A -f 1\n-A -f 2 --bogus\n-A -f 3\n');
  assert.equal(holder.marks(), [1, 3]);
  assert.is(bad.exitCode, 0);
  assert.is(bad.stderr, 'Service already exists\n--bogus: unknown option\n');
  assert.is((await holder.restore('-A -f 4\n-A -f 4')).exitCode, 255);
  assert.is((await holder.restore('')).exitCode, 0);
});

test('lines go to the table together, in order, and as far as a listing or a wrong line', async () => {
  const sent: number[] = [];
  class Together extends Holder {
    async applyAll(mutations: readonly Mutation[]): Promise<(null | 'ESRCH')[]> {
      sent.push(mutations.length);
      return mutations.map((mutation) => this.apply(mutation));
    }
  }
  const holder = new Together();
  const marks = (from: number, to: number): string =>
    Array.from({ length: to - from + 1 }, (_, i) => `-A -f ${from + i}\n`).join('');
  const { stdout, stderr, exitCode } = await holder.restore(
    `${marks(1, 250)}-D -f 999\n-L -f 250\n${marks(251, 252)}-A -f 0\n${marks(300, 301)}`,
  );
  assert.equal(sent, [100, 100, 51, 2]);
  assert.is(holder.marks().length, 252);
  assert.match(stdout, /FWM {2}250 wlc/);
  assert.equal([stderr.split('\n')[0], exitCode], ['No such service', 2]);
});

test('lines the tool finds wrong end it; what was done stays', async () => {
  for (const [line, code] of [
    ['-A -f 0', 2],
    ['-L -f 99', 1],
    ['-R', 255],
    ['bogus', 255],
    ['-h', 0],
    ['--version', 0],
    ['/sbin/ipvsadm -A -f 5', 2],
    ['-A -f 5 # five', 2],
  ] as const) {
    const holder = new Holder();
    const { exitCode } = await holder.restore(`-A -f 1\n${line}\n-A -f 2\n`);
    assert.is(exitCode, code, line);
    assert.equal(holder.marks(), [1], line);
  }
});

test('blank lines, comment lines, the name of the tool, tabs and carriage returns do no harm', async () => {
  const holder = new Holder();
  const { exitCode } = await holder.restore('# saved\n\n  # more\r\nipvsadm -A -f 1\r\n\t-A\t-f=2\n-A -f 3');
  assert.is(exitCode, 0);
  assert.equal(holder.marks(), [1, 2, 3]);
});

test('listings come out of a restore in their place', async () => {
  const { stdout } = await new Holder().restore('-A -f 1 -s rr\n-S -n\n-A -f 2\n-S -n\n');
  assert.is(stdout, '-A -f 1 -s rr\n-A -f 1 -s rr\n-A -f 2 -s wlc\n');
});

test('ipvsadm-restore empties the table first', async () => {
  const holder = new Holder();
  await holder.restore('-A -f 1\n');
  assert.is((await ipvsadmRestore(holder.around('-A -f 2\n'))).exitCode, 0);
  assert.equal(holder.marks(), [2]);
  assert.is((await ipvsadmSave(['-n'], holder.around(''))).stdout, '-A -f 2 -s wlc\n');
  assert.is((await ipvsadmSave(['-x'], holder.around(''))).exitCode, 1);
});

test('messages name the program as it was called', async () => {
  const { stderr } = await ipvsadm(['foo'], new Holder().around('', 'lvs'));
  assert.is(stderr, "Try `lvs -h' or 'lvs --help' for more information.\n");
});

const port = fc.integer({ min: 1, max: 65_535 });
const word = fc.integer({ min: 0x01000000, max: 0x7fffffff });
const v4 = word.map((one): Address => ({ family: 4, words: [one] }));
const v6 = fc
  .tuple(word, word, word, word)
  .map((words): Address => ({ family: 6, words: [0x20010000, ...words.slice(1)] }));
const address = fc.oneof(v4, v6);
const range = (of: fc.Arbitrary<Address>) =>
  fc.option(fc.record({ low: of, high: of, lowPort: port, highPort: fc.constant(65_535) }));
const matchOf = (family: 4 | 6): fc.Arbitrary<ServiceId> =>
  fc
    .record<Match>({
      from: range(family === 4 ? v4 : v6),
      to: range(family === 4 ? v4 : v6),
      iif: fc.constantFrom('', 'lan'),
      oif: fc.constantFrom('', 'wan'),
    })
    .map((match) => ({ kind: 'match', protocol: 'udp', family, match }));
const serviceId: fc.Arbitrary<ServiceId> = fc.oneof(
  fc.record({
    kind: fc.constant('address' as const),
    protocol: fc.constantFrom('tcp', 'udp', 'sctp', 'icmp'),
    address,
    port,
  }),
  fc.record({
    kind: fc.constant('fwmark' as const),
    mark: fc.integer({ min: 1, max: 2 ** 32 - 1 }),
    family: fc.constantFrom(4 as const, 6 as const),
  }),
  matchOf(4),
  matchOf(6),
) as fc.Arbitrary<ServiceId>;

function settingsOf(id: ServiceId): fc.Arbitrary<ServiceSettings> {
  const family = id.kind === 'address' ? id.address.family : id.family;
  const isUdp = id.kind === 'fwmark' || id.protocol === 'udp';
  return fc
    .record({
      scheduler: fc.constantFrom('rr', 'wlc', 'sh', 'mh', 'conhash'),
      schedFlags: fc.integer({ min: 0, max: 7 }),
      persistSec: fc.constantFrom(0, 1, 360, 2_678_400),
      mask: family === 4 ? fc.integer() : fc.integer({ min: 1, max: 128 }),
      pe: fc.constantFrom('', 'sip'),
      ops: fc.boolean().map((ops) => ops && isUdp),
      synproxy: fc.boolean(),
      connTimeoutSec: fc.constantFrom(0, 60),
      proxyProtocol: fc.constantFrom('disable' as const, 'v1' as const, 'v2-insecure' as const),
      expireQuiescent: fc.boolean(),
      quic: fc.boolean(),
      destCheck: fc.constantFrom(
        null,
        { passive: null, active: ['tcp' as const, 'ping' as const] },
        {
          passive: { downRetries: 2, upConfirms: 3, downWaitSec: 4, inhibitMinSec: 5, inhibitMaxSec: 6 },
          active: [],
        },
        {
          passive: { downRetries: 2, upConfirms: 0, downWaitSec: 4, inhibitMinSec: 0, inhibitMaxSec: 0 },
          active: ['udp' as const],
        },
      ),
    })
    .map((one): ServiceSettings => {
      const qid = id.kind !== 'fwmark' && id.protocol === 'udp' && one.quic;
      const anyMask = family === 4 ? -1 : 128;
      return {
        ...one,
        mask: one.persistSec > 0 ? one.mask : anyMask,
        hashTarget: one.scheduler === 'conhash' ? (qid ? 'qid' : 'sip') : null,
      };
    });
}

function destOf(id: ServiceId): fc.Arbitrary<{ address: Address; port: number; settings: DestSettings }> {
  const family = id.kind === 'address' ? id.address.family : id.family;
  const ownPort = id.kind === 'address' ? id.port : 0;
  return fc
    .record({
      forward: fc.constantFrom(
        'route' as const,
        'masq' as const,
        'tunnel' as const,
        'fullnat' as const,
        'snat' as const,
      ),
      address: family === 4 ? v4 : v6,
      port,
      weight: fc.integer({ min: 0, max: 2 ** 31 - 1 }),
      upper: fc.constantFrom(0, 10),
      tunnel: fc.constantFrom(
        { type: 'ipip' as const, port: 0, checksum: 'nocsum' as const },
        { type: 'gue' as const, port: 6080, checksum: 'remcsum' as const },
        { type: 'gre' as const, port: 0, checksum: 'csum' as const },
      ),
    })
    .map(({ forward, weight, upper, tunnel, ...where }) => {
      const keepsPort = id.kind !== 'fwmark' && (forward === 'route' || forward === 'tunnel');
      const plain = { type: 'ipip' as const, port: 0, checksum: 'nocsum' as const };
      const settings = { forward, weight, upper, lower: upper / 2, tunnel: forward === 'tunnel' ? tunnel : plain };
      return { ...where, port: keepsPort ? ownPort : where.port, settings };
    });
}

const mutations: fc.Arbitrary<Mutation[]> = serviceId.chain((service) =>
  fc
    .record({
      settings: settingsOf(service),
      dests: fc.array(destOf(service), { maxLength: 4 }),
      local: fc.array(v4, { maxLength: 2 }),
      subjects: fc.array(address, { maxLength: 2 }),
    })
    .map(({ settings, dests, local, subjects }): Mutation[] => [
      { op: 'add-service', service, settings },
      ...dests.map(({ settings: own, ...dest }): Mutation => ({ op: 'add-dest', service, dest, settings: own })),
      ...local.map((one): Mutation => ({ op: 'add-laddr', service, local: { address: one, device: 'tap0' } })),
      ...subjects.map(
        (one): Mutation => ({ op: 'add-subject', list: 'deny', service, subject: { kind: 'address', address: one } }),
      ),
      { op: 'add-subject', list: 'allow', service, subject: { kind: 'ipset', name: 'good' } },
    ]),
);

/** As plain objects, sorted: -S sorts. */
function inOrder({ services }: Table): unknown {
  const sorted = sortServices(services).map((service) => ({ ...service, dests: sortDests(service.dests) }));
  return JSON.parse(JSON.stringify(sorted, (_, value) => (typeof value === 'bigint' ? Number(value) : value)));
}

test('a saved table comes back whole: every service, server, option and list', async () => {
  await fc.assert(
    fc.asyncProperty(fc.array(mutations, { maxLength: 5 }), async (all) => {
      const holder = new Holder();
      for (const mutation of all.flat()) holder.apply(mutation);
      const saved = (await ipvsadm(['-S', '-n'], holder.around(''))).stdout;
      const other = new Holder();
      const restored = await other.restore(saved);
      assert.equal(restored, { exitCode: 0, stdout: '', stderr: '' }, saved);
      assert.equal(inOrder(other.table), inOrder(holder.table), saved);
    }),
    { numRuns: 300 },
  );
});

test.run();

/** The rules of the table. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { Errno } from '../../../../src/ipvsadm/errno.ts';
import { apply } from '../../../../src/ipvsadm/model.ts';
import { NO_NAMES } from '../../../../src/ipvsadm/names.ts';
import { isQuery, type Mutation } from '../../../../src/ipvsadm/ops.ts';
import { parseCommand } from '../../../../src/ipvsadm/parse.ts';
import { EMPTY_TABLE, type Table } from '../../../../src/ipvsadm/table.ts';

function mutation(line: string): Mutation {
  const parsed = parseCommand('ipvsadm', line.split(' '), NO_NAMES);
  if (parsed.kind === 'exit') throw new Error(parsed.stderr);
  const { op } = parsed;
  if (op.op === 'restore' || isQuery(op)) throw new Error(`${line} changes nothing`);
  return op;
}

const SERVICE = '-A -t 10.0.0.1:80';
const SERVER = '-a -t 10.0.0.1:80 -r 10.0.0.2:8080 -m';

/** The table after the lines; each must be taken. */
function after(lines: readonly string[], table: Table = EMPTY_TABLE): Table {
  return lines.reduce((before, line) => {
    const applied = apply(before, mutation(line));
    if (!applied.ok) throw new Error(`${line}: ${applied.errno}`);
    return applied.table;
  }, table);
}

function refusal(lines: readonly string[], line: string): Errno {
  const applied = apply(after(lines), mutation(line));
  if (applied.ok) throw new Error(`${line} is taken`);
  return applied.errno;
}

/** As if traffic had come. */
const withTraffic = (table: Table): Table => ({
  ...table,
  services: table.services.map((service) => ({
    ...service,
    stats: { ...service.stats, conns: 7n },
    dests: service.dests.map((dest) => ({ ...dest, stats: { ...dest.stats, conns: 7n }, activeConns: 3 })),
  })),
});

test('what is there cannot be added again, what is not cannot be changed', () => {
  assert.is(refusal([SERVICE], '-A -t 10.0.0.1:80 -s bogus'), 'EEXIST');
  assert.is(refusal([], '-E -t 10.0.0.1:80 -s bogus'), 'ESRCH');
  assert.is(refusal([], '-A -t 10.0.0.1:80 -s bogus'), 'ENOENT');
  assert.is(refusal([], SERVER), 'ESRCH');
  assert.is(refusal([SERVICE, SERVER], SERVER), 'EEXIST');
  assert.is(refusal([SERVICE], '-e -t 10.0.0.1:80 -r 10.0.0.2:8080 -m'), 'ENOENT');
  assert.is(refusal([SERVICE], '-d -t 10.0.0.1:80 -r 10.0.0.2:8080'), 'ENOENT');
  assert.is(refusal([SERVICE], '-Z -u 10.0.0.1:80'), 'ESRCH');
  assert.is(refusal([SERVICE], '-Q -t 10.0.0.1:80 -z 10.0.0.9 -F tap0'), 'ENOENT');
  assert.is(refusal([SERVICE, '-U -t 10.0.0.1:80 -k 10.9.9.9'], '-U -t 10.0.0.1:80 -k 10.9.9.9'), 'EEXIST');
});

test('a mark of IPv6 is another service than the same mark of IPv4', () => {
  assert.is(after(['-A -f 1', '-A -f 1 -6']).services.length, 2);
  assert.is(refusal(['-A -f 1'], '-D -f 1 -6'), 'ESRCH');
});

test('a lower threshold above the upper one, and an address that is no host, are refused', () => {
  assert.is(refusal([SERVICE], `${SERVER} -x 5 -y 6`), 'ERANGE');
  assert.is(refusal([SERVICE], `${SERVER} -y 1`), 'ERANGE');
  assert.is(refusal([SERVICE, SERVER], '-e -t 10.0.0.1:80 -r 10.0.0.2:8080 -m -y 1'), 'ERANGE');
  assert.is(refusal([SERVICE], '-a -t 10.0.0.1:80 -r 224.0.0.1 -m'), 'EINVAL');
});

test('editing keeps counters and servers; a flaw leaves everything as it was', () => {
  const before = withTraffic(after([SERVICE, SERVER]));
  const edited = after(['-E -t 10.0.0.1:80 -s rr', '-e -t 10.0.0.1:80 -r 10.0.0.2:8080 -m -w 9'], before);
  assert.is(edited.services[0]?.settings.scheduler, 'rr');
  assert.is(edited.services[0]?.stats.conns, 7n);
  assert.is(edited.services[0]?.dests[0]?.settings.weight, 9);
  assert.is(edited.services[0]?.dests[0]?.activeConns, 3);
  assert.is(before.services[0]?.settings.scheduler, 'wlc');
  assert.equal(apply(before, mutation('-E -t 10.0.0.1:80 -s bogus')), { ok: false, errno: 'ENOENT' });
});

test('zeroing takes sums, not connections; of one service or of all', () => {
  const other = '-A -u 10.0.0.1:53';
  const before = withTraffic(after([SERVICE, SERVER, other]));
  const one = after(['-Z -t 10.0.0.1:80'], before);
  assert.equal(
    one.services.map(({ stats }) => stats.conns),
    [0n, 7n],
  );
  assert.is(one.services[0]?.dests[0]?.stats.conns, 0n);
  assert.is(one.services[0]?.dests[0]?.activeConns, 3);
  assert.equal(
    after(['-Z'], before).services.map(({ stats }) => stats.conns),
    [0n, 0n],
  );
});

test('the server added last comes first', () => {
  const table = after([SERVICE, '-a -t 10.0.0.1:80 -r 10.0.0.2', '-a -t 10.0.0.1:80 -r 10.0.0.3']);
  assert.equal(
    table.services[0]?.dests.map(({ address }) => (address.words[0] ?? 0) & 255),
    [3, 2],
  );
});

test('timeouts: 0 keeps one; they outlive the services', () => {
  assert.equal(after([SERVICE, '--set 100 0 30', '-C']).timeouts, { tcp: 100, tcpfin: 120, udp: 30 });
  assert.is(after([SERVICE, '-C']).services.length, 0);
});

test('synchronization is refused: it does not exist', () => {
  assert.is(refusal([], '--start-daemon master'), 'ENOSYS');
  assert.is(refusal([], '--stop-daemon backup'), 'ENOSYS');
});

test.run();

/** The demo from end to end, in this process: what it prints with a seed, and that it says so when something is wrong. */
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { runDemo } from '../../../../src/demo/index.ts';
import { requestCount, seedNumber } from '../../../../src/demo/options.ts';
import { PcapReader } from '../../../../src/links/pcap-reader.ts';
import { describe } from '../../../../stack/wire/pretty.ts';

const folder = mkdtempSync(join(tmpdir(), 'tsvs-demo-'));
test.after(() => rmSync(folder, { recursive: true }));

function play(requests: number, seed: number, capture?: string): { ok: boolean; lines: string[] } {
  const lines: string[] = [];
  const ok = runDemo({ requests, seed, ...(capture === undefined ? {} : { capture }) }, (line) => lines.push(line));
  return { ok, lines };
}

test('both servers answer, and the same seed prints the same', () => {
  const first = play(40, 3);
  assert.ok(first.ok);
  const shares = first.lines.flatMap((line) => /^ {2}rs-[12] .* answered +(\d+) /.exec(line)?.[1] ?? []).map(Number);
  assert.is(shares.length, 2);
  assert.ok(shares.every((n) => n > 0) && shares[0]! + shares[1]! === 40, shares.join());
  assert.equal(play(40, 3).lines, first.lines);
  assert.not.equal(play(40, 4).lines, first.lines);
});

test('pings are answered in two wire delays, the first after ARP', () => {
  const times = play(1, 1).lines.flatMap((line) => /icmp_seq=\d ttl=64 time=([\d.]+) ms/.exec(line)?.[1] ?? []);
  assert.equal(times, ['0.200', '0.100', '0.100']);
});

test('the way of the packet names every stage in order', () => {
  const { lines } = play(1, 1);
  const stages = lines.flatMap((line) => {
    const stage = /^ +(\d+) us {2}(\w[\w ]{9}) {2}/.exec(line);
    return stage === null ? [] : [`${stage[1]} ${stage[2]!.trim()}`];
  });
  assert.equal(stages, [
    '0 port',
    '0 ethernet',
    '0 ipv4',
    '0 ipv4',
    '0 tcp',
    '0 flow table',
    '0 service',
    '0 tcp',
    '0 proxy',
    '0 scheduler',
    '0 proxy',
    '0 ipv4',
    '0 route',
    '0 neighbour',
    '100 neighbour',
    '100 port',
    '200 proxy',
    '200 proxy',
    '200 tcp',
    '200 ipv4',
    '200 route',
    '200 neighbour',
    '200 port',
    '300 frame pool',
  ]);
});

test('the way is that of the packet on the wire', () => {
  const path = join(folder, 'way.pcapng');
  const { ok, lines } = play(2, 5, path);
  assert.ok(ok);
  const reader = new PcapReader(path);
  const wire: string[] = [];
  for (let p = reader.next(); p !== null; p = reader.next()) wire.push(describe(p.bytes, 0, p.bytes.length));
  reader.close();
  const title = lines[lines.findIndex((line) => line.startsWith('The way of one packet')) + 1]!.trim();
  const at = wire.indexOf(title);
  assert.ok(at > 0, title);
  assert.is(
    wire.findIndex((line) => /> 192\.168\.100\.10\.80: .* length [1-9]/.test(line)),
    at,
    'the first data segment of the client',
  );
  const out = lines
    .slice(lines.findIndex((line) => line.includes('200 us  port ')))
    .join(' ')
    .replace(/\s+/g, ' ');
  const sent = wire
    .slice(at)
    .find((line) => /^IP 192\.168\.100\.10\.\d+ > 192\.168\.100\.1[12]\.80: Flags \[P/.test(line))!;
  assert.ok(out.includes(sent), `${sent} in ${out}`);
});

test('the frames add up, in the printed line too', () => {
  const line = play(10, 1).lines.find((one) => one.includes(' + created '))!;
  const [received, created, sent, delivered, dropped, held] = [...line.matchAll(/\d+/g)].map(Number);
  assert.is(received! + created!, sent! + delivered! + dropped! + held!);
  assert.ok(received! > 60 && sent! > 60, line);
});

test('numbers on the command line are checked', () => {
  assert.is(requestCount('10000'), 10_000);
  assert.is(seedNumber('0'), 0);
  for (const bad of ['0', '10001', '-1', '1.5', 'x', '']) assert.throws(() => requestCount(bad), /whole number/);
  for (const bad of ['-1', '1e3', '1234567890', '']) assert.throws(() => seedNumber(bad), /whole number/);
});

test('a capture that cannot be written is an error', () => {
  assert.throws(() => play(1, 1, join(folder, 'missing', 'x.pcapng')), /ENOENT/);
});

test.run();

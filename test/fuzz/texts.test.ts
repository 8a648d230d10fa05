/**
 * Any bytes for everything that reads a text or a file: PROXY headers, answers to health checks, captures, lb.conf,
 * F-Stack's config.ini, command lines of ipvsadm. Right ones are changed here and there, or cut, or joined. A reader
 * answers or refuses in the way it is made to; it never throws anything else. `FUZZ_SEED` sets the seed.
 */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { HttpJudge } from '../../lb/health/http.ts';
import { NONE } from '../../lb/health/result.ts';
import * as proxy from '../../lb/l7/proxy-protocol.ts';
import { load, loadWithFstack } from '../../src/config/load.ts';
import { NO_NAMES } from '../../src/ipvsadm/names.ts';
import { parseCommand } from '../../src/ipvsadm/parse.ts';
import { PcapError, PcapReader } from '../../src/links/pcap-reader.ts';
import { describe } from '../../stack/wire/pretty.ts';
import { listFiles } from '../lib/files.ts';
import { Dice } from './campaign/dice.ts';

const SEED = Number(process.env['FUZZ_SEED'] ?? 20_261);
const ascii = (text: string): Uint8Array => Uint8Array.from(text, (c) => c.charCodeAt(0) & 255);

/** One of `samples` with changes: bytes, cuts, repetitions, pieces of another. */
function changed(dice: Dice, samples: readonly Uint8Array[]): Uint8Array {
  let bytes = Uint8Array.from(dice.pick(samples));
  for (let n = dice.below(4); n > 0 && bytes.length > 0; n--) {
    const at = dice.below(bytes.length);
    const roll = dice.below(6);
    if (roll < 2)
      bytes[at] = dice.chance(50) ? dice.word() : dice.pick([0, 10, 13, 32, 34, 44, 45, 48, 57, 58, 61, 91, 93]);
    else if (roll === 2) bytes = bytes.slice(0, at);
    else if (roll === 3) bytes = bytes.slice(at);
    else {
      const other = dice.pick(samples);
      const from = dice.below(other.length);
      const piece = other.subarray(from, from + dice.below(80));
      bytes = Uint8Array.from([...bytes.subarray(0, at), ...piece, ...bytes.subarray(at)]);
    }
  }
  return bytes;
}

const lines = (bytes: Uint8Array): number => text(bytes).split(/\r\n|[\r\n]/).length;
const text = (bytes: Uint8Array): string => Buffer.from(bytes).toString('latin1');

/** Runs `one` so many times; a failure names the seed and the input. */
function many(runs: number, samples: readonly Uint8Array[], one: (bytes: Uint8Array, dice: Dice) => void): void {
  const dice = new Dice(SEED);
  for (let i = 0; i < runs; i++) {
    const bytes = changed(dice, samples);
    try {
      one(bytes, dice);
    } catch (e) {
      throw new Error(`seed ${SEED}, run ${i}: ${JSON.stringify(text(bytes)).slice(0, 2000)}`, { cause: e });
    }
  }
}

test('PROXY headers: a length within what there is, the same however the bytes come', () => {
  const e = new proxy.Endpoints();
  Object.assign(e, { src: 0x0a000001, dst: 0x0a000002, sport: 1, dport: 65535, known: true });
  const unknown = ascii('PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\nGET /');
  const six = ascii('PROXY TCP6 2001:db8::1 ::1 443 80\r\n');
  many(20_000, [proxy.header('v1', e), proxy.header('v2', e), unknown, six], (bytes) => {
    const whole = new proxy.Endpoints();
    const n = proxy.parse(bytes, bytes.length, whole);
    assert.ok(n === proxy.MALFORMED || (n >= 0 && n <= bytes.length), `${n} of ${bytes.length}`);
    // Byte by byte: it asks for more until it knows, and then says the same.
    const grown = new proxy.Endpoints();
    let answer: number = proxy.INCOMPLETE;
    for (let have = 1; have <= bytes.length && answer === proxy.INCOMPLETE; have++)
      answer = proxy.parse(bytes, have, grown);
    assert.is(answer, n);
    assert.equal(grown, whole);
  });
});

test('answers to health checks: the same result in one piece and in many', () => {
  const answers = [
    'HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello',
    'HTTP/1.0 503 Sorry\r\n\r\n',
    'HTTP/1.1 204\n\nhellohello',
  ].map(ascii);
  const rule = { method: 'GET', path: '/', host: 'x', status: [{ from: 200, to: 299 }], body: ascii('hello') };
  many(20_000, answers, (bytes, dice) => {
    const judge = (step: () => number): number => {
      const j = new HttpJudge(rule as ConstructorParameters<typeof HttpJudge>[0]);
      let verdict: number = NONE;
      for (let at = 0; at < bytes.length && verdict === NONE; ) {
        const n = Math.min(step(), bytes.length - at);
        verdict = j.feed(bytes, at, n);
        at += n;
      }
      return verdict === NONE ? j.end() : verdict;
    };
    assert.is(
      judge(() => 1 + dice.below(5)),
      judge(() => bytes.length),
    );
  });
});

test('captures: packets or a PcapError, never more bytes than the file has', () => {
  const folder = mkdtempSync(join(tmpdir(), 'tsvs-fuzz-'));
  const file = join(folder, 'x.pcapng');
  const captures = listFiles('test/fuzz/captures', '.pcapng').map((name) => readFileSync(name).subarray(0, 6000));
  let refused = 0;
  try {
    many(1500, captures, (bytes) => {
      writeFileSync(file, bytes);
      try {
        const reader = new PcapReader(file);
        try {
          for (let p = reader.next(); p !== null; p = reader.next()) {
            assert.ok(p.bytes.length <= bytes.length);
            assert.type(describe(p.bytes, 0, p.bytes.length, p.originalLength), 'string');
          }
        } finally {
          reader.close();
        }
      } catch (e) {
        if (!(e instanceof PcapError)) throw e;
        refused++;
      }
    });
  } finally {
    rmSync(folder, { recursive: true });
  }
  assert.ok(refused > 100, `${refused} were refused`);
});

test('lb.conf: a configuration, or errors that name a line of the file', () => {
  const samples = [...listFiles('config', '.conf'), ...listFiles('docs/labs', '.conf')].map((f) => readFileSync(f));
  many(800, samples, (bytes) => {
    const loaded = load(text(bytes), 'x.conf');
    if ('errors' in loaded)
      for (const { line } of loaded.errors) assert.ok(line >= 0 && line <= lines(bytes), `${line}`);
  });
});

test("F-Stack's config.ini beside lb.conf: likewise", () => {
  const ini = ascii(
    '[dpdk]\nlcore_mask=1\nport_list=0\n[port0]\naddr=10.0.0.2\nnetmask=255.255.255.0\nbroadcast=10.0.0.255\ngateway=10.0.0.1\n',
  );
  const conf = readFileSync('config/lb.conf', 'latin1');
  many(800, [ini], (bytes) => {
    const loaded = loadWithFstack(conf, 'lb.conf', text(bytes), 'config.ini');
    if ('errors' in loaded) assert.ok(loaded.errors.length > 0);
  });
});

test('command lines of ipvsadm: a command, or an exit with a code and words', () => {
  const lines = [
    '-A -t 10.0.0.1:80 -s wrr -p 300 -M 255.255.255.0',
    '-a -t 10.0.0.1:80 -r 10.0.0.2:8080 -m -w 5 -x 100 -y 10',
    '-E -u [fd00::1]:53 -s sh -b sh-port,sh-fallback -o --pe sip',
    '--add-server --fwmark-service 7 --real-server 10.0.0.9 --ipip --weight 0 --tun-type gue --tun-port 6080',
    '-L -n --stats --rate --exact -c --timeout --daemon --sort',
    '--set 900 120 300 --start-daemon master --mcast-interface eth0 --syncid 1',
  ].map(ascii);
  many(15_000, lines, (bytes) => {
    const parsed = parseCommand('ipvsadm', text(bytes).split(' '), NO_NAMES);
    if (parsed.kind === 'exit') assert.ok(Number.isInteger(parsed.code));
  });
});

test.run();

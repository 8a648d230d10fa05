import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { PcapError, type PcapPacket, PcapReader } from '../../../../src/links/pcap-reader.ts';
import { PcapFileDevice } from '../../../../src/links/pcapfile.ts';
import { assertConserved, newContext, testFrame } from '../../../contract/device.ts';
import * as build from '../../../lib/pcap-build.ts';

const folder = mkdtempSync(join(tmpdir(), 'tsvs-pcap-'));
let files = 0;

function fileOf(bytes: ArrayLike<number>): string {
  const path = join(folder, `${++files}.pcap`);
  writeFileSync(path, Uint8Array.from(bytes));
  return path;
}

interface Seen extends Omit<PcapPacket, 'bytes'> {
  readonly text: string;
}

function readAll(bytes: ArrayLike<number>): Seen[] {
  const reader = new PcapReader(fileOf(bytes));
  const seen: Seen[] = [];
  try {
    for (let p = reader.next(); p !== null; p = reader.next()) {
      const { bytes: data, ...rest } = p;
      seen.push({ ...rest, text: Buffer.from(data).toString('latin1') });
    }
  } finally {
    reader.close();
  }
  return seen;
}

function errorOf(bytes: ArrayLike<number>): PcapError {
  try {
    readAll(bytes);
  } catch (error) {
    assert.instance(error, PcapError);
    return error as PcapError;
  }
  throw new Error('was read without an error');
}

const bytes = (text: string): Uint8Array => Uint8Array.from(Buffer.from(text, 'latin1'));
const little = new build.Order(true);
const big = new build.Order(false);
const MICROS = 0xa1b2c3d4;
const NANOS = 0xa1b23c4d;

for (const order of [little, big]) {
  const endian = order.little ? 'little' : 'big';

  test(`pcap, ${endian} endian: micro- and nanoseconds`, () => {
    const records = [
      { seconds: 1_700_000_000, fraction: 123456, bytes: bytes('first frame') },
      { seconds: 1_700_000_001, fraction: 7, bytes: bytes('cut'), original: 1500 },
    ];
    const [a, b] = readAll(build.pcap(order, MICROS, 1, records));
    assert.equal(
      [a!.timeMicros, a!.text, a!.originalLength, a!.offset],
      [1_700_000_000_123_456, 'first frame', 11, 24],
    );
    assert.equal([b!.timeMicros, b!.text, b!.originalLength], [1_700_000_001_000_007, 'cut', 1500]);
    const [n] = readAll(build.pcap(order, NANOS, 1, [{ seconds: 5, fraction: 1500, bytes: bytes('x') }]));
    assert.is(n!.timeMicros, 5_000_001.5);
  });

  test(`pcapng, ${endian} endian: interfaces with resolutions of their own, simple packets, unknown blocks`, () => {
    const file = [
      ...build.section(order),
      ...build.iface(order, 1, 0),
      ...build.iface(order, 1, 4, [
        [9, [9]],
        [14, order.i64(100n)],
      ]),
      ...build.iface(order, 1, 0, [[9, [0x80 | 10]]]),
      ...build.block(order, 0x4242, bytes('whatever')),
      ...build.enhanced(order, 0, 1_700_000_000_123_457n, bytes('micro')),
      ...build.enhanced(order, 1, 2_000_001_500n, bytes('nano')),
      ...build.enhanced(order, 2, 2048n, bytes('binary')),
      ...build.simple(order, 6, bytes('simple')),
    ];
    const seen = readAll(file);
    assert.equal(
      seen.map(({ text, timeMicros, iface }) => [text, timeMicros, iface]),
      [
        ['micro', 1_700_000_000_123_457, 0],
        ['nano', 102_000_001.5, 1],
        ['binary', 2_000_000, 2],
        ['simple', 0, 0],
      ],
    );
  });
}

test('pcapng: a second section may have another byte order and describes its interfaces anew', () => {
  const part = (order: build.Order, text: string): number[] => [
    ...build.section(order),
    ...build.iface(order, 1, 0),
    ...build.enhanced(order, 0, 1n, bytes(text)),
  ];
  assert.equal(
    readAll([...part(little, 'one'), ...part(big, 'two')]).map((p) => p.text),
    ['one', 'two'],
  );
  const orphan = [...part(little, 'one'), ...build.section(big), ...build.enhanced(big, 0, 1n, bytes('two'))];
  assert.match(errorOf(orphan).message, /interface 0, which was not described/);
});

test('pcapng: a simple packet is cut at the snap length of the first interface', () => {
  const file = [...build.section(little), ...build.iface(little, 1, 4), ...build.simple(little, 100, bytes('abcd'))];
  const [p] = readAll(file);
  assert.equal([p!.text, p!.originalLength], ['abcd', 100]);
});

test('damage is reported with what and where', () => {
  const good = build.pcap(little, MICROS, 1, [{ seconds: 1, fraction: 2, bytes: bytes('0123456789') }]);
  const ng = [...build.section(little), ...build.iface(little, 1, 0), ...build.enhanced(little, 0, 1n, bytes('abc'))];
  const check = (file: ArrayLike<number>, offset: number, text: RegExp): void => {
    const error = errorOf(file);
    assert.match(error.message, text);
    assert.is(error.offset, offset, error.message);
    assert.match(error.message, new RegExp(`at byte ${offset}`));
  };
  check([], 0, /empty/);
  check(bytes('#!/bin/sh\n'), 0, /neither pcap nor pcapng/);
  check(good.slice(0, 20), 20, /file header is cut short/);
  check(good.slice(0, 30), 24, /packet header is cut short: 6 of 16/);
  check(good.slice(0, 45), 24, /packet is cut short: 5 of 10/);
  check(build.pcap(little, MICROS, 113, []), 20, /link type 113 is not Ethernet/);
  check(ng.slice(0, 28 + 20 + 6), 48, /block header is cut short/);
  check(ng.slice(0, -4), 48, /block is cut short/);
  const wrong = [...ng];
  wrong[wrong.length - 4] = 99;
  check(wrong, ng.length - 4, /lengths at start and end differ/);
  check([...build.section(little), ...build.iface(little, 105, 0)], 36, /link type 105/);
  const huge = [...ng];
  huge.splice(52, 4, 0xff, 0xff, 0xff, 0x7f);
  check(huge, 52, /impossible block length/);
});

test('no damage makes the reader do anything but end or report it', () => {
  const ng = [
    ...build.section(little),
    ...build.iface(little, 1, 0, [[9, [6]]]),
    ...build.enhanced(little, 0, 1n, bytes('abcdef')),
    ...build.simple(little, 3, bytes('xyz')),
  ];
  const old = [...build.pcap(big, NANOS, 1, [{ seconds: 1, fraction: 2, bytes: bytes('0123456789') }])];
  fc.assert(
    fc.property(
      fc.constantFrom(ng, old),
      fc.array(fc.tuple(fc.nat(200), fc.nat(255)), { maxLength: 4 }),
      fc.nat(200),
      (file, changes, end) => {
        const damaged = file.slice(0, end);
        for (const [at, byte] of changes) if (at < damaged.length) damaged[at] = byte;
        try {
          readAll(damaged);
        } catch (error) {
          assert.instance(error, PcapError);
        }
      },
    ),
    { numRuns: 300 },
  );
});

const plain = { read: '', write: '', paced: false, epochMicros: 0, mtu: 1500 };

test('what was sent can be received again, with its time', () => {
  const ctx = newContext();
  const path = join(folder, 'sent.pcapng');
  const writer = new PcapFileDevice(ctx, { ...plain, write: path, epochMicros: 1_700_000_000_000_000 });
  ctx.tick(1_234_567);
  const f = testFrame(ctx, 333, 1);
  const content = Buffer.from(ctx.pool.buf.slice(ctx.pool.off[f]!, ctx.pool.off[f]! + 333)).toString('hex');
  assert.is(writer.tx(Int32Array.of(f), 0, 1), 1);
  writer.close();
  const reader = new PcapReader(path);
  const packet = reader.next()!;
  assert.is(packet.timeMicros, 1_700_000_001_234_567);
  assert.is(Buffer.from(packet.bytes).toString('hex'), content);
  assert.is(reader.next(), null);
  reader.close();
  assertConserved(ctx, 'writer');
});

test('paced input keeps the recorded distances', () => {
  const records = [0, 10, 10, 35].map((ms) => ({ seconds: 9, fraction: ms * 1000, bytes: new Uint8Array(60) }));
  const ctx = newContext();
  const device = new PcapFileDevice(ctx, {
    ...plain,
    read: fileOf(build.pcap(little, MICROS, 1, records)),
    paced: true,
  });
  const out = new Int32Array(8);
  const atMs = (ms: number): number => {
    ctx.tick(ms * 1000);
    return device.rx(out, 8);
  };
  assert.equal([atMs(500), device.nextDueMs], [1, 10]);
  assert.equal([atMs(509), device.nextDueMs], [0, 1]);
  assert.equal([atMs(510), device.nextDueMs], [2, 25]);
  assert.equal([atMs(600), device.nextDueMs, device.ended], [1, -1, true]);
  assert.is(device.lastTimeMicros, 9_035_000);
  device.close();
});

test('damage ends the input, keeps what came before, and is told', () => {
  const file = build.pcap(little, MICROS, 1, [
    { seconds: 1, fraction: 2, bytes: new Uint8Array(60) },
    { seconds: 1, fraction: 2, bytes: new Uint8Array(60) },
  ]);
  const ctx = newContext();
  const device = new PcapFileDevice(ctx, { ...plain, read: fileOf(file.slice(0, -1)) });
  assert.is(device.rx(new Int32Array(8), 8), 1);
  assert.match(device.failure!.message, /packet is cut short: 59 of 60 bytes \(at byte 100\)/);
  assert.equal(device.stats.errors, { PCAP_FORMAT: 1 });
  device.close();
});

test('a file cannot be read and overwritten at once', () => {
  assert.throws(() => new PcapFileDevice(newContext(), { ...plain, read: 'x', write: 'x' }), /read and overwritten/);
});

test.after(() => rmSync(folder, { recursive: true }));

test.run();

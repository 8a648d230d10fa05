import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { PcapReader } from '../../../../../src/links/pcap-reader.ts';
import type { Context } from '../../../../../stack/context.ts';
import type { Device } from '../../../../../stack/netif/device.ts';
import { memoryWire, OFFLOAD_WIRE } from '../../../../../stack/netif/memory.ts';
import { PcapWriter } from '../../../../../stack/netif/middleware/pcap-writer.ts';
import { DELIVERED } from '../../../../../stack/verdict.ts';
import { DIRECTION_IN } from '../../../../../stack/wire/pcapng.ts';
import { bytesOf, newContext, tcpFrame, testFrame } from '../../../../contract/device.ts';
import { noCommands, testUnless } from '../../../../lib/privilege.ts';

const folder = mkdtempSync(join(tmpdir(), 'tsvs-capture-'));
const EPOCH = 1_700_000_000_000_000;

interface Scene {
  readonly ctxA: Context;
  readonly ctxB: Context;
  readonly writer: PcapWriter;
  readonly b: Device;
  /** Path of a file with what the sink got. */
  save(): string;
}

function scene(snapLength = 70000, ring = 64): Scene {
  const ctxA = newContext();
  const ctxB = newContext();
  const [a, b] = memoryWire(ctxA, ctxB, { ...OFFLOAD_WIRE, ring });
  const chunks: Uint8Array[] = [];
  const writer = new PcapWriter(ctxA, a, {
    sink: (bytes) => chunks.push(bytes.slice()),
    epochMicros: EPOCH,
    snapLength,
  });
  const save = (): string => {
    const path = join(folder, 'capture.pcapng');
    writeFileSync(path, Buffer.concat(chunks));
    return path;
  };
  return { ctxA, ctxB, writer, b, save };
}

interface Seen {
  readonly timeMicros: number;
  readonly captured: number;
  readonly original: number;
  readonly hex: string;
}

function read(path: string): Seen[] {
  const reader = new PcapReader(path);
  const seen: Seen[] = [];
  for (let p = reader.next(); p !== null; p = reader.next()) {
    const hex = Buffer.from(p.bytes).toString('hex');
    seen.push({ timeMicros: p.timeMicros, captured: p.bytes.length, original: p.originalLength, hex });
  }
  reader.close();
  return seen;
}

function send(device: Device, ...frames: number[]): number {
  return device.tx(Int32Array.from(frames), 0, frames.length);
}

test('several devices are interfaces of one file', () => {
  const ctx = newContext();
  const chunks: Uint8Array[] = [];
  const options = { sink: (bytes: Uint8Array) => chunks.push(bytes.slice()), epochMicros: EPOCH, snapLength: 70000 };
  const writers = [0, 1].map((iface) => {
    const [end] = memoryWire(ctx, newContext(), { ...OFFLOAD_WIRE, ring: 16, names: [`end${iface}`, 'far'] });
    return new PcapWriter(ctx, end, { ...options, iface });
  });
  for (const i of [1, 0, 1]) send(writers[i]!, testFrame(ctx, 60 + i, i));
  const path = join(folder, 'several.pcapng');
  writeFileSync(path, Buffer.concat(chunks));
  const reader = new PcapReader(path);
  const seen = [0, 1, 2].map(() => reader.next()!).map(({ iface }) => iface);
  assert.equal(seen, [1, 0, 1]);
  assert.is(reader.next(), null);
  reader.close();
});

test('both directions are recorded with bytes and times, slices in place', () => {
  const s = scene();
  s.ctxA.tick(1_000_001);
  const f = tcpFrame(s.ctxA, 1001, 0);
  const sent = Buffer.from(bytesOf(s.ctxA, f)).toString('hex');
  send(s.writer, f);
  s.ctxA.tick(2_000_002);
  const g = testFrame(s.ctxB, 77, 4);
  const received = Buffer.from(bytesOf(s.ctxB, g)).toString('hex');
  send(s.b, g);
  const out = new Int32Array(4);
  assert.is(s.writer.rx(out, 4), 1);
  s.ctxA.settle(out[0]!, DELIVERED);
  assert.equal(read(s.save()), [
    { timeMicros: EPOCH + 1_000_001, captured: 1055, original: 1055, hex: sent },
    { timeMicros: EPOCH + 2_000_002, captured: 77, original: 77, hex: received },
  ]);
});

test('a 64 KB frame is recorded as it is, and cut at the snap length', () => {
  for (const [snap, captured] of [
    [70000, 65054],
    [100, 100],
    [54, 54],
    [20, 20],
  ] as const) {
    const s = scene(snap);
    send(s.writer, tcpFrame(s.ctxA, 65000, 1448));
    const [p] = read(s.save());
    assert.equal([p!.captured, p!.original], [captured, 65054]);
  }
});

test('what the link refuses is not recorded', () => {
  const s = scene(70000, 2);
  assert.is(send(s.writer, ...[60, 61, 62, 63].map((len) => testFrame(s.ctxA, len, 1))), 2);
  assert.equal(
    read(s.save()).map((p) => p.captured),
    [60, 61],
  );
});

test('a burst larger than the buffer is recorded complete', () => {
  const s = scene(70000, 256);
  for (let round = 0; round < 3; round++) {
    send(s.writer, ...Array.from({ length: 6 }, () => tcpFrame(s.ctxA, 65000, 1448)));
    const out = new Int32Array(16);
    const n = s.b.rx(out, 16);
    for (const f of out.subarray(0, n)) s.ctxB.settle(f, DELIVERED);
    // The pool has eight big slots, of which each frame needs one.
    assert.is(n, 6);
  }
  assert.is(read(s.save()).length, 18);
});

const tshark = testUnless(noCommands('tshark', 'capinfos'), test);

function run(program: string, ...args: string[]): string {
  const { status, stdout, stderr } = spawnSync(program, args, { encoding: 'utf8' });
  assert.is(status, 0, stderr);
  return stdout;
}

tshark('the file opens in wireshark tools, with directions and comments', () => {
  const s = scene();
  send(s.writer, tcpFrame(s.ctxA, 100, 0));
  send(s.b, testFrame(s.ctxB, 61, 1));
  const out = new Int32Array(4);
  s.writer.rx(out, 4);
  s.writer.record(out[0]!, DIRECTION_IN, 'dropped: ethertype — é');
  s.writer.flush();
  const path = s.save();
  const info = run('capinfos', path);
  assert.match(info, /Number of packets:\s+3/);
  assert.match(info, /Name = memory:a/);
  const fields = ['frame.packet_flags_direction', 'frame.len', 'tcp.dstport', 'frame.comment'];
  const lines = run('tshark', '-r', path, '-T', 'fields', ...fields.flatMap((field) => ['-e', field]));
  assert.equal(
    lines
      .trimEnd()
      .split('\n')
      .map((line) => line.split('\t').map((cell) => (/^0x/.test(cell) ? String(Number(cell)) : cell))),
    [
      ['2', '154', '2000', ''],
      ['1', '61', '', ''],
      ['1', '61', '', 'dropped: ethertype — é'],
    ],
  );
});

test.after(() => rmSync(folder, { recursive: true }));

test.run();

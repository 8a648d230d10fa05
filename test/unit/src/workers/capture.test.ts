/** The file of `--capture` when the worker that writes it dies: nothing is lost, and who takes its place goes on. */
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { openCapture } from '../../../../src/workers/capture.ts';
import { memoryWire, PLAIN_WIRE } from '../../../../stack/netif/memory.ts';
import { newContext, testFrame } from '../../../contract/device.ts';

const SECTION = 0x0a0d0d0a;
const PACKET = 6;

/** The types of the blocks in a pcapng file. */
function blocksOf(file: string): number[] {
  const bytes = readFileSync(file);
  const types: number[] = [];
  for (let at = 0; at < bytes.length; at += bytes.readUInt32LE(at + 4)) types.push(bytes.readUInt32LE(at));
  return types;
}

test('a worker that dies leaves all it has; the next one adds a section, and the first of a process begins anew', () => {
  const folder = mkdtempSync(join(tmpdir(), 'tsvs-capture-'));
  const file = join(folder, 'f.pcapng');
  const before = process.listenerCount('exit');
  const sectionOf = (again: boolean, frames: number, end: (close: () => void) => void): void => {
    const [ctx, other] = [newContext(), newContext()];
    const { devices, close } = openCapture(ctx, [memoryWire(ctx, other, PLAIN_WIRE)[0]], file, again);
    for (let i = 0; i < frames; i++) devices[0]!.tx(Int32Array.of(testFrame(ctx, 100, i)), 0, 1);
    end(close);
  };
  const packets = (): number[] => blocksOf(file).filter((type) => type === SECTION || type === PACKET);
  try {
    sectionOf(false, 2, () => process.listeners('exit').at(-1)!(1));
    assert.equal(packets(), [SECTION, PACKET, PACKET]);
    sectionOf(true, 1, (close) => close());
    assert.equal(packets(), [SECTION, PACKET, PACKET, SECTION, PACKET]);
    sectionOf(false, 0, (close) => close());
    assert.equal(packets(), [SECTION]);
    assert.is(process.listenerCount('exit'), before);
  } finally {
    rmSync(folder, { recursive: true });
  }
});

test.run();

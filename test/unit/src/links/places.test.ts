/** Addresses of places are those of the memory, however often and in whatever order they are asked for. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Places } from '../../../../src/links/places.ts';
import { NativeBytes, syscalls } from '../../../../src/links/syscall.ts';

const BASE = 0x7f12_3456_7000;

test('a place has its address, the same object each time', () => {
  const places = new Places(BASE);
  for (const offset of [0, 130, 2178, 2 ** 31 - 1]) assert.is(places.at(offset), BigInt(BASE + offset));
});

test('places in one slot, and places so far apart that they share an entry, are not taken for each other', () => {
  const places = new Places(BASE);
  const offsets = [0, 120, 130, 32 * 1024 * 1024, 32 * 1024 * 1024 + 130];
  for (const round of [offsets, offsets.toReversed(), offsets]) {
    for (const offset of round) assert.is(places.at(offset), BigInt(BASE + offset));
  }
});

test('an address in two halves is stored as in one, also across 2^32', () => {
  const native = new NativeBytes(syscalls(), 16);
  for (const base of [BASE, 0x1_ffff_ff00, 0xffff_f000, 0x7fff_ffff]) {
    for (const at of [0, 1, 255, 256, 4096, 2 ** 31 - 1]) {
      native.set64(0, base + at);
      native.setAddress(8, base | 0, Math.floor(base / 2 ** 32), at);
      assert.equal([...native.i32.subarray(2, 4)], [...native.i32.subarray(0, 2)], `${base} + ${at}`);
    }
  }
});

test('the pointer to a byte is its address', () => {
  const native = new NativeBytes(syscalls(), 16);
  assert.is(Number(native.pointer(8)), native.address + 8);
});

test.run();

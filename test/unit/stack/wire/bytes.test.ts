import * as fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { get16, get32, set16, set32 } from '../../../../stack/wire/bytes.ts';

test('the high byte comes first', () => {
  const buf = Uint8Array.of(0, 0x12, 0x34, 0x56, 0x78);
  assert.is(get16(buf, 1), 0x1234);
  assert.is(get32(buf, 1), 0x12345678);
});

test('32-bit values are int32, 16-bit values are not negative', () => {
  const buf = Uint8Array.of(0xff, 0xff, 0xff, 0xfe);
  assert.is(get32(buf, 0), -2);
  assert.is(get16(buf, 0), 0xffff);
});

test('agrees with DataView at any offset, and touches nothing around', () => {
  fc.assert(
    fc.property(fc.integer(), fc.nat(8), (value, off) => {
      const ours = new Uint8Array(16).fill(0xa5);
      const theirs = new Uint8Array(16).fill(0xa5);
      const view = new DataView(theirs.buffer);
      set32(ours, off, value);
      view.setInt32(off, value);
      set16(ours, off + 5, value);
      view.setUint16(off + 5, value);
      assert.equal(ours, theirs);
      assert.is(get32(ours, off), view.getInt32(off));
      assert.is(get16(ours, off + 5), view.getUint16(off + 5));
    }),
    { seed: 1700 },
  );
});

test.run();

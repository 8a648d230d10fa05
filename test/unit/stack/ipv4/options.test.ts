import fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { IP_OPTIONS } from '../../../../stack/drop.ts';
import { OptionWalker } from '../../../../stack/ipv4/options.ts';
import { DELIVERED } from '../../../../stack/verdict.ts';
import { ipv4Packet, makeContext, receive } from '../../../lib/ip-bench.ts';

const ctx = makeContext(16, 1);
const walker = new OptionWalker(ctx);

function walk(options: readonly number[]): readonly [number, number] {
  const padded = [...options];
  while (padded.length % 4 !== 0) padded.push(0);
  const f = receive(ctx, ipv4Packet({ options: padded, payload: new Uint8Array([131, 255]) }));
  const result = walker.walk(f);
  ctx.settle(f, DELIVERED);
  return [result, walker.pointer];
}

const accepted: readonly (readonly [string, readonly number[]])[] = [
  ['no options', []],
  ['end of list', [0, 0, 0, 0]],
  ['what follows the end of the list is not looked at', [0, 131, 1, 0]],
  ['padding', [1, 1, 1, 1]],
  ['router alert', [148, 4, 0, 0]],
  ['record route with room', [7, 11, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0]],
  ['record route that is full', [7, 7, 8, 1, 2, 3, 4, 0]],
  ['timestamp', [68, 8, 5, 0, 0, 0, 0, 0]],
  ['an unknown option', [222, 6, 1, 2, 3, 4, 1, 0]],
  ['an option that ends with the header', [1, 1, 222, 2]],
];
for (const [name, options] of accepted) {
  test(`${name}: accepted`, () => assert.equal(walk(options), [0, 0]));
}

const refused: readonly (readonly [string, readonly number[], number])[] = [
  ['option without length octet at the end', [1, 1, 1, 222], 23],
  ['length 0', [222, 0, 0, 0], 21],
  ['length 1', [1, 222, 1, 0], 22],
  ['length beyond the header', [222, 5, 0, 0], 21],
  ['length beyond the header after another option', [148, 4, 0, 0, 1, 222, 4, 0], 26],
  ['loose source route', [131, 7, 4, 1, 2, 3, 4, 0], 20],
  ['strict source route after padding', [1, 137, 7, 4, 1, 2, 3, 4], 21],
  ['record route too short for its pointer', [7, 2, 1, 1], 21],
  ['record route whose pointer is in its head', [7, 7, 3, 1, 2, 3, 4, 0], 22],
  ['timestamp too short', [68, 3, 5, 0], 21],
  ['timestamp whose pointer is in its head', [68, 8, 4, 0, 0, 0, 0, 0], 22],
];
for (const [name, options, pointer] of refused) {
  test(`${name}: refused, octet ${pointer}`, () => assert.equal(walk(options), [IP_OPTIONS, pointer]));
}

test('any 40 bytes end the walk, with a pointer into the header when refused', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 255 }), { maxLength: 40 }), (options) => {
      const [result, pointer] = walk(options);
      const end = 20 + Math.ceil(options.length / 4) * 4;
      return result === 0 ? pointer === 0 : result === IP_OPTIONS && pointer >= 20 && pointer < end;
    }),
  );
});

test.run();

/**
 * The short share of the fuzzing campaigns: every target with a few thousand frames, from changed captures of kernels and
 * from answers to what the target sends. Nothing throws, every frame is accounted for, nothing is left in the end. Any
 * length by hand: `npm run fuzz -- --frames N --seed S`. `FUZZ_SEED` sets the seed here.
 */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { campaign } from './campaign/campaign.ts';
import { loadCaptures } from './campaign/source.ts';
import { TARGETS } from './campaign/targets.ts';

const FRAMES = 12_000;
const SEED = Number(process.env['FUZZ_SEED'] ?? 20_261);

for (const name of TARGETS.keys()) {
  test(`${name}: ${FRAMES} frames, seed ${SEED}`, () => {
    const { sent, drops } = campaign(name, SEED, FRAMES);
    // The campaign is worth something only if the target talks, and if it finds fault with most layers.
    assert.ok(sent > FRAMES / 10, `${sent} frames were sent`);
    for (const reason of [
      'ip_checksum',
      'ip_truncated',
      'ip_options',
      'frag_overlap',
      'tcp_malformed',
      'icmp_ignored',
    ]) {
      assert.match(drops, new RegExp(`\\b${reason} \\d`));
    }
  });
}

test('the captures have TCP, UDP, ICMP and fragments', () => {
  const packets = loadCaptures();
  for (const proto of [1, 6, 17]) assert.ok(packets.some((p) => p[9] === proto));
  assert.ok(packets.some((p) => (p[6]! & 0x20) !== 0));
});

test.run();

/**
 * A minute of `npm run soak`, with a seed of its own each time: printed, so that it can be run again.
 */
import { randomInt } from 'node:crypto';
import { tmpdir } from 'node:os';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { noCommands, noNamespaces, testUnless } from '../lib/privilege.ts';
import { soak } from './soak.ts';

const add = testUnless(noNamespaces() ?? noCommands('ip', 'ss'), test);

const MINUTE = { seconds: 60, round: 0, width: 40, keep: tmpdir() };

add(
  "a minute against the kernel's TCP over a bad link: every byte right, nothing stands still, nothing is left",
  async () => {
    const { tally, failure } = await soak({ ...MINUTE, seed: randomInt(2 ** 31) }, console.log);
    assert.is(failure, null, failure ?? '');
    const { connections, bytesFrom, resets, refused, ecn, tcp, faults, kernel } = tally;
    // Far below what the slowest machine manages, but not nothing.
    for (const side of ['tsvs', 'kernel'] as const) {
      assert.ok(connections[side] > 100, `${connections[side]} opened by ${side}`);
      assert.ok(bytesFrom[side] > 1e6, `${bytesFrom[side]} bytes from ${side}`);
      // Both grant ECN, echo the other's marks, and answer echoes.
      const { granted, ece, cwr } = ecn[side];
      assert.ok(granted > 0 && ece > 0 && cwr > 0, `${side}: ${JSON.stringify(ecn)}`);
    }
    assert.ok(resets > 0 && refused > 0 && tcp.ecnReductions > 0 && tcp.zeroWindowProbes > 0);
    assert.ok(tcp.retransSegs > 0 && kernel['RetransSegs']! > 0);
    assert.ok(
      faults.lost > 0 && faults.duplicated > 0 && faults.reordered > 0 && faults.corrupted > 0 && faults.marked > 0,
    );
  },
);

test.run();

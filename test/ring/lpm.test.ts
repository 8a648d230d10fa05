import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Lpm } from '../../stack/mem/lpm.ts';
import { stress } from './stress.ts';

test('a reader looks up in one build at a time while another thread rebuilds', async () => {
  const cfg = { nodes: 8, readers: 1 };
  const sab = new SharedArrayBuffer(Lpm.bytes(cfg));
  Lpm.create(sab, 0, cfg);
  const count = 3000;
  const { reports } = await stress(sab, [
    { role: 'lpm builder', count },
    { role: 'lpm reader', count },
  ]);
  assert.is(reports[0]!.done, count);
  assert.ok(reports[1]!.done >= 200);
});

test.run();

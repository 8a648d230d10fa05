import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { SeqRows } from '../../stack/mem/seq-rows.ts';
import { ROW_WORDS, ROWS, stress } from './stress.ts';

test('a row is read as one write left it, while it is written again and again', async () => {
  const cfg = { rows: ROWS, words: ROW_WORDS };
  const sab = new SharedArrayBuffer(SeqRows.bytes(cfg));
  SeqRows.create(sab, 0, cfg);
  const { reports } = await stress(sab, [
    { role: 'rows writer', count: 400_000 },
    { role: 'rows reader', count: 0 },
  ]);
  assert.is(reports[0]!.done, 400_000);
  assert.ok(reports[1]!.done > 0);
  console.log(`${reports[1]!.done} rows read`);
});

test.run();

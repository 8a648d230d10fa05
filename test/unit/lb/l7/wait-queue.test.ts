/** Queues against plain arrays. */
import * as fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { WaitQueues } from '../../../../lb/l7/wait-queue.ts';

test('any coming and going leaves the order that arrays would have', () => {
  const step = fc.record({
    queue: fc.integer({ min: 1, max: 3 }),
    id: fc.integer({ min: 1, max: 9 }),
    join: fc.boolean(),
  });
  fc.assert(
    fc.property(fc.array(step, { maxLength: 100 }), (steps) => {
      const queues = new WaitQueues(3, 9);
      const model: number[][] = [[], [], [], []];
      for (const { queue, id, join } of steps) {
        const at = model.findIndex((one) => one.includes(id));
        assert.is(queues.holds(id), at >= 0);
        if (join && at < 0) {
          queues.push(queue, id);
          model[queue]!.push(id);
        } else if (!join) {
          queues.remove(id);
          if (at >= 0) model[at]!.splice(model[at]!.indexOf(id), 1);
        }
        for (const q of [1, 2, 3]) {
          assert.equal([queues.head(q), queues.length(q)], [model[q]![0] ?? 0, model[q]!.length]);
        }
      }
      for (const q of [1, 2, 3]) {
        for (const id of model[q]!) {
          assert.is(queues.head(q), id);
          queues.remove(id);
        }
      }
    }),
  );
});

test.run();

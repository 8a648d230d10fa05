/** Batches on their way: whole, in order, in whatever pieces, and none before its last piece is there. */
import * as fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { type Batch, type Command, commandMemory, Receiver, Sender } from '../../../../src/workers/commands.ts';

/** A command whose name makes it as long as it has to be. */
const command = (name: string): Command => ({
  do: 'setState',
  at: { name, proto: 'tcp', vip: 1, port: 80 },
  server: { name: 'server1', ip: 2, port: 80 },
  state: 'drain',
});

function line(): { sender: Sender; receiver: Receiver; taken: Batch[] } {
  const memory = commandMemory();
  const taken: Batch[] = [];
  return { sender: new Sender(memory), receiver: new Receiver(memory, (batch) => taken.push(batch)), taken };
}

test('what arrives is what was sent, in any length and script', () => {
  const names = fc.array(fc.string({ unit: 'grapheme', maxLength: 3000 }), { minLength: 1, maxLength: 8 });
  fc.assert(
    fc.property(fc.array(names, { minLength: 1, maxLength: 4 }), (batches) => {
      const { sender, receiver, taken } = line();
      const sent = batches.map((each, i) => ({ version: i + 2, commands: each.map(command) }));
      for (const batch of sent) sender.put(batch);
      for (let turns = 0; !sender.flush(); turns++) {
        assert.ok(turns < 1000, 'the rings are emptied');
        receiver.poll();
      }
      receiver.poll();
      assert.equal(taken, sent);
    }),
    { numRuns: 50 },
  );
});

test('a batch larger than the rings goes in parts, and is taken once it is whole', () => {
  const { sender, receiver, taken } = line();
  const batch: Batch = { version: 2, commands: Array.from({ length: 1000 }, () => command('x'.repeat(100))) };
  sender.put(batch);
  let rounds = 0;
  for (; !sender.flush(); rounds++) {
    assert.equal(taken, []);
    receiver.poll();
  }
  assert.ok(rounds > 3, `${rounds} rounds`);
  receiver.poll();
  assert.equal(taken, [batch]);
});

test('nothing in the rings, nothing is taken', () => {
  const { receiver, taken } = line();
  receiver.poll();
  assert.equal(taken, []);
});

test.run();

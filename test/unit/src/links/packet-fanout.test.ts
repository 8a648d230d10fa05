/** The program of packet fanout, run by a small machine of our own: it names the socket of the worker that owns the flow. */
import fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { fanoutProgram } from '../../../../src/links/packet-fanout.ts';
import { FramePool } from '../../../../stack/mem/frame-pool.ts';
import { Steering } from '../../../../stack/steer/steering.ts';
import { SMALL_POOL } from '../../../contract/device.ts';
import { flowFrames } from '../../../lib/flow-frames.ts';

const NET = -0x100000;
const ETH = 14;

/** Classic BPF as Documentation/networking/filter.rst has it, as far as the program goes; the accumulator has 32 bits. */
function run(program: ReturnType<typeof fanoutProgram>, frame: Uint8Array): number {
  const view = new DataView(frame.buffer);
  // Below the network header it is the kernel's own data: here the protocol.
  const at = (k: number): number => (k >= NET && k < NET / 2 ? k - NET + ETH : 12);
  const memory = [0];
  let a = 0;
  let x = 0;
  for (let pc = 0; pc < program.length; pc++) {
    const [op, k, jt, jf] = program[pc]!;
    if (op === 0x00) a = k;
    else if (op === 0x20) a = view.getUint32(at(k));
    else if (op === 0x28) a = view.getUint16(at(k));
    else if (op === 0x30) a = view.getUint8(at(k));
    else if (op === 0x60) a = memory[k]!;
    else if (op === 0x61) x = memory[k]!;
    else if (op === 0x02) memory[k] = a;
    else if (op === 0x0c) a = (a + x) >>> 0;
    else if (op === 0x24) a = Math.imul(a, k) >>> 0;
    else if (op === 0x44) a = (a | k) >>> 0;
    else if (op === 0x74) a >>>= k;
    else if (op === 0x94) a %= k;
    else if (op === 0x15) pc += a === k ? jt : jf;
    else if (op === 0x45) pc += (a & k) !== 0 ? jt : jf;
    else if (op === 0x16) return a;
    else throw new Error(`no such instruction: ${op}`);
  }
  throw new Error('the program does not end');
}

test('the program and every worker name the same owner', () => {
  const pool = FramePool.create(SMALL_POOL);
  const f = pool.alloc();
  for (const workers of [2, 3, 7, 16]) {
    const program = fanoutProgram(workers);
    const steering = new Steering(0, workers);
    fc.assert(
      fc.property(flowFrames, (frame) => {
        pool.buf.set(frame, pool.off[f]!);
        pool.len[f] = frame.length;
        assert.is(run(program, frame), steering.owner(pool, f));
      }),
    );
  }
});

test.run();

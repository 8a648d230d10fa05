/** The steering program of TAPs, run by the kernel on frames of all sorts: it names the queue of the worker that owns the flow. */
import fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { NativeBytes, syscalls } from '../../src/links/syscall.ts';
import { loadSteering } from '../../src/links/tap-steering.ts';
import { FramePool } from '../../stack/mem/frame-pool.ts';
import { Steering } from '../../stack/steer/steering.ts';
import { SMALL_POOL } from '../contract/device.ts';
import { flowFrames } from '../lib/flow-frames.ts';
import { isRealRoot, testUnless } from '../lib/privilege.ts';

const able = process.arch === 'x64' && isRealRoot();
const add = testUnless(able ? undefined : 'needs root on x64', test);

const SYS_BPF = 321;
const BPF_PROG_TEST_RUN = 10;
/** The kernel takes away an Ethernet header before it runs such a program. */
const AROUND = 14;

/** What the program says of a frame. */
function run(program: number, frame: Uint8Array): number {
  const sys = syscalls();
  const data = new NativeBytes(sys, AROUND + frame.length + 8);
  data.u8.set(frame, AROUND);
  const attr = new NativeBytes(sys, 80);
  attr.i32[0] = program;
  attr.i32[2] = AROUND + frame.length;
  attr.set64(16, data.address);
  attr.i32[8] = 1;
  assert.is(sys.call(SYS_BPF, BPF_PROG_TEST_RUN, attr.address, 80, 0, 0, 0), 0, `errno ${sys.errno()}`);
  return attr.i32[1]! >>> 0;
}

add('the kernel and every worker name the same owner', () => {
  const pool = FramePool.create(SMALL_POOL);
  const f = pool.alloc();
  for (const workers of [2, 3, 7, 16]) {
    const program = loadSteering(syscalls(), workers);
    const steering = new Steering(0, workers);
    fc.assert(
      fc.property(flowFrames, (frame) => {
        pool.buf.set(frame, pool.off[f]!);
        pool.len[f] = frame.length;
        const owner = steering.owner(pool, f);
        assert.is(run(program, frame) % workers, owner);
      }),
      { numRuns: 200 },
    );
    syscalls().close(program);
  }
});

add('a frame too short for what it says goes to the first queue', () => {
  const program = loadSteering(syscalls(), 4);
  assert.is(run(program, Uint8Array.from([...new Array(12).fill(2), 8, 0, 0x45, 0, 0])), 0);
  syscalls().close(program);
});

test.run();

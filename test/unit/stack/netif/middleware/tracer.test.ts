import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { memoryWire, OFFLOAD_WIRE } from '../../../../../stack/netif/memory.ts';
import { Tracer } from '../../../../../stack/netif/middleware/tracer.ts';
import { newContext, tcpFrame, testFrame } from '../../../../contract/device.ts';

test('one line per frame that passed, with time, device and direction', () => {
  const ctxA = newContext();
  const ctxB = newContext();
  const [inner, b] = memoryWire(ctxA, ctxB, { ...OFFLOAD_WIRE, ring: 2 });
  const lines: string[] = [];
  const a = new Tracer(ctxA, inner, (line) => lines.push(line));
  ctxA.tick(1_204_113);
  const frames = Int32Array.of(tcpFrame(ctxA, 30000, 1448), testFrame(ctxA, 60, 1), testFrame(ctxA, 61, 1));
  assert.is(a.tx(frames, 0, 3), 2);
  ctxA.tick(2_000_000);
  b.tx(Int32Array.of(testFrame(ctxB, 70, 1)), 0, 1);
  a.rx(new Int32Array(4), 4);
  assert.equal(lines, [
    '1.204113 memory:a > IP 10.7.0.1.1000 > 10.7.0.2.2000: Flags [P.], seq 1:30001, ack 1, win 256, length 30000, gso 1448, csum partial',
    '1.204113 memory:a > 02:00:00:00:00:0a > 02:00:00:00:00:0b: ethertype 0x88b5, length 60',
    '2.000000 memory:a < 02:00:00:00:00:0a > 02:00:00:00:00:0b: ethertype 0x88b5, length 70',
  ]);
});

test.run();

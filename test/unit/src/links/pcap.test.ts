/** What a pcap link makes of frames whose sender left something to the card; its process is played by the test. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { PcapDevice } from '../../../../src/links/pcap.ts';
import { NativeBytes, syscalls } from '../../../../src/links/syscall.ts';
import { GSO_NONE, GSO_TCPV4 } from '../../../../stack/mem/frame-pool.ts';
import { newContext } from '../../../contract/device.ts';
import { naiveSum } from '../../../lib/naive-checksum.ts';
import { type Segment, segmentFrame } from '../../../lib/segment.ts';

const AF_UNIX = 1;
const SOCK_SEQPACKET_NONBLOCK = 5 | 0x800;
const SEGMENT: Segment = {
  ...{ src: 0x0a000001, dst: 0x0a000002, sport: 80, dport: 40000, seq: 1, ack: 2, flags: 'A', win: 99 },
  data: new Uint8Array(400),
};

/** What the link of an interface with this MTU says of a frame: kind and size of its segments. */
function received(bytes: Uint8Array, mtu: number): [kind: number, size: number] {
  const sys = syscalls();
  const both = new NativeBytes(sys, 8);
  assert.is(sys.socketpair(AF_UNIX, SOCK_SEQPACKET_NONBLOCK, 0, both.address), 0);
  const [ours = -1, theirs = -1] = both.i32;
  const ctx = newContext();
  const device = new PcapDevice(ctx, { name: 'lo', fd: ours, mtu, mac: [] });
  try {
    assert.is(sys.write(theirs, sys.addressOf(bytes), bytes.length), bytes.length);
    const out = new Int32Array(1);
    assert.is(device.rx(out, 1), 1);
    return [ctx.pool.gsoType[out[0]!]!, ctx.pool.gsoSize[out[0]!]!];
  } finally {
    device.close();
    sys.close(theirs);
  }
}

/** With the sum that a sender leaves to its card to go on with. */
function unfinished(segment: Segment): Uint8Array {
  const bytes = segmentFrame(segment);
  const pseudo = new Uint8Array(12);
  pseudo.set(bytes.subarray(26, 34));
  pseudo[9] = 6;
  new DataView(pseudo.buffer).setUint16(10, bytes.length - 34);
  new DataView(bytes.buffer).setUint16(50, naiveSum(pseudo));
  return bytes;
}

test('segments in one piece are as long as the MTU allows, headers counted', () => {
  assert.equal(received(unfinished(SEGMENT), 68), [GSO_TCPV4, 28]);
  assert.equal(received(unfinished({ ...SEGMENT, ts: [1, 2] }), 68), [GSO_TCPV4, 16]);
  assert.equal(received(unfinished(SEGMENT), 436), [GSO_NONE, 0], 'a frame check sequence more than the link takes');
});

test('headers that leave segments no payload make none', () => {
  // 20 bytes of IP, 56 of TCP.
  const sack = [
    [1, 2],
    [3, 4],
    [5, 6],
  ] as const;
  const long = unfinished({ ...SEGMENT, ts: [1, 2], sack });
  for (const mtu of [68, 76]) assert.equal(received(long, mtu), [GSO_NONE, 0], `MTU ${mtu}`);
  assert.equal(received(long, 77), [GSO_TCPV4, 1]);
});

test.run();

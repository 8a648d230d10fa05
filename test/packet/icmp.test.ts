/** Echo and group addresses, packet in and packet out, through a whole host. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { IP_DESTINATION } from '../../stack/drop.ts';
import { type Device, newStats } from '../../stack/netif/device.ts';
import { naiveChecksum } from '../lib/naive-checksum.ts';
import { etherFrame, ipPacket, segmentFrame } from '../lib/segment.ts';
import { ip, makeHost, type SimHost, SMALL_HOST, SMALL_POOL } from '../lib/sim.ts';

const HOST = ip('10.0.0.1');
const PEER = ip('10.0.0.2');

interface Wire {
  readonly h: SimHost;
  /** Bytes on the wire of each frame sent, and whether it was marked as segments. */
  readonly sent: { bytes: number; gso: boolean }[];
  /** A received frame; `gsoSize` as a link with offloads would say it. */
  give(frame: Uint8Array, gsoSize?: number): void;
}

function wire(tso = false): Wire {
  const h = makeHost(1, SMALL_HOST, SMALL_POOL);
  const { pool } = h.ctx;
  const waiting: [Uint8Array, number][] = [];
  const sent: { bytes: number; gso: boolean }[] = [];
  const device: Device = {
    name: 'test',
    caps: { mtu: 1500, txChecksum: tso, rxChecksum: true, tso, scatter: true, queues: 1 },
    stats: newStats(),
    fd: -1,
    up: true,
    rx(out) {
      let n = 0;
      for (const [bytes, gsoSize] of waiting.splice(0)) {
        const f = bytes.length > 1900 ? pool.allocBig() : pool.alloc();
        pool.buf.set(bytes, pool.off[f]!);
        pool.len[f] = bytes.length;
        pool.gsoSize[f] = gsoSize;
        pool.gsoType[f] = gsoSize > 0 ? 1 : 0;
        out[n++] = f;
      }
      return n;
    },
    tx(frames, from, to) {
      for (let i = from; i < to; i++) {
        const f = frames[i]!;
        sent.push({ bytes: pool.wireLength(f), gso: pool.gsoType[f] !== 0 });
        h.ctx.sent(f);
      }
      return to - from;
    },
    close() {},
  };
  const port = h.host.addPort(device, 0x0200, 1);
  h.host.addresses.add({ addr: HOST, prefixLen: 24, port: port.id, flags: 1 });
  h.host.neigh.nud.setStatic(PEER, port.id, 0x0200, 2);
  let now = 2_000_000;
  h.host.turn(now);
  sent.length = 0; // the announcement
  return {
    h,
    sent,
    give(frame, gsoSize = 0) {
      waiting.push([frame, gsoSize]);
      now += 1000;
      h.host.turn(now);
    },
  };
}

function ping(size: number): Uint8Array {
  const message = new Uint8Array(8 + size);
  message[0] = 8;
  new DataView(message.buffer).setUint16(2, naiveChecksum(message));
  return etherFrame(ipPacket(PEER, HOST, 1, message));
}

test('an echo reply has nothing of the segmentation that the link said of the request', () => {
  for (const tso of [false, true]) {
    const w = wire(tso);
    w.give(ping(40_000), 1);
    assert.ok(w.sent.length < 40, `${w.sent.length} frames`);
    assert.not(w.sent.some((s) => s.gso));
    assert.is(w.h.ctx.pool.inUse, 0);
  }
});

test('TCP to a group or broadcast address is dropped in silence, also in a unicast frame', () => {
  for (const dst of ['224.0.0.1', '255.255.255.255', '10.0.0.255']) {
    const w = wire();
    const data = new Uint8Array();
    w.give(segmentFrame({ src: PEER, dst: ip(dst), sport: 1, dport: 80, seq: 1, ack: 0, flags: 'S', win: 100, data }));
    assert.equal(w.sent, [], dst);
    assert.is(w.h.ctx.drops[IP_DESTINATION], 1);
    assert.is(w.h.ctx.pool.inUse, 0);
  }
});

test.run();

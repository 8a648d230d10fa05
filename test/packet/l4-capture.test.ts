/** A capture while packets come: which frames it takes at which stage, what is lost, and that nothing is left of it afterwards. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Capture, type CaptureWish } from '../../lb/capture/capture.ts';
import {
  attachCapture,
  CAPTURE_RING,
  COMPLETE,
  captureMemory,
  LOST,
  OFF,
  piecesFor,
  STAGES,
  STATE,
  TAKEN,
} from '../../lb/capture/record.ts';
import { CaptureBlocks, CapturedFrames } from '../../src/capture/blocks.ts';
import { compileFilter } from '../../src/capture/expression.ts';
import { CLIENT, CPORT, ipPacket, L4Rig, RPORT, udpBytes, VIP, VPORT } from '../lib/l4-rig.ts';
import { tcpBytes } from '../lib/segment.ts';

const NAMES = { serviceName: (id: number) => `service${id}`, serverName: (id: number) => `server${id}` };

/** A director with a capture, and a reader of what it takes. */
class CaptureRig {
  readonly rig: L4Rig;
  readonly capture: Capture;
  private readonly ends = attachCapture(captureMemory());
  private readonly blocks = new CaptureBlocks([new CapturedFrames(this.ends.ring, NAMES, 0)]);

  constructor(mode: 'FNAT' | 'NAT' | 'DR' | 'TUN', wish: Partial<CaptureWish> = {}, filter = '', udp = false) {
    this.rig = new L4Rig({ mode, udp });
    this.capture = new Capture(this.rig.host, this.rig.l4, this.ends);
    this.begin(wish, filter);
  }

  begin(wish: Partial<CaptureWish> = {}, filter = ''): void {
    this.capture.begin({
      stages: ['rx', 'tx', 'drop'],
      program: compileFilter(filter),
      count: 0,
      snap: 65535,
      ...wish,
    });
  }

  word(index: number): number {
    return this.ends.words[index]!;
  }

  /** Comments and captured lengths of what has come. */
  taken(): { comment: string; bytes: Uint8Array }[] {
    const all: { comment: string; bytes: Uint8Array }[] = [];
    for (
      let chunk = this.blocks.take(Number.POSITIVE_INFINITY);
      chunk !== null;
      chunk = this.blocks.take(Number.POSITIVE_INFINITY)
    ) {
      const view = new DataView(chunk.buffer, chunk.byteOffset, chunk.byteLength);
      for (let at = 0; at < chunk.length; at += view.getUint32(at + 4, true)) {
        const length = view.getUint32(at + 20, true);
        // Flags stand before the comment.
        const option = at + 28 + ((length + 3) & ~3) + 8;
        const comment = chunk.subarray(option + 4, option + 4 + view.getUint16(option + 2, true));
        all.push({
          comment: new TextDecoder().decode(comment),
          bytes: Uint8Array.from(chunk.subarray(at + 28, at + 28 + length)),
        });
      }
    }
    return all;
  }

  comments(): string[] {
    return this.taken().map(({ comment }) => comment);
  }
}

const segment = (flags: string, sport = CPORT): Uint8Array => {
  const s = { src: CLIENT, dst: VIP, sport, dport: VPORT, seq: 1000, ack: 0, flags, win: 500, data: new Uint8Array(0) };
  return ipPacket(CLIENT, VIP, 6, tcpBytes(s));
};
const datagram = (bytes = 20, sport = CPORT): Uint8Array =>
  ipPacket(CLIENT, VIP, 17, udpBytes(CLIENT, VIP, sport, VPORT, new Uint8Array(bytes)));

test('rx as it came and tx as it left, with service, server and state; the filter follows the rewrite', () => {
  const all = new CaptureRig('NAT', {}, `src ${'198.51.100.7'} and dst port ${VPORT}`);
  const sent = all.rig.feed(segment('S'));
  const [rx, tx, ...more] = all.taken();
  assert.equal([rx!.comment, tx!.comment], ['rx', 'tx; service1/server1, nat, to the server, SYN_RECV']);
  assert.equal(rx!.bytes.slice(14), segment('S'));
  assert.equal(tx!.bytes.slice(14), sent[0]!.ip);
  assert.is(new DataView(tx!.bytes.buffer).getUint16(14 + 22), RPORT, 'it is wanted though its port is another by now');
  assert.equal(more, []);
  all.rig.feed(segment('S', 7));
  assert.is(all.comments().length, 2);
  all.capture.end();
  all.begin({}, 'udp or host 10.0.0.99');
  all.rig.feed(segment('S', 8));
  assert.equal(all.comments(), []);
});

test('drops with their reason', () => {
  const all = new CaptureRig('NAT', { stages: ['drop'] });
  all.rig.feed(segment('A'));
  all.rig.services.setWeight(all.rig.services.destIds(all.rig.service)[0]!, 0);
  all.rig.feed(segment('S'));
  const taken = all.taken();
  assert.equal(
    taken.map(({ comment }) => comment),
    ['drop tcp_no_socket', 'drop lb_no_server'],
  );
  assert.equal(taken[1]!.bytes.slice(14), segment('S'));
});

test('every stage in turn; inner ones see what would be cut short', () => {
  for (const mode of ['FNAT', 'NAT', 'DR', 'TUN'] as const) {
    const all = new CaptureRig(mode, { stages: [...STAGES] }, 'host 198.51.100.7', true);
    const stages = (): string[] => all.comments().map((comment) => comment.split(';')[0]!);
    const forwarded = ['rx', 'pre_routing', 'post_routing', 'tx'];
    for (let i = 0; i < 3; i++) {
      all.rig.feed(datagram());
      assert.equal(stages(), forwarded, `${mode}, packet ${i}`);
    }
    assert.is(all.rig.l4.fast.packets, 0);
    all.capture.end();
    // Without inner stages what can be cut short is, and is seen all the same.
    all.begin({ stages: ['rx', 'tx'] }, 'host 198.51.100.7');
    all.rig.feed(datagram());
    assert.equal(stages(), ['rx', 'tx'], mode);
    assert.is(all.rig.l4.fast.packets, 1, mode);
  }
});

test('what ends here is delivered, and what is made here goes out', () => {
  const all = new CaptureRig('DR', { stages: [...STAGES] }, 'tcp and host 198.51.100.7');
  all.rig.feed(
    ipPacket(
      CLIENT,
      VIP,
      6,
      tcpBytes({
        src: CLIENT,
        dst: VIP,
        sport: 9,
        dport: 9,
        seq: 1,
        ack: 0,
        flags: 'S',
        win: 1,
        data: new Uint8Array(0),
      }),
    ),
  );
  const taken = all.taken();
  const stages = taken.map(({ comment }) => comment);
  assert.equal(stages, ['rx', 'pre_routing', 'local_in', 'local_out', 'post_routing', 'drop tcp_no_socket', 'tx']);
  for (const { bytes } of taken) assert.is(new DataView(bytes.buffer).getUint16(12), 0x0800);
  assert.equal([...taken[3]!.bytes.subarray(0, 12)], new Array(12).fill(0), 'it has no Ethernet header yet');
});

test('count ends it; snap cuts frames', () => {
  const all = new CaptureRig('NAT', { stages: ['rx'], count: 2, snap: 64 });
  for (let i = 0; i < 4; i++) all.rig.feed(segment('S', 100 + i));
  assert.equal([all.word(TAKEN), all.word(STATE)], [2, COMPLETE]);
  assert.equal(
    all.taken().map(({ bytes }) => bytes.length),
    [54, 54],
  );
  assert.is(all.rig.host.netif.receiveTap, null);
  all.begin({ stages: ['rx'], snap: 40 });
  all.rig.feed(segment('S', 200));
  assert.is(all.taken()[0]!.bytes.length, 40);
});

test('a ring that nobody empties loses frames, counts them, and holds nothing up', () => {
  const all = new CaptureRig('NAT', { stages: ['rx'] }, '', true);
  const bytes = 1400;
  const room = Math.floor(CAPTURE_RING.capacity / piecesFor(bytes + 42));
  for (let i = 0; i < room + 5; i++) assert.is(all.rig.feed(datagram(bytes)).length, 1);
  assert.equal([all.word(TAKEN), all.word(LOST)], [room, 5]);
  assert.is(all.comments().length, room);
  all.rig.feed(datagram(bytes));
  assert.equal([all.comments().length, all.word(LOST)], [1, 5], 'it goes on');
});

test('afterwards nobody looks, and another one can begin', () => {
  const all = new CaptureRig('NAT', { stages: [...STAGES] });
  assert.throws(() => all.begin(), /running already/);
  const { host } = all.rig;
  const used = host.hooks.used;
  all.capture.end();
  assert.is(all.word(STATE), OFF);
  assert.equal([host.netif.receiveTap, host.netif.transmitTap], [null, null]);
  assert.not.equal(host.hooks.used, used);
  assert.is(host.hooks.isAlone(all.rig.l4.core), true);
  all.rig.feed(segment('S'));
  assert.equal([all.comments(), all.rig.fate], [[], 'sent']);
  all.begin({ stages: ['tx'] });
  all.rig.feed(segment('S', 5));
  assert.is(all.comments().length, 1);
});

test.run();

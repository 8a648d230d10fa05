/** The end of an IPIP tunnel: what comes out, what becomes of ECN, and what is refused. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Context } from '../../../../stack/context.ts';
import { DROP_REASONS } from '../../../../stack/drop.ts';
import { LOCAL_IN } from '../../../../stack/hook.ts';
import { Host } from '../../../../stack/host.ts';
import { FramePool } from '../../../../stack/mem/frame-pool.ts';
import { newStats } from '../../../../stack/netif/device.ts';
import { DELIVERED } from '../../../../stack/verdict.ts';
import { naiveChecksum, naiveSum } from '../../../lib/naive-checksum.ts';
import { seeded } from '../../../lib/random.ts';
import { etherFrame, ipPacket } from '../../../lib/segment.ts';
import { ip, SMALL_HOST } from '../../../lib/sim.ts';

const US = ip('10.0.0.1');
const DIRECTOR = ip('10.0.0.2');
const VIP = ip('10.9.9.9');
const CLIENT = ip('198.51.100.1');

/** A packet with this TOS, checksum made anew. */
function marked(packet: Uint8Array, tos: number): Uint8Array {
  packet[1] = tos;
  packet[10] = packet[11] = 0;
  const sum = naiveChecksum(packet.subarray(0, 20));
  packet[10] = sum >> 8;
  packet[11] = sum & 255;
  return packet;
}

/** Feeds one packet to a host with the VIP; what reached LOCAL_IN last, or the name of the drop. */
function arrive(packet: Uint8Array, enabled = true): Uint8Array | string {
  const ctx = new Context(
    FramePool.create({ slots: 64, slotBytes: 2048, bigSlots: 2, bigSlotBytes: 69632 }),
    seeded(1),
  );
  const host = new Host(ctx, { onConflict: () => {} }, SMALL_HOST);
  let waiting: Uint8Array | null = null;
  const port = host.addPort(
    {
      name: 'one',
      caps: { mtu: 1500, txChecksum: false, rxChecksum: false, tso: false, scatter: false, queues: 1 },
      stats: newStats(),
      fd: -1,
      up: true,
      rx: (out) => {
        if (waiting === null) return 0;
        const f = ctx.pool.alloc();
        ctx.pool.buf.set(waiting, ctx.pool.off[f]);
        ctx.pool.len[f] = waiting.length;
        waiting = null;
        out[0] = f;
        return 1;
      },
      tx: (frames, from, to) => {
        for (let i = from; i < to; i++) ctx.sent(frames[i]!);
        return to - from;
      },
      close: () => {},
    },
    0x0200,
    1,
  );
  host.addresses.add({ addr: US, prefixLen: 24, port: port.id, flags: 1 });
  host.addresses.add({ addr: VIP, prefixLen: 32, port: port.id, flags: 2 });
  if (enabled) host.enableIpip();
  let seen: Uint8Array | null = null;
  host.hooks.register(LOCAL_IN, 0, {
    packet: (f) => {
      const at = ctx.pool.off[f]!;
      seen = ctx.pool.buf.slice(at, at + ctx.pool.len[f]!);
      return seen[9] === 4 ? 0 : DELIVERED;
    },
  });
  host.turn(1_000_000);
  waiting = etherFrame(packet);
  host.turn(1_001_000);
  const dropped = DROP_REASONS.find((_, i) => ctx.drops[i]! > 0);
  return dropped?.name ?? seen!;
}

const inner = (): Uint8Array => ipPacket(CLIENT, VIP, 17, Uint8Array.from([0, 1, 0, 2, 0, 9, 0, 0, 5]));

test('the inner packet comes in as if it had just arrived', () => {
  assert.equal(arrive(ipPacket(DIRECTOR, US, 4, inner())), inner());
});

test('without a tunnel its packets are refused', () => {
  assert.is(arrive(ipPacket(DIRECTOR, US, 4, inner()), false), 'ip_protocol');
});

for (const [what, inside, outside, outcome] of [
  ['congestion in the tunnel marks a packet that can be marked', 2, 3, 3],
  ['congestion before the tunnel stays', 3, 2, 3],
  ['no congestion changes nothing', 1, 2, 1],
  ['congestion drops a packet that cannot be marked', 0, 3, 'tunnel_ecn'],
] as const)
  test(what, () => {
    const got = arrive(marked(ipPacket(DIRECTOR, US, 4, marked(inner(), 0xb8 | inside)), outside));
    if (typeof outcome === 'string') return assert.is(got, outcome);
    assert.equal(got[1], 0xb8 | outcome);
    assert.is(naiveSum((got as Uint8Array).subarray(0, 20)), 0xffff);
  });

test('a tunnel in a tunnel, a broken inner header and a cut-off one are refused', () => {
  const twice = ipPacket(DIRECTOR, US, 4, ipPacket(DIRECTOR, US, 4, inner()));
  assert.is(arrive(twice), 'ip_protocol');
  const broken = inner();
  broken[10]! ^= 1;
  assert.is(arrive(ipPacket(DIRECTOR, US, 4, broken)), 'ip_checksum');
  assert.is(arrive(ipPacket(DIRECTOR, US, 4, inner().subarray(0, 12))), 'ip_truncated');
  assert.is(arrive(ipPacket(DIRECTOR, US, 4, inner().subarray(0, 24))), 'ip_truncated');
});

test.run();

/** The end of an IPIP tunnel: what comes out, what becomes of ECN, and what is refused. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { Context } from '../../../../stack/context.ts';
import { DROP_REASONS } from '../../../../stack/drop.ts';
import { LOCAL_IN } from '../../../../stack/hook.ts';
import { Host } from '../../../../stack/host.ts';
import type { Origin } from '../../../../stack/ipv4/ipip.ts';
import { FramePool } from '../../../../stack/mem/frame-pool.ts';
import { newStats } from '../../../../stack/netif/device.ts';
import { SCOPE_GLOBAL } from '../../../../stack/route/route4.ts';
import { DELIVERED } from '../../../../stack/verdict.ts';
import { naiveChecksum, naiveSum } from '../../../lib/naive-checksum.ts';
import { seeded } from '../../../lib/random.ts';
import { etherFrame, ipPacket } from '../../../lib/segment.ts';
import { ip, SMALL_HOST } from '../../../lib/sim.ts';

const US = ip('10.0.0.1');
const DIRECTOR = ip('10.0.0.2');
const VIP = ip('10.9.9.9');
const CLIENT = ip('198.51.100.1');
const SERVER = ip('10.0.0.3');
const STRANGER = { network: ip('192.0.2.0'), prefixLen: 24 };

/** A packet with this TOS, checksum made anew. */
function marked(packet: Uint8Array, tos: number): Uint8Array {
  packet[1] = tos;
  packet[10] = packet[11] = 0;
  const sum = naiveChecksum(packet.subarray(0, 20));
  packet[10] = sum >> 8;
  packet[11] = sum & 255;
  return packet;
}

/** An end of tunnels from anybody, from these only, or none. */
type End = 'any' | 'none' | readonly Origin[];

/** Feeds one packet to a host with the VIP; what was sent on or else reached LOCAL_IN last, or the name of the drop. */
function arrive(packet: Uint8Array, end: End = 'any', vip = VIP): Uint8Array | string {
  const ctx = new Context(
    FramePool.create({ slots: 64, slotBytes: 2048, bigSlots: 2, bigSlotBytes: 69632 }),
    seeded(1),
  );
  const host = new Host(ctx, { onConflict: () => {} }, SMALL_HOST);
  let waiting: Uint8Array | null = null;
  let sent: Uint8Array | null = null;
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
        for (let i = from; i < to; i++) {
          const at = ctx.pool.off[frames[i]!]!;
          sent = ctx.pool.buf.slice(at + 14, at + ctx.pool.len[frames[i]!]!);
          ctx.sent(frames[i]!);
        }
        return to - from;
      },
      close: () => {},
    },
    0x0200,
    1,
  );
  host.addresses.add({ addr: US, prefixLen: 24, port: port.id, flags: 1 });
  host.addresses.add({ addr: vip, prefixLen: 32, port: port.id, flags: 2 });
  const route = { prefix: VIP, len: 32, gateway: SERVER, port: port.id, metric: 0, src: 0, mtu: 0 };
  if (vip !== VIP) host.routes.add({ ...route, scope: SCOPE_GLOBAL });
  host.neigh.nud.setStatic(SERVER, port.id, 0x0200, 9);
  if (end === 'any') host.enableIpip();
  else if (end !== 'none') host.enableIpip(end);
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
  sent = null;
  host.turn(1_001_000);
  const dropped = DROP_REASONS.find((_, i) => ctx.drops[i]! > 0);
  return dropped?.name ?? sent ?? seen!;
}

const inner = (): Uint8Array => ipPacket(CLIENT, VIP, 17, Uint8Array.from([0, 1, 0, 2, 0, 9, 0, 0, 5]));

test('the inner packet comes in as if it had just arrived', () => {
  assert.equal(arrive(ipPacket(DIRECTOR, US, 4, inner())), inner());
});

test('without a tunnel its packets are refused', () => {
  assert.is(arrive(ipPacket(DIRECTOR, US, 4, inner()), 'none'), 'ip_protocol');
});

test('an end takes packets from those it is told of, and from nobody else', () => {
  const tunnelled = ipPacket(DIRECTOR, US, 4, inner());
  assert.equal(arrive(tunnelled, [{ network: DIRECTOR, prefixLen: 32 }]), inner());
  assert.equal(arrive(tunnelled, [STRANGER, { network: ip('10.0.0.0'), prefixLen: 30 }]), inner());
  assert.is(arrive(tunnelled, [STRANGER]), 'tunnel_source');
  assert.is(arrive(tunnelled, [{ network: ip('10.0.0.4'), prefixLen: 30 }]), 'tunnel_source');
});

test('what came out of a tunnel and is for another host goes on, one hop less; nothing else is forwarded', () => {
  const end = [{ network: DIRECTOR, prefixLen: 32 }];
  const onward = arrive(ipPacket(DIRECTOR, US, 4, inner()), end, ip('10.9.9.8')) as Uint8Array;
  assert.is(onward[8], inner()[8]! - 1);
  assert.is(naiveSum(onward.subarray(0, 20)), 0xffff);
  assert.equal(onward.subarray(12), inner().subarray(12));
  assert.is(arrive(inner(), end, ip('10.9.9.8')), 'ip_not_local');
  assert.is(arrive(ipPacket(DIRECTOR, US, 4, inner()), 'any', ip('10.9.9.8')), 'ip_not_local');
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

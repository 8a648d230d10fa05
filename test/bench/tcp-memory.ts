/**
 * Bulk TCP between two of our stacks over a memory wire, both and the wire's copy in one thread: what a core can do.
 */
import { Context } from '../../stack/context.ts';
import { Host } from '../../stack/host.ts';
import { FramePool, L4_HEADROOM } from '../../stack/mem/frame-pool.ts';
import { memoryWire, OFFLOAD_WIRE, PLAIN_WIRE, type WireOptions } from '../../stack/netif/memory.ts';
import * as sock from '../../stack/tcp/socket.ts';
import type { SocketOwner, Tcb } from '../../stack/tcp/tcb.ts';
import { seeded } from '../lib/random.ts';
import { ip, SMALL_HOST } from '../lib/sim.ts';

/** Two hosts on one wire and, as the two sides of a relay are, in one pool: the wire's copy is then one memmove. */
function hosts(wire: WireOptions): [Host, Host] {
  const pool = FramePool.create({ slots: 16384, slotBytes: 2048, bigSlots: 128, bigSlotBytes: 69632 });
  const a = new Context(pool, seeded(1));
  const b = new Context(pool, seeded(2));
  const [left, right] = memoryWire(a, b, wire);
  const one = new Host(a, { onConflict: none }, SMALL_HOST);
  const two = new Host(b, { onConflict: none }, SMALL_HOST);
  one.addresses.add({ addr: ip('10.0.0.1'), prefixLen: 24, port: one.addPort(left, 0x0200, 1).id, flags: 1 });
  two.addresses.add({ addr: ip('10.0.0.2'), prefixLen: 24, port: two.addPort(right, 0x0200, 2).id, flags: 1 });
  return [one, two];
}

/** 500,000 segments are 724 MB: below 2^31. */
const CHUNK = 500_000;

const none = (): void => {};

/** Returns a body that transfers n segments of payload (1448 bytes each), and checks that they arrived. */
export function bulk(wire: WireOptions): (segments: number) => void {
  const [a, b] = hosts(wire);
  let now = 1_000_000;
  let received = 0;
  let sender: Tcb | null = null;
  let wanted = 0;
  const payload = wire.tso ? 44 * 1448 : 1448;
  // One payload frame is sent over and over: the sender has no data to produce, as a relay has none.
  const frame = wire.tso ? a.ctx.createBig() : a.ctx.create();
  const off = a.ctx.pool.base(frame) + L4_HEADROOM + 40;
  a.ctx.pool.off[frame] = off;
  a.ctx.pool.len[frame] = payload;
  const fill = (tcb: Tcb): void => {
    while (wanted > 0 && sock.writable(a.tcp, tcb) > 0) {
      a.ctx.retain(frame);
      if (!sock.send(a.tcp, tcb, frame, off, payload)) throw new Error('no segment descriptor');
      wanted -= payload;
    }
    if (wanted > 0) tcb.wantWrite = 1;
  };
  const client: SocketOwner = {
    onEstablished: (t) => {
      sender = t;
    },
    onReadable: none,
    onWritable: fill,
    onFin: none,
    onClosed: none,
  };
  const server: SocketOwner = {
    onEstablished: none,
    onReadable: (t) => {
      received += t.rcvQueued;
      sock.consume(b.tcp, t, t.rcvQueued);
    },
    onWritable: none,
    onFin: none,
    onClosed: none,
  };
  b.tcp.listeners.add(ip('10.0.0.2'), 80, 16, server, 0);
  a.tcp.connect(ip('10.0.0.1'), 0, ip('10.0.0.2'), 80, client, 0);
  const turn = (): void => {
    now += 20;
    a.turn(now);
    b.turn(now);
  };
  for (let i = 0; i < 1000 && sender === null; i++) turn();
  if (sender === null) throw new Error('not connected');
  // In chunks that keep every counter a small integer: a larger number would be boxed anew at each addition, and the
  // benchmark would measure its own garbage.
  const chunk = (segments: number): void => {
    const bytes = Math.ceil((segments * 1448) / payload) * payload;
    received = 0;
    wanted = bytes;
    fill(sender!);
    for (let i = 0; received < bytes; i++) {
      if (i > segments * 10 + 100_000) throw new Error(`stalled at ${received} of ${bytes}`);
      turn();
    }
  };
  return (segments) => {
    for (let left = segments; left > 0; left -= CHUNK) chunk(Math.min(left, CHUNK));
  };
}

export const PROFILES: Readonly<Record<string, WireOptions>> = { 'mtu 1500': PLAIN_WIRE, gso: OFFLOAD_WIRE };

/**
 * Bulk TCP between two of our stacks over a memory wire, both and the wire's copy in one thread: what a core can do.
 */
import { L4_HEADROOM } from '../../stack/mem/frame-pool.ts';
import { OFFLOAD_WIRE, PLAIN_WIRE, type WireOptions } from '../../stack/netif/memory.ts';
import * as sock from '../../stack/tcp/socket.ts';
import type { SocketOwner, Tcb } from '../../stack/tcp/tcb.ts';
import { ip, pair } from '../lib/sim.ts';

const none = (): void => {};

/** Returns a body that transfers n segments of payload (1448 bytes each), and checks that they arrived. */
export function bulk(wire: WireOptions): (segments: number) => void {
  const [a, b] = pair(11, wire);
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
    while (wanted > 0 && sock.writable(tcb) > 0) {
      a.ctx.retain(frame);
      if (!sock.send(a.host.tcp, tcb, frame, off, payload)) throw new Error('no segment descriptor');
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
      sock.consume(b.host.tcp, t, t.rcvQueued);
    },
    onWritable: none,
    onFin: none,
    onClosed: none,
  };
  b.host.tcp.listeners.add(ip('10.0.0.2'), 80, 16, server, 0);
  a.host.tcp.connect(ip('10.0.0.1'), 0, ip('10.0.0.2'), 80, client, 0);
  const turn = (): void => {
    now += 20;
    a.host.turn(now);
    b.host.turn(now);
  };
  for (let i = 0; i < 1000 && sender === null; i++) turn();
  if (sender === null) throw new Error('not connected');
  return (segments) => {
    const bytes = Math.ceil((segments * 1448) / payload) * payload;
    const target = received + bytes;
    wanted += bytes;
    fill(sender!);
    for (let i = 0; received < target; i++) {
      if (i > segments * 10 + 100_000) throw new Error(`stalled at ${received} of ${target}`);
      turn();
    }
  };
}

export const PROFILES: Readonly<Record<string, WireOptions>> = { 'mtu 1500': PLAIN_WIRE, gso: OFFLOAD_WIRE };

/**
 * IPv4 forwarding in numbers: 64-byte frames from one port to another, through netif, the checks of ethernet and IPv4, route,
 * neighbour and netif again. Frames come from and go to devices that cost next to nothing (generator.ts).
 */
import { Context } from '../../stack/context.ts';
import { Host } from '../../stack/host.ts';
import { PRIMARY } from '../../stack/inetaddr/addr.ts';
import { FramePool } from '../../stack/mem/frame-pool.ts';
import { SCOPE_GLOBAL } from '../../stack/route/route4.ts';
import { PROTO_UDP } from '../../stack/wire/ipv4.ts';
import { seeded } from '../lib/random.ts';
import { ip } from '../lib/sim.ts';
import { address, Generator, OUR_MAC, SENDER_MAC } from './generator.ts';

const SENDER = ip('10.0.0.1');
const GATEWAY = ip('10.0.1.254');
/** Destinations are 64.0.0.0 and up. */
const FIRST = ip('64.0.0.0');

/** A body that forwards n packets to `destinations` hosts, a power of two, behind a gateway. */
export function forwarding(destinations: number): (n: number) => void {
  const pool = FramePool.create({ slots: 4096, slotBytes: 2048, bigSlots: 4, bigSlotBytes: 69632 });
  const ctx = new Context(pool, seeded(3));
  let now = 1_000_000;
  ctx.tick(now);
  const host = new Host(ctx, { onConflict: () => {} });
  const [from, to] = [new Generator(ctx, PROTO_UDP), new Generator(ctx, PROTO_UDP)];
  host.enableForwarding();
  const near = host.addPort(from, 0x0200, OUR_MAC);
  const far = host.addPort(to, 0x0200, OUR_MAC);
  host.addresses.add({ addr: ip('10.0.0.254'), prefixLen: 24, port: near.id, flags: PRIMARY });
  host.addresses.add({ addr: ip('10.0.1.1'), prefixLen: 24, port: far.id, flags: PRIMARY });
  const route = { prefix: FIRST, len: 8, port: far.id, metric: 0, src: 0, mtu: 0, scope: SCOPE_GLOBAL };
  host.routes.add({ ...route, gateway: GATEWAY });
  host.neigh.nud.setStatic(GATEWAY, far.id, 0x0200, SENDER_MAC);
  const run = (n: number, us: number): void => {
    from.left = n;
    do {
      now += us;
      host.turn(now);
    } while (from.left > 0);
  };
  // Addresses are announced, twice; then the links are quiet.
  for (let i = 0; i < 10; i++) run(0, 1_000_000);
  // A full-period generator: every destination once per round, neighbours far apart.
  let x = 1;
  const mask = destinations - 1;
  from.source = ({ i32, off }, frames, n) => {
    for (let i = 0; i < n; i++) {
      x = (Math.imul(x, 1664525) + 1013904223) & mask;
      address(i32, off[frames[i]!]!, SENDER, FIRST + (Math.imul(x, 0x9e3779b1) & mask));
    }
  };
  return (n) => {
    to.restart();
    run(n, 5);
    if (to.sent !== n) throw new Error(`forward: ${to.sent} of ${n} packets went on`);
  };
}

/**
 * Property: whatever clients, hosts behind us and time do, no two live connections of a protocol look the same from the other end of a
 * local address, and what is held is what the tables, the pools and the servers' counts say. FullNAT and SNAT share one address.
 */
import * as fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import * as c from '../../lb/conn-row.ts';
import { PROTO_MATCH } from '../../lb/service.ts';
import { PROTO_ICMP, PROTO_TCP, PROTO_UDP } from '../../stack/wire/ipv4.ts';
import { icmpBytes, ipPacket, L4Rig, LOCAL, RPORT, SERVER, udpBytes, VIP, VPORT } from '../lib/l4-rig.ts';
import { layer4Service } from '../lib/l4-service.ts';
import { tcpBytes } from '../lib/segment.ts';
import { ip } from '../lib/sim.ts';

const NO_DATA = new Uint8Array(0);
const MASQUERADE = layer4Service(c.SNAT, {
  localAddresses: [LOCAL],
  inTurn: false,
  persistence: { timeoutMs: 5000, netmask: -4, expireQuiescent: false },
});
const INSIDE = { low: ip('10.0.0.48'), high: ip('10.0.0.63'), lowPort: 0, highPort: 65535 };

function rigOf(): L4Rig {
  const rig = new L4Rig({ mode: 'FNAT', limits: { tcp: 40, udp: 40, icmp: 16, templates: 16 } });
  for (let i = 48; i < 52; i++) rig.host.neigh.nud.setStatic(ip(`10.0.0.${i}`), 1, 0x0200, i);
  for (const proto of [PROTO_UDP, PROTO_ICMP]) {
    const id = rig.services.add({ proto, vip: VIP, port: proto === PROTO_UDP ? VPORT : 0, scheduler: 'rr' });
    rig.services.setDests(id, [{ addr: SERVER, port: RPORT, weight: 1 }]);
    rig.l4.setService(id, { ...MASQUERADE, mode: c.FNAT });
  }
  const snat = rig.services.add({ proto: PROTO_MATCH, vip: 1, port: 0, scheduler: 'rr' });
  rig.services.setDests(snat, [{ addr: LOCAL, port: 0, weight: 1 }]);
  rig.l4.setService(snat, { ...MASQUERADE, persistence: null });
  rig.l4.core.classifier.setMatches([[snat, { proto: 0, from: INSIDE, to: null, iif: 0, oif: 0 }]]);
  return rig;
}

/** A packet from `src` to `dst`; SYN, datagram or ping. */
function packet(proto: number, src: number, dst: number, sport: number, dport: number): Uint8Array {
  if (proto === PROTO_ICMP) return ipPacket(src, dst, proto, icmpBytes(8, 0, (sport << 16) | 1, NO_DATA));
  if (proto === PROTO_UDP) return ipPacket(src, dst, proto, udpBytes(src, dst, sport, dport, NO_DATA));
  const segment = { src, dst, sport, dport, seq: 1, ack: 0, flags: 'S', win: 9, data: NO_DATA };
  return ipPacket(src, dst, proto, tcpBytes(segment));
}

function judge(rig: L4Rig): void {
  const seen = new Set<string>();
  let ports = 0;
  const held = new Map<number, number>();
  for (const [proto, table] of Object.entries({ tcp: rig.l4.tcp, udp: rig.l4.udp, icmp: rig.l4.icmp })) {
    for (let row = table.next(0); row !== 0; row = table.next(row)) {
      const w = (i: number): number => table.rows[(row << c.ROW_SHIFT) + i]!;
      const out = (w(c.META) & c.F_OPENED_OUT) !== 0;
      const key = out
        ? [proto, w(c.VADDR), w(c.CADDR), w(c.CVPORTS)].join(' ')
        : [proto, w(c.LADDR), w(c.RADDR), w(c.RLPORTS)].join(' ');
      assert.not(seen.has(key), `two connections are ${key}`);
      seen.add(key);
      ports += 1;
      held.set(w(c.DEST), (held.get(w(c.DEST)) ?? 0) + 1);
    }
  }
  assert.is(rig.l4.pools.find(LOCAL)!.used, ports, 'ports out');
  const { table } = rig.l4.templates;
  const templates = new Map<number, number>();
  for (let row = table.next(0); row !== 0; row = table.next(row)) {
    const dest = rig.l4.templates.dest(row);
    templates.set(dest, (templates.get(dest) ?? 0) + 1);
  }
  for (let dest = 1; dest <= rig.dests.capacity; dest++) {
    const { activeConns, inactConns, refs, persistent } = rig.dests;
    const conns = held.get(dest) ?? 0;
    assert.is(activeConns[dest]! + inactConns[dest]!, conns, `connections of server ${dest}`);
    assert.is(persistent[dest], templates.get(dest) ?? 0, `templates of server ${dest}`);
    assert.is(refs[dest], conns + (templates.get(dest) ?? 0), `holders of server ${dest}`);
  }
}

const step = fc.record({
  proto: fc.constantFrom(PROTO_TCP, PROTO_UDP, PROTO_ICMP),
  what: fc.constantFrom('client', 'client', 'host', 'host', 'reset', 'pass'),
  who: fc.nat(3),
  sport: fc.integer({ min: 5000, max: 5002 }),
  seconds: fc.constantFrom(1, 4, 20, 100, 400),
});

test('random clients, hosts and time: no tuple twice, nothing lost', () => {
  fc.assert(
    fc.property(fc.array(step, { minLength: 10, maxLength: 80 }), (steps) => {
      const rig = rigOf();
      for (const { proto, what, who, sport, seconds } of steps) {
        const client = ip('198.51.100.0') + who * 3;
        if (what === 'client') rig.feed(packet(proto, client, VIP, sport, VPORT));
        // The world that hosts behind us talk to is, at times, the very server.
        else if (what === 'host') {
          const world = (who & 1) === 0 ? SERVER : client;
          rig.feed(packet(proto, ip(`10.0.0.${48 + who}`), world, sport, RPORT));
        } else if (what === 'pass') for (let i = 0; i < 20; i++) rig.step(seconds * 50_000);
        else {
          const row = rig.l4.tcp.next(0);
          if (row !== 0) rig.l4.tcp.close(row, c.END_FLUSHED);
        }
        judge(rig);
      }
      for (let i = 0; i < 100; i++) rig.step(10_000_000);
      judge(rig);
      assert.equal([rig.l4.open, rig.l4.templates.table.size(), rig.l4.pools.find(LOCAL)!.used], [0, 0, 0]);
    }),
    { numRuns: 60 },
  );
});

test.run();

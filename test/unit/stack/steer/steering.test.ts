import fc from 'fast-check';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { FramePool } from '../../../../stack/mem/frame-pool.ts';
import { homeGroup, ofPort, ownerOfFlow } from '../../../../stack/steer/flow.ts';
import { LaneIn, LaneOut, laneMemory } from '../../../../stack/steer/lane.ts';
import {
  BY_CLIENT,
  BY_CLIENT_ADDRESS,
  EVERYBODY,
  endpointKey,
  type Kinds,
  Steering,
} from '../../../../stack/steer/steering.ts';
import { arp, BROADCAST, echoRequest, ethernet, ipv4 } from '../../../lib/frames.ts';
import { ip } from '../../../lib/sim.ts';

const MAC = '02:00:00:00:00:0a';
const PEER = '02:00:00:00:00:01';
const SLOTS = { slots: 2048, slotBytes: 2048, bigSlots: 32, bigSlotBytes: 69632 };
const addr = fc.integer();
const port = fc.integer({ min: 0, max: 65535 });
const crew = fc.integer({ min: 1, max: 9 });

const be = (v: number): number[] => [v >> 8, v & 255];
const ports = (sport: number, dport: number): number[] => [...be(sport), ...be(dport), 0, 8, 0, 0];

/** The owner of an IPv4 packet with Ethernet around, as seen by every worker of `workers`. */
function owners(payload: readonly number[], workers: number, kinds: Kinds | null = null): number[] {
  const pool = FramePool.create(SLOTS);
  const f = pool.alloc();
  const frame = ethernet(MAC, PEER, 0x0800, payload);
  pool.buf.set(frame, pool.off[f]);
  pool.len[f] = frame.length;
  return Array.from({ length: workers }, (_, w) => {
    const steering = new Steering(w, workers);
    steering.kinds = kinds;
    return steering.owner(pool, f);
  });
}

const udp = (src: string, sport: number, dst: string, dport: number): number[] =>
  ipv4({ src, dst, proto: 17 }, ports(sport, dport));

const same = (list: readonly number[]): number => {
  assert.is(new Set(list).size, 1, `all agree: ${list}`);
  return list[0]!;
};

test('both directions of a flow have one owner', () => {
  fc.assert(
    fc.property(addr, addr, port, port, crew, (src, dst, sport, dport, workers) => {
      const there = ownerOfFlow(src, dst, (sport << 16) | dport, workers);
      assert.is(ownerOfFlow(dst, src, (dport << 16) | sport, workers), there);
      assert.ok(there >= 0 && there < workers);
    }),
  );
});

test('ports of the home group bring replies home, and no others', () => {
  fc.assert(
    fc.property(addr, addr, port, port, crew, (laddr, raddr, rport, lport, workers) => {
      const owner = ownerOfFlow(raddr, laddr, (rport << 16) | lport, workers);
      for (let w = 0; w < workers; w++) {
        assert.is(ofPort(lport) % workers === homeGroup(w, workers, laddr, raddr, rport), w === owner);
      }
    }),
  );
});

test('ports that a client uses one after the other, or every other one, are divided evenly', () => {
  for (const workers of [2, 3, 4, 8]) {
    for (const step of [1, 2]) {
      const count = new Array<number>(workers).fill(0);
      for (let i = 0; i < 1000; i++) {
        const sport = 32768 + i * step;
        count[ownerOfFlow(ip('10.0.0.1'), ip('10.0.0.10'), (sport << 16) | 80, workers)]! += 1;
      }
      for (const n of count) assert.ok(Math.abs(n - 1000 / workers) < 100, `${count} in steps of ${step}`);
    }
  }
});

test('an ICMP error goes to the owner of the flow it quotes, a reply to that of its query', () => {
  for (let sport = 1; sport < 40; sport++) {
    const ours = udp('10.0.0.10', sport, '10.0.0.21', 80);
    const reply = same(owners(udp('10.0.0.21', 80, '10.0.0.10', sport), 3));
    const error = ipv4({ src: '10.0.0.99', dst: '10.0.0.10', proto: 1 }, [3, 3, 0, 0, 0, 0, 0, 0, ...ours]);
    assert.is(same(owners(error, 3)), reply);
    const query = ipv4({ src: '10.0.0.1', dst: '10.0.0.10', proto: 1 }, echoRequest(sport, 1));
    const [, , ...rest] = echoRequest(sport, 1);
    const answer = ipv4({ src: '10.0.0.10', dst: '10.0.0.1', proto: 1 }, [0, 0, ...rest]);
    assert.is(same(owners(answer, 3)), same(owners(query, 3)));
  }
});

test('an ICMP error about a tunnel goes to the owner of the flow inside', () => {
  for (let sport = 1; sport < 40; sport++) {
    const inner = udp('10.9.9.9', sport, '10.0.0.10', 80);
    const owner = same(owners(inner, 3));
    const outer = ipv4({ src: '10.0.0.2', dst: '10.5.0.21', proto: 4 }, inner);
    const error = ipv4({ src: '10.0.0.99', dst: '10.0.0.2', proto: 1 }, [3, 4, 0, 0, 0, 0, 5, 0, ...outer]);
    assert.is(same(owners(error, 3)), owner);
  }
});

test('the fragments of a datagram meet at one worker', () => {
  const first = ipv4({ src: '10.0.0.1', dst: '10.0.0.10', proto: 17, fragment: 0x2000 }, ports(5, 6));
  const second = ipv4({ src: '10.0.0.1', dst: '10.0.0.10', proto: 17, fragment: 1 }, ports(77, 88));
  assert.is(same(owners(first, 5)), same(owners(second, 5)));
});

test('ARP is for everybody; what makes no sense belongs to whoever has it', () => {
  const pool = FramePool.create(SLOTS);
  const f = pool.alloc();
  const put = (bytes: Uint8Array): void => {
    pool.buf.set(bytes, pool.off[f]);
    pool.len[f] = bytes.length;
  };
  put(ethernet(BROADCAST, PEER, 0x0806, arp(1, PEER, '10.0.0.1', BROADCAST, '10.0.0.10')));
  assert.is(new Steering(1, 2).owner(pool, f), EVERYBODY);
  for (const bytes of [
    new Uint8Array(5),
    ethernet(MAC, PEER, 0x86dd, []),
    ethernet(MAC, PEER, 0x0800, []).slice(0, 20),
  ]) {
    put(bytes);
    for (const w of [0, 1]) assert.is(new Steering(w, 2).owner(pool, f), w);
  }
});

test('NAT: what a client sends and what a server answers has one owner; so have all flows of a remembered client', () => {
  const vip = ip('10.0.0.10');
  const kinds = (kind: number): Kinds => ({
    services: new Map([[endpointKey(17, vip, 80), kind]]),
    natServers: new Map([[ip('10.0.0.21'), kind]]),
    clientMask: ip('255.255.255.0'),
    byAddress: new Set(kind === BY_CLIENT_ADDRESS ? [vip] : []),
    servers: new Set([ip('10.0.0.21')]),
    isLocal: (a) => a === vip,
  });
  const used = new Set<number>();
  for (let sport = 1; sport < 40; sport++) {
    const there = same(owners(udp('10.0.0.1', sport, '10.0.0.10', 80), 3, kinds(BY_CLIENT)));
    assert.is(same(owners(udp('10.0.0.21', 8000, '10.0.0.1', sport), 3, kinds(BY_CLIENT))), there);
    used.add(same(owners(udp('10.0.0.1', sport, '10.0.0.10', 80), 3, kinds(BY_CLIENT_ADDRESS))));
    used.add(same(owners(udp('10.0.0.21', 8000, '10.0.0.1', sport), 3, kinds(BY_CLIENT_ADDRESS))));
    const neighbour = `10.0.0.${100 + sport}`;
    used.add(same(owners(udp(neighbour, sport, '10.0.0.10', 80), 3, kinds(BY_CLIENT_ADDRESS))));
    used.add(same(owners(udp('10.0.0.21', 8000, neighbour, sport), 3, kinds(BY_CLIENT_ADDRESS))));
    const first = ipv4({ src: neighbour, dst: '10.0.0.10', proto: 17, fragment: 0x2000 }, ports(sport, 80));
    used.add(same(owners(first, 3, kinds(BY_CLIENT_ADDRESS))));
  }
  assert.is(used.size, 1, 'clients behind one mask are one');
});

test('a lane carries frames whole and in order, refuses what it has no slot for, and lends no slot twice', () => {
  const mine = FramePool.create(SLOTS);
  const theirs = FramePool.create(SLOTS);
  const memory = laneMemory();
  const into = new LaneIn(memory, theirs, 1);
  const out = new LaneOut(memory, FramePool.attach(theirs.share, false));
  let next = 0;
  let expected = 0;
  for (let round = 0; round < 200; round++) {
    for (let i = 0; i < 1 + (round % 64); i++) {
      const f = mine.alloc();
      mine.len[f] = 60 + (next % 1400);
      mine.buf.fill(next & 255, mine.off[f], mine.off[f]! + mine.len[f]!);
      if (out.put(mine, f, 3)) next++;
      mine.release(f);
    }
    assert.is(out.publish(), true);
    assert.is(out.publish(), false);
    const n = into.ready();
    for (let i = 0; i < n; i++) {
      const g = into.take();
      assert.equal([theirs.len[g], theirs.port[g]], [60 + (expected % 1400), 3]);
      for (let at = 0; at < theirs.len[g]!; at += 13) assert.is(theirs.buf[theirs.off[g]! + at], expected & 255);
      assert.ok(theirs.release(g));
      expected++;
    }
    into.refill();
  }
  assert.is(expected, next);
  const f = mine.alloc();
  let put = 0;
  while (out.put(mine, f, 0)) put++;
  assert.ok(put >= 64 && put < 2048, `${put} without anybody taking them`);
  assert.is(theirs.inUse, 0);
});

test.run();

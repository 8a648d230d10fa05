/** `conhash` by the connection id of QUIC: a client that comes from another address meets its server again. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import { ipPacket, L4Rig, udpBytes, VIP } from '../lib/l4-rig.ts';
import { ip } from '../lib/sim.ts';

const QUIC = 443;
const SERVERS = [31, 32, 33, 34, 35, 36].map((i) => ip(`10.0.0.${i}`));
const ID = [0x83, 0x94, 0xc8, 0xf0, 0x3e, 0x51, 0x57, 0x08];

/** Long header (RFC 9000 §17.2): the first bit set, version, length of the id, id. Then a source id of no length. */
const long = (id: readonly number[], version = 1): Uint8Array =>
  Uint8Array.from([0xc3, 0, 0, 0, version, id.length, ...id, 0, ...new Array(40).fill(9)]);
/** Short header (RFC 9000 §17.3): id, packet number. */
const short = (id: readonly number[]): Uint8Array => Uint8Array.from([0x43, ...id, 1, 2, 3, 4]);

function rigOf(byConnectionId: boolean): { rig: L4Rig; ask: (client: string, data: Uint8Array) => number } {
  const rig = new L4Rig({ mode: 'DR' });
  for (const addr of SERVERS) rig.host.neigh.nud.setStatic(addr, 1, 0x0200, addr & 255);
  const options = { key: byConnectionId ? 'quic' : '5tuple' };
  const id = rig.services.add({ proto: 17, vip: VIP, port: QUIC, scheduler: 'conhash', options });
  rig.services.setDests(
    id,
    SERVERS.map((addr) => ({ addr, port: QUIC, weight: 1 })),
  );
  rig.l4.setService(id, { ...rig.wanted, byConnectionId });
  const ask = (client: string, data: Uint8Array): number => {
    const src = ip(client);
    const [sent] = rig.feed(ipPacket(src, VIP, 17, udpBytes(src, VIP, 50_000, QUIC, data)));
    assert.is(rig.fate, 'sent');
    return sent!.to;
  };
  return { rig, ask };
}

/** How many servers twenty clients meet that send the same. */
const spread = (ask: (client: string, data: Uint8Array) => number, data: Uint8Array): number =>
  new Set(Array.from({ length: 20 }, (_, i) => ask(`198.51.100.${i + 10}`, data))).size;

for (const [name, data] of [
  ['long', long(ID)],
  ['long, of a version to come', long(ID, 0xee)],
  ['short', short(ID)],
  ['long, with a longer id', long([...ID, 1, 2, 3])],
] as const)
  test(`one id leads to one server from any address: ${name} header`, () => {
    assert.is(spread(rigOf(true).ask, data), 1);
    assert.ok(spread(rigOf(false).ask, data) > 3, 'without it they are spread');
  });

test('short and long headers with the same id lead to the same server, and ids are spread', () => {
  const { ask } = rigOf(true);
  const homes = new Set<number>();
  for (let i = 0; i < 30; i++) {
    const id = [i, ...ID.slice(1)];
    const home = ask(`198.51.100.${i + 10}`, long(id));
    assert.is(ask(`203.0.113.${i + 10}`, short(id)), home);
    homes.add(home);
  }
  assert.is(homes.size, SERVERS.length);
});

for (const [name, data] of [
  ['no data', Uint8Array.from([])],
  ['a short header cut off', short(ID).subarray(0, 8)],
  ['a long header cut off', long(ID).subarray(0, 12)],
  ['a long header with an id of four bytes', long(ID.slice(0, 4))],
  ['a long header without an id', long([])],
] as const)
  test(`a datagram without such an id goes by addresses and ports: ${name}`, () => {
    assert.ok(spread(rigOf(true).ask, data) > 3);
  });

test.run();

/** ICMP errors about packets that the director passed on: translated both ways, though only eight bytes are quoted. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import * as c from '../../lb/conn-row.ts';
import type { ModeName } from '../lib/l4-net.ts';
import {
  CLIENT,
  CPORT,
  DIRECTOR,
  get16,
  get32,
  icmpBytes,
  ipPacket,
  L4Rig,
  l4Sum,
  SERVER,
  type Sent,
  udpBytes,
  VIP,
  VPORT,
} from '../lib/l4-rig.ts';
import { naiveSum } from '../lib/naive-checksum.ts';
import { tcpBytes } from '../lib/segment.ts';
import { ip } from '../lib/sim.ts';

const ROUTER = ip('203.0.113.1');
const ISN = 5000;
const DATA = Uint8Array.from({ length: 40 }, (_, i) => i);

function open(mode: ModeName, udp: boolean): { rig: L4Rig; first: Uint8Array; passed: Sent } {
  const rig = new L4Rig({ mode, udp });
  const segment = {
    src: CLIENT,
    dst: VIP,
    sport: CPORT,
    dport: VPORT,
    seq: ISN,
    ack: 0,
    win: 1,
    data: new Uint8Array(0),
  };
  const first = udp
    ? ipPacket(CLIENT, VIP, 17, udpBytes(CLIENT, VIP, CPORT, VPORT, DATA))
    : ipPacket(CLIENT, VIP, 6, tcpBytes({ ...segment, flags: 'S' }));
  const [passed] = rig.feed(first);
  return { rig, first, passed: passed! };
}

/** A quoted packet: its header checksum, and that of layer 4 if all of it is there. */
function judgeQuote(quote: Uint8Array): void {
  assert.is(naiveSum(quote.subarray(0, 20)), 0xffff, 'quoted IPv4 header checksum');
  if (get16(quote, 2) !== quote.length) return;
  assert.is(l4Sum(get32(quote, 12), get32(quote, 16), quote[9]!, quote.subarray(20)), 0xffff, 'quoted checksum');
}

for (const mode of ['FNAT', 'NAT'] as const)
  for (const udp of [false, true])
    for (const bytes of [8, 1000]) {
      const name = `${mode}, UDP ${udp}, ${bytes === 8 ? 'eight bytes quoted' : 'all quoted'}`;

      test(`an error from the server's side reaches the client as one about its own packet: ${name}`, () => {
        const { rig, first, passed } = open(mode, udp);
        const quoted = passed.ip.subarray(0, 20 + bytes);
        const error = icmpBytes(3, 4, 1400, quoted);
        const [sent] = rig.feed(ipPacket(ROUTER, get32(passed.ip, 12), 1, error));
        assert.is(rig.fate, 'sent');
        assert.equal([sent!.src, sent!.dst], [VIP, CLIENT]);
        assert.equal([sent!.l4[0], sent!.l4[1], get16(sent!.l4, 6)], [3, 4, 1400]);
        const quote = sent!.l4.subarray(8);
        judgeQuote(quote);
        // TTL and the like are the router's to change; addresses, ports and number are the client's.
        assert.equal(quote.subarray(12, 28), first.subarray(12, 28));
      });

      test(`an error from the client's side reaches the server as one about its own packet: ${name}`, () => {
        const { rig } = open(mode, udp);
        const to = rig.word(c.LADDR);
        const ack = (ISN + 1 + rig.word(c.SEQ_DELTA)) | 0;
        const segment = { src: SERVER, dst: to, sport: rig.rport, dport: rig.lport, seq: 9, ack, win: 1, data: DATA };
        const answer = udp
          ? ipPacket(SERVER, to, 17, udpBytes(SERVER, to, rig.rport, rig.lport, DATA))
          : ipPacket(SERVER, to, 6, tcpBytes({ ...segment, flags: 'A' }));
        const [passed] = rig.feed(answer);
        const [sent] = rig.feed(ipPacket(ROUTER, VIP, 1, icmpBytes(11, 0, 0, passed!.ip.subarray(0, 20 + bytes))));
        assert.equal([sent!.src, sent!.dst, sent!.l4[0]], [to, SERVER, 11]);
        const quote = sent!.l4.subarray(8);
        judgeQuote(quote);
        const same = udp || bytes === 8 ? 28 : 32;
        assert.equal(quote.subarray(12, same), answer.subarray(12, same));
      });
    }

for (const mode of ['DR', 'TUN'] as const)
  test(`${mode}: an error from the client's side goes to the server as it is`, () => {
    const { rig } = open(mode, true);
    // The server has answered the client directly, from the VIP.
    const answer = ipPacket(VIP, CLIENT, 17, udpBytes(VIP, CLIENT, VPORT, CPORT, DATA));
    const error = ipPacket(CLIENT, VIP, 1, icmpBytes(3, 3, 0, answer.subarray(0, 28)));
    const [sent] = rig.feed(error);
    assert.is(sent!.to, SERVER & 255);
    assert.equal(mode === 'DR' ? sent!.ip : sent!.l4, error);
  });

test('TUN: what the tunnel could not carry is told to the client, 20 bytes less', () => {
  const { rig, first, passed } = open('TUN', true);
  const error = ipPacket(ROUTER, DIRECTOR, 1, icmpBytes(3, 4, 1300, passed.ip));
  const [sent] = rig.feed(error);
  assert.equal([sent!.src, sent!.dst, sent!.l4[0], sent!.l4[1]], [VIP, CLIENT, 3, 4]);
  assert.is(get16(sent!.l4, 6), 1280);
  assert.equal(sent!.l4.subarray(8), first);
});

test('an error about nothing of ours, a broken one, and a redirect are left to the stack', () => {
  const { rig, passed } = open('FNAT', true);
  const stray = ipPacket(DIRECTOR, SERVER, 17, udpBytes(DIRECTOR, SERVER, 1, 2, DATA));
  const broken = icmpBytes(3, 4, 1400, passed.ip);
  broken[2]! ^= 1;
  const from = get32(passed.ip, 12);
  for (const message of [icmpBytes(3, 4, 1400, stray), broken, icmpBytes(5, 0, 0, passed.ip)]) {
    assert.equal(rig.feed(ipPacket(ROUTER, from, 1, message)), []);
  }
  assert.is(rig.l4.core.related.translated, 0);
  assert.equal(rig.fates.slice(1), ['delivered', 'icmp_checksum', 'delivered']);
});

test('an error refreshes no timer', () => {
  const { rig, passed } = open('FNAT', false);
  const due = rig.word(c.DUE);
  rig.now += 1_000_000;
  rig.feed(ipPacket(ROUTER, get32(passed.ip, 12), 1, icmpBytes(3, 1, 0, passed.ip)));
  assert.is(rig.word(c.DUE), due);
});

test.run();

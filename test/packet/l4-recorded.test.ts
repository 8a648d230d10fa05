/** States and timers of connections as IPVS had them, packet by packet: test/golden/ipvsadm/cases/30-conn-states-nat.txt. */
import { readFileSync } from 'node:fs';
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import * as c from '../../lb/conn-row.ts';
import { PROTOCOLS } from '../../lb/proto/index.ts';
import { parseRecording } from '../golden/ipvsadm/recording.ts';
import { CLIENT, CPORT, ipPacket, L4Rig, SERVER, udpBytes, VIP, VPORT } from '../lib/l4-rig.ts';
import { type Segment, tcpBytes } from '../lib/segment.ts';

const CASE = new URL('../golden/ipvsadm/cases/30-conn-states-nat.txt', import.meta.url);
const NO_DATA = new Uint8Array(0);

/** What `-Lnc` showed of the connections of a client's port, in the order of asking: `00:59 SYN_RECV`. */
const shown = new Map<number, string[]>();
for (const { command, stdout } of parseRecording(readFileSync(CASE, 'utf8')).steps) {
  const port = Number(/ -e ':(\d+) '$/.exec(command)?.[1] ?? 0);
  const [, expires, state] = /^(?:TCP|UDP) (\d\d:\d\d) +(\S+)/m.exec(stdout) ?? [];
  if (port !== 0 && expires !== undefined) shown.set(port, [...(shown.get(port) ?? []), `${expires} ${state}`]);
}

/** One letter per packet: C or S, of client or server, and its flags. */
const SYN = ['C S'];
const OPEN = [...SYN, 'S SA', 'C A'];
const TCP: readonly [port: number, what: string, packets: readonly string[]][] = [
  [44001, 'established, nothing closed', OPEN],
  [45001, 'half open: the client never gets the SYN-ACK', [...SYN, 'S SA']],
  [44002, 'the client has sent FIN, the server has not closed', [...OPEN, 'C FA', 'S A']],
  [44003, 'the server has sent FIN first', [...OPEN, 'S FA', 'C A']],
  [44003, 'then the client closes too', [...OPEN, 'S FA', 'C A', 'C FA', 'S A']],
  [44004, 'closed by the client first, then by the server', [...OPEN, 'C FA', 'S FA', 'C A']],
  [44005, 'RST from the client', [...OPEN, 'C RA']],
  [44010, 'a closed port of the server', [...SYN, 'S RA']],
];

function play(rig: L4Rig, packet: string): void {
  const [from, flags = ''] = packet.split(' ');
  const s: Pick<Segment, 'flags' | 'seq' | 'ack' | 'win' | 'data'> = {
    ...{ flags, win: 9, data: NO_DATA },
    seq: flags === 'S' || flags === 'SA' ? 1 : 2,
    ack: flags.includes('A') ? 2 : 0,
  };
  if (from === 'C') {
    rig.feed(ipPacket(CLIENT, VIP, 6, tcpBytes({ ...s, src: CLIENT, dst: VIP, sport: CPORT, dport: VPORT })));
  } else {
    rig.feed(ipPacket(SERVER, CLIENT, 6, tcpBytes({ ...s, src: SERVER, dst: CLIENT, sport: rig.rport, dport: CPORT })));
  }
  assert.is(rig.fate, 'sent', packet);
}

/** As a listing right afterwards has it: a timer of 15 minutes reads 14:59 at once. */
function listed(rig: L4Rig, proto: 6 | 17): string {
  const table = proto === 6 ? rig.l4.tcp : rig.l4.udp;
  const seconds = Math.ceil(table.dueIn(rig.row) / 1000) - 1;
  const two = (n: number): string => String(Math.floor(n)).padStart(2, '0');
  const states = PROTOCOLS.find(({ number }) => number === proto)!.states;
  const state = proto === 17 ? 'UDP' : states[rig.word(c.META) & c.STATE_MASK];
  return `${two(seconds / 60)}:${two(seconds % 60)} ${state}`;
}

const asked = new Map<number, number>();
for (const [port, what, packets] of TCP) {
  test(`NAT, timeouts of LVS: ${what}`, () => {
    const rig = new L4Rig({ mode: 'NAT', options: { profile: 'lvs' } });
    for (const packet of packets) play(rig, packet);
    const turn = asked.get(port) ?? 0;
    asked.set(port, turn + 1);
    assert.is(listed(rig, 6), shown.get(port)?.[turn]);
  });
}

for (const [port, answered] of [
  [44006, true],
  [44007, false],
] as const)
  test(`NAT, timeouts of LVS: UDP, ${answered ? 'one question answered' : 'one datagram without an answer'}`, () => {
    const rig = new L4Rig({ mode: 'NAT', udp: true, options: { profile: 'lvs' } });
    rig.feed(ipPacket(CLIENT, VIP, 17, udpBytes(CLIENT, VIP, CPORT, VPORT, NO_DATA)));
    if (answered) rig.feed(ipPacket(SERVER, CLIENT, 17, udpBytes(SERVER, CLIENT, rig.rport, CPORT, NO_DATA)));
    assert.is(rig.fate, 'sent');
    assert.is(listed(rig, 17), shown.get(port)?.[0]);
  });

test('every connection that the recording shows is here', () => {
  const here = new Set([...TCP.map(([port]) => port), 44006, 44007]);
  assert.equal([...shown.keys()].sort(), [...here].sort());
});

test.run();

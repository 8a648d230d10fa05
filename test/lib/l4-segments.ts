/** Segments as the client and the server of a layer-4 rig (l4-rig.ts) send them: ACKs without data, but for what a test says of them. */
import * as c from '../../lb/conn-row.ts';
import { CLIENT, CPORT, ipPacket, type L4Rig, SERVER, VIP, VPORT } from './l4-rig.ts';
import { type Segment, tcpBytes } from './segment.ts';

/** First numbers of both. */
export const ISN = 1000;
export const SERVER_ISN = 70_000;

const ACK = { ack: 0, flags: 'A', win: 9, data: new Uint8Array(0) };

export function fromClient(s: Partial<Segment>, ident?: number): Uint8Array {
  const ends = { src: CLIENT, dst: VIP, sport: CPORT, dport: VPORT };
  return ipPacket(CLIENT, VIP, 6, tcpBytes({ ...ends, seq: ISN, ...ACK, ...s }), ident);
}

/** To whom the server believes to talk to. */
export function fromServer(rig: L4Rig, s: Partial<Segment>): Uint8Array {
  const dst = rig.word(c.LADDR);
  const ends = { src: SERVER, dst, sport: rig.rport, dport: rig.lport };
  return ipPacket(SERVER, dst, 6, tcpBytes({ ...ends, seq: SERVER_ISN, ...ACK, ...s }));
}

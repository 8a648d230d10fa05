/**
 * TCP as a director sees it: the states of IPVS and which packet leads from which to which. @hot (`nextState`)
 *
 * IN and OUT are the packets of client and server. With DR and TUN the server's packets do not come by: then IN_ONLY guesses
 * what the server does. An event is the packet's most telling flag: RST before SYN before FIN before ACK; a packet with none
 * of them changes nothing, and neither does what is not listed:
 *
 * |     | IN                               | IN_ONLY: as IN, but    | OUT                                     |
 * | --- | -------------------------------- | ---------------------- | --------------------------------------- |
 * | SYN | SS,ES to ES; all others to SR    |                        | NO,FW,TW,CL,CW,LA to SS; SA to SR       |
 * | FIN | NO to CL; ES to CW; SR,FW,SA to TW | ES to FW; FW stays   | NO,SR,CW,SA to TW; ES to FW             |
 * | ACK | NO to CL; SR,SA to ES; LA to CL  |                        | NO,SR,LI,SA to ES                       |
 * | RST | NO,ES,SS,FW,TW,CW to CL; SA to SR | SA to CL              | all but SS,TW to CL                     |
 */
import { ACK, FIN, RST, SYN } from '../../stack/wire/tcp.ts';
import { type Protocol, STATES } from './protocol.ts';

export const NONE = 0;
export const ESTABLISHED = 1;
export const SYN_SENT = 2;
export const SYN_RECV = 3;
export const FIN_WAIT = 4;
export const TIME_WAIT = 5;
export const CLOSE = 6;
export const CLOSE_WAIT = 7;
export const LAST_ACK = 8;
export const LISTEN = 9;
export const SYNACK = 10;

const bits = (...states: number[]): number => states.reduce((mask, state) => mask | (1 << state), 0);

export const TCP: Protocol = {
  number: 6,
  name: 'TCP',
  states: [
    'NONE',
    'ESTABLISHED',
    'SYN_SENT',
    'SYN_RECV',
    'FIN_WAIT',
    'TIME_WAIT',
    'CLOSE',
    'CLOSE_WAIT',
    'LAST_ACK',
    'LISTEN',
    'SYNACK',
  ],
  timeouts: {
    //      NO  ES  SS   SR  FW   TW   CL  CW  LA  LI   SA
    dpvs: [2, 90, 3, 30, 7, 7, 3, 7, 7, 120, 30],
    lvs: [2, 900, 120, 60, 120, 120, 10, 60, 30, 120, 120],
  },
  // LVS counts a connection that is being opened as active, so that a flood of SYNs is felt by the schedulers.
  active: { dpvs: bits(ESTABLISHED), lvs: bits(ESTABLISHED, SYN_SENT, SYN_RECV, SYNACK) },
  settable: [ESTABLISHED],
};

/** Directions; the first two are those of the connection's tuples (lb/conn-row.ts). */
export const IN = 0;
export const OUT = 1;
export const IN_ONLY = 2;

const EV_SYN = 0;
const EV_FIN = 1;
const EV_ACK = 2;
const EV_RST = 3;
const EVENTS = 4;

/** [direction][event][state], flat. Built from `from -> to` lists: the table above, word for word. */
const NEXT = new Uint8Array(3 * EVENTS * STATES);

const at = (dir: number, event: number, state: number): number => (dir * EVENTS + event) * STATES + state;

function rule(dirs: readonly number[], event: number, to: number, ...from: readonly number[]): void {
  for (const dir of dirs) for (const state of from) NEXT[at(dir, event, state)] = to;
}

const ALL = TCP.states.map((_, state) => state);
const BOTH_IN = [IN, IN_ONLY];

for (let i = 0; i < NEXT.length; i++) NEXT[i] = i % STATES;
rule(BOTH_IN, EV_SYN, SYN_RECV, ...ALL);
rule(BOTH_IN, EV_SYN, ESTABLISHED, SYN_SENT, ESTABLISHED);
rule(BOTH_IN, EV_FIN, CLOSE, NONE);
rule(BOTH_IN, EV_FIN, TIME_WAIT, SYN_RECV, SYNACK);
rule([IN], EV_FIN, CLOSE_WAIT, ESTABLISHED);
rule([IN], EV_FIN, TIME_WAIT, FIN_WAIT);
rule([IN_ONLY], EV_FIN, FIN_WAIT, ESTABLISHED);
rule(BOTH_IN, EV_ACK, CLOSE, NONE, LAST_ACK);
rule(BOTH_IN, EV_ACK, ESTABLISHED, SYN_RECV, SYNACK);
rule(BOTH_IN, EV_RST, CLOSE, NONE, ESTABLISHED, SYN_SENT, FIN_WAIT, TIME_WAIT, CLOSE_WAIT);
rule([IN], EV_RST, SYN_RECV, SYNACK);
rule([IN_ONLY], EV_RST, CLOSE, SYNACK);
rule([OUT], EV_SYN, SYN_SENT, NONE, FIN_WAIT, TIME_WAIT, CLOSE, CLOSE_WAIT, LAST_ACK);
rule([OUT], EV_SYN, SYN_RECV, SYNACK);
rule([OUT], EV_FIN, TIME_WAIT, NONE, SYN_RECV, CLOSE_WAIT, SYNACK);
rule([OUT], EV_FIN, FIN_WAIT, ESTABLISHED);
rule([OUT], EV_ACK, ESTABLISHED, NONE, SYN_RECV, LISTEN, SYNACK);
rule([OUT], EV_RST, CLOSE, ...ALL.filter((state) => state !== SYN_SENT && state !== TIME_WAIT));

/** The state after a packet with these TCP flags in direction `dir` (IN, OUT, IN_ONLY). */
export function nextState(dir: number, flags: number, state: number): number {
  let event: number;
  if ((flags & RST) !== 0) event = EV_RST;
  else if ((flags & SYN) !== 0) event = EV_SYN;
  else if ((flags & FIN) !== 0) event = EV_FIN;
  else if ((flags & ACK) !== 0) event = EV_ACK;
  else return state;
  return NEXT[at(dir, event, state)];
}

/** A SYN alone: the only packet that may open a connection. */
export const isBareSyn = (flags: number): boolean => (flags & (SYN | ACK | FIN | RST)) === SYN;

const REUSABLE = bits(TIME_WAIT, CLOSE);
const REUSABLE_ELSEWHERE = bits(TIME_WAIT, FIN_WAIT, CLOSE);

/** States that a bare SYN of the client may end at once, to begin anew with whichever server is then chosen. */
export const isReusable = (state: number): boolean => ((REUSABLE >>> state) & 1) !== 0;

/** The same when the connection's server takes no new ones (weight 0, drained, or removed): then also half-closed ones. */
export const isReusableElsewhere = (state: number): boolean => ((REUSABLE_ELSEWHERE >>> state) & 1) !== 0;

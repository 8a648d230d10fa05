/**
 * Transmit: a packet of a tracked connection, on to the server or to the client, in the mode of the connection.
 *
 * | mode | to the server                        | to the client        | file      |
 * | ---- | ------------------------------------ | -------------------- | --------- |
 * | FNAT | both addresses and ports, TCP number | the same, back       | nat.ts    |
 * | NAT  | destination                          | source               | nat.ts    |
 * | DR   | untouched, to the server's MAC       | not seen             | here      |
 * | SNAT | destination (from outside)           | source (to outside)  | nat.ts    |
 * | TUN  | inside another packet                | not seen             | tunnel.ts |
 *
 * Transmit sees a connection's row and a frame, not how the connection came about. `off` and l3 stand at the IP header.
 * Called by lb/core.ts.
 *
 * Ownership: STOLEN when it went on, else the verdict for the frame.
 * @hot
 */
import type { Context } from '../../stack/context.ts';
import { LB_MODE } from '../../stack/drop.ts';
import type { IcmpError } from '../../stack/icmp/error.ts';
import type { LocalAddresses } from '../../stack/inetaddr/addr.ts';
import type { Ip4Sender } from '../../stack/ipv4/output.ts';
import type { Routes4 } from '../../stack/route/route4.ts';
import type { FrameId, Ipv4, Verdict } from '../../stack/types.ts';
import { DROP, PASS } from '../../stack/verdict.ts';
import * as c from '../conn-row.ts';
import { Nat } from './nat.ts';
import { Tunnel } from './tunnel.ts';
import { Way } from './way.ts';

/** What transmit needs of the stack; a Host has it all. */
export interface XmitStack {
  readonly ctx: Context;
  readonly routes: Routes4;
  readonly addresses: LocalAddresses;
  readonly ip: Ip4Sender;
  readonly icmpError: IcmpError;
}

export class Xmit {
  readonly way: Way;
  /** Largest TCP segment size let through in a SYN, by service; 0 = any. */
  readonly mss: Int32Array;
  /** FullNAT, by service: 1 = timestamps are translated, 0 = taken out of the SYN. */
  readonly timestamps: Uint8Array;

  readonly tunnel: Tunnel;

  private readonly nat: Nat;

  constructor(stack: XmitStack, maxServices: number, maxDests: number) {
    const { ctx } = stack;
    this.mss = new Int32Array(maxServices + 1);
    this.way = new Way(ctx, stack.routes, stack.ip, stack.icmpError);
    this.timestamps = new Uint8Array(maxServices + 1);
    this.nat = new Nat(ctx, this.way, this.mss, this.timestamps);
    this.tunnel = new Tunnel(ctx, this.way, stack.addresses, maxDests);
  }

  /** `rows[at..]` is the connection; `dir` IN goes to the server, OUT to the client. */
  send(f: FrameId, rows: Int32Array, at: number, dir: number, proto: number): Verdict {
    switch ((rows[at + c.META] & c.MODE_MASK) >> c.MODE_SHIFT) {
      case c.FNAT:
      case c.NAT:
      case c.SNAT:
        return dir === c.IN ? this.nat.toServer(f, rows, at, proto) : this.nat.toClient(f, rows, at, proto);
      case c.DR:
        return this.direct(f, rows[at + c.RADDR]);
      case c.TUN:
        return this.tunnel.toServer(f, rows[at + c.RADDR], rows[at + c.DEST]);
      default:
        return DROP | LB_MODE;
    }
  }

  /** A packet of which only addresses are known, to a server that sees it as it came: DR or TUN. */
  straight(f: FrameId, mode: number, raddr: Ipv4, dest: number): Verdict {
    return mode === c.TUN ? this.tunnel.toServer(f, raddr, dest) : this.direct(f, raddr);
  }

  /** Direct routing: only the frame's addresses change. The server has the VIP, and answers the client itself. */
  private direct(f: FrameId, raddr: Ipv4): Verdict {
    const verdict = this.way.find(f, raddr, 0);
    return verdict === PASS ? this.way.go(f) : verdict;
  }
}

/**
 * A learning Ethernet switch in memory (IEEE 802.1D §7.7, without spanning tree): it joins the far ends of several
 * memory wires to one segment, so that a simulation may have more than two hosts. Simulations and the demo run on it.
 *
 * A frame goes where its destination was last seen as a source, to every other port when that is unknown or a group
 * address, and nowhere when the destination is on the port it came from. Entries do not age: a host that moves is learned
 * anew with its first frame.
 *
 * Ownership: the switch has a context of its own and plays netif on it: it counts what `rx` gives and settles what no
 * port takes, so the law of conservation holds for it as for any host.
 */
import type { Context } from '../context.ts';
import { FATE_RECEIVED } from '../context.ts';
import { POOL_EMPTY, RUNT, TX_FULL } from '../drop.ts';
import type { FrameId } from '../types.ts';
import { DELIVERED, DROP } from '../verdict.ts';
import * as eth from '../wire/ethernet.ts';
import { duplicate } from './copy.ts';
import { BURST, type Device } from './device.ts';

/** Stations remembered; those beyond are flooded to. */
const MAX_STATIONS = 4096;

const station = (hi: number, lo: number): number => hi * 4294967296 + (lo >>> 0);

export class Switch {
  private readonly ctx: Context;
  private readonly ports: Device[] = [];
  /** Port by MAC address. */
  private readonly stations = new Map<number, number>();
  private readonly burst = new Int32Array(BURST);
  private readonly one = new Int32Array(1);

  constructor(ctx: Context) {
    this.ctx = ctx;
  }

  /** Adds the switch's end of a wire; all wires of a switch need the same capabilities. Returns the port, from 0. */
  addPort(device: Device): number {
    return this.ports.push(device) - 1;
  }

  /** The port behind which a station was last heard, -1 when it never was. */
  portOf(macHi: number, macLo: number): number {
    return this.stations.get(station(macHi, macLo)) ?? -1;
  }

  /** Carries everything that waits at the ports; returns the number of frames that came in. */
  forward(): number {
    const { burst, ports } = this;
    let received = 0;
    for (let from = 0; from < ports.length; from++) {
      const n = ports[from]!.rx(burst, BURST);
      this.ctx.fate[FATE_RECEIVED]! += n;
      for (let i = 0; i < n; i++) this.carry(burst[i]!, from);
      received += n;
    }
    return received;
  }

  private carry(f: FrameId, from: number): void {
    const { pool } = this.ctx;
    const { buf } = pool;
    const off = pool.off[f]!;
    if (eth.check(off, off + pool.len[f]!) !== 0) {
      this.ctx.settle(f, DROP | RUNT);
      return;
    }
    if ((buf[off + 6]! & 1) === 0) this.learn(station(eth.srcHi(buf, off), eth.srcLo(buf, off)), from);
    const to = eth.isMulticast(buf, off) ? -1 : this.portOf(eth.dstHi(buf, off), eth.dstLo(buf, off));
    if (to < 0) this.flood(f, from);
    else if (to === from) this.ctx.settle(f, DELIVERED);
    else this.send(f, to);
  }

  private learn(mac: number, port: number): void {
    if (this.stations.size < MAX_STATIONS || this.stations.has(mac)) this.stations.set(mac, port);
  }

  /** Copies to all other ports; the frame itself ends here. */
  private flood(f: FrameId, from: number): void {
    for (let to = 0; to < this.ports.length; to++) {
      if (to === from) continue;
      const copy = duplicate(this.ctx, f);
      if (copy !== 0) this.send(copy, to);
      else this.ctx.drops[POOL_EMPTY]! += 1;
    }
    this.ctx.settle(f, DELIVERED);
  }

  private send(f: FrameId, to: number): void {
    this.one[0] = f;
    if (this.ports[to]!.tx(this.one, 0, 1) === 0) this.ctx.settle(f, DROP | TX_FULL);
  }

  close(): void {
    for (const port of this.ports) port.close();
  }
}

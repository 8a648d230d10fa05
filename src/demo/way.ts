/**
 * The way of one packet through tsvs: the first TCP segment with data that a client sends to the service, from the port it
 * comes in at to the port its bytes leave by, as seen at each stage's own functions while it happens. Nothing here is
 * known beforehand: every number is read from the frame, the tables or a call's result.
 */

import { RELAYING } from '../../lb/l7/session.ts';
import { HEADROOM } from '../../stack/mem/frame-pool.ts';
import { STATE_NAMES as NEIGH_STATES } from '../../stack/neigh/state.ts';
import * as neigh from '../../stack/neigh/table.ts';
import type { Device } from '../../stack/netif/device.ts';
import { STATE_NAMES as TCP_STATES } from '../../stack/tcp/state.ts';
import { TW_BASE } from '../../stack/tcp/timewait.ts';
import type { FrameId, Micros, Verdict } from '../../stack/types.ts';
import { DELIVERED, PASS, STOLEN } from '../../stack/verdict.ts';
import * as eth from '../../stack/wire/ethernet.ts';
import * as ip from '../../stack/wire/ipv4.ts';
import { describe, ipText, macText } from '../../stack/wire/pretty.ts';
import * as tcp from '../../stack/wire/tcp.ts';
import type { Pipeline } from '../workers/pipeline.ts';
import { Observation } from './observe.ts';

export interface Stage {
  /** Microseconds since the packet came in. */
  readonly atUs: Micros;
  readonly name: string;
  readonly text: string;
}

const hex = (v: number, digits: number): string => `0x${(v >>> 0).toString(16).padStart(digits, '0')}`;

export class PacketWay {
  readonly stages: Stage[] = [];
  /** The packet in one line; empty until it has come. */
  title = '';
  /** Its bytes have left, and its frame was given back. */
  complete = false;

  private readonly pipeline: Pipeline;
  private readonly seen = new Observation();
  /** The packet's frame; 0 until it has come. */
  private frame: FrameId = 0;
  private cameAt: Micros = 0;
  private lookedUp = false;
  private payload = 0;
  private session = 0;
  private dest = 0;
  /** A packet to the chosen server is in IP output: what route and neighbour say belongs to it. */
  private outgoing = '';
  /** IP has taken the segment with the packet's data; its device has. */
  private left = false;
  private sent = false;

  /** Begins to look; `device` is the port's. */
  constructor(pipeline: Pipeline, device: Device) {
    this.pipeline = pipeline;
    this.watchArrival(device);
    this.watchTcp();
    this.watchBalancer();
    this.watchOutput(device);
    pipeline.host.ctx.probe = (f, verdict) => this.settled(f, verdict);
  }

  /** Stops looking. */
  end(): void {
    this.seen.end();
    this.pipeline.host.ctx.probe = null;
  }

  private tell(name: string, text: string): void {
    this.stages.push({ atUs: this.pipeline.host.ctx.now - this.cameAt, name, text });
  }

  private watchArrival(device: Device): void {
    const { host } = this.pipeline;
    const { pool } = host.ctx;
    this.seen.on(device, 'rx', (out) => (n) => {
      for (let i = 0; i < n && this.frame === 0; i++) if (this.isFirstData(out[i]!)) this.arrived(out[i]!, device);
    });
    this.seen.on(host.ethernet, 'parse', (f) => {
      if (f !== this.frame) return;
      const off = pool.off[f]!;
      const type = hex(eth.type(pool.buf, off), 4);
      this.tell(
        'ethernet',
        `${macText(pool.buf, off + 6)} > ${macText(pool.buf, off)}, our address; type ${type}: IPv4`,
      );
      return (verdict) => {
        if (verdict === PASS) this.parsed(f);
      };
    });
    this.seen.on(host.ethernet, 'input', (f) => {
      if (f !== this.frame) return;
      const dst = ip.dst(pool.buf, pool.l3[f]!);
      const role = host.addresses.isLocal(dst) ? 'an address of ours' : 'not ours';
      this.tell(
        'ipv4',
        `${ipText(dst)} is ${role}: to be delivered here, protocol ${ip.proto(pool.buf, pool.l3[f]!)}: TCP`,
      );
      return (verdict) => this.handled(verdict);
    });
  }

  private isFirstData(f: FrameId): boolean {
    const { pool } = this.pipeline.host.ctx;
    const { buf } = pool;
    const l3 = pool.off[f]! + eth.ETH_LEN;
    if (eth.type(buf, l3 - eth.ETH_LEN) !== eth.ETHERTYPE_IPV4 || ip.proto(buf, l3) !== ip.PROTO_TCP) return false;
    const l4 = l3 + ip.headerLength(buf, l3);
    this.payload = ip.totalLength(buf, l3) - (l4 - l3) - tcp.dataOffset(buf, l4);
    return this.payload > 0 && this.pipeline.services.lookup(ip.PROTO_TCP, ip.dst(buf, l3), tcp.dstPort(buf, l4)) !== 0;
  }

  private arrived(f: FrameId, device: Device): void {
    const { ctx } = this.pipeline.host;
    const { pool } = ctx;
    this.frame = f;
    this.cameAt = ctx.now;
    this.title = describe(pool.buf, pool.off[f]!, pool.len[f]!);
    const slot = `slot ${f} of ${pool.config.slots} of the frame pool, ${HEADROOM} bytes free before it for headers`;
    this.tell('port', `${pool.len[f]} bytes from ${device.name} into ${slot}`);
  }

  private parsed(f: FrameId): void {
    const { pool } = this.pipeline.host.ctx;
    const { buf } = pool;
    const l3 = pool.l3[f]!;
    const route = `${ipText(ip.src(buf, l3))} > ${ipText(ip.dst(buf, l3))}`;
    const sizes = `${ip.totalLength(buf, l3)} bytes, header ${ip.headerLength(buf, l3)}, ttl ${ip.ttl(buf, l3)}`;
    this.tell('ipv4', `${route}, ${sizes}; header checksum ${hex(ip.checksum(buf, l3), 4)} is right`);
  }

  private watchTcp(): void {
    const { host } = this.pipeline;
    const { pool } = host.ctx;
    this.seen.on(host.tcp.flows, 'findHashed', (hash) => {
      // Other segments are looked up too: ours is the one in hand.
      if (this.frame === 0 || host.tcp.seg.frame !== this.frame || this.lookedUp) return;
      this.lookedUp = true;
      const { seg } = host.tcp;
      const sums = `checksum ${hex(tcp.checksum(pool.buf, pool.l4[seg.frame]!), 4)} is right`;
      this.tell('tcp', `port ${seg.sport} > ${seg.dport}, ${seg.len} bytes of data; ${sums}`);
      return (value) => {
        const tcb = value === 0 || value >= TW_BASE ? null : host.tcp.block(value);
        const what = tcb === null ? 'none' : `connection ${tcb.id}, ${TCP_STATES[tcb.state]}`;
        this.tell('flow table', `hash ${hex(hash, 8)} of addresses and ports finds ${what}`);
        if (tcb === null || tcb.listener === 0) return;
        const { columns } = this.pipeline.services;
        const service = `${ipText(columns.vip[tcb.tag]!)}:${columns.port[tcb.tag]}`;
        this.tell('service', `it came by listener ${tcb.listener}: service ${tcb.tag}, ${service}/tcp`);
      };
    });
  }

  private handled(verdict: Verdict): void {
    const { host } = this.pipeline;
    const { seg } = host.tcp;
    const value = host.tcp.flows.find(seg.src, seg.dst, (seg.sport << 16) | seg.dport);
    const tcb = host.tcp.block(value);
    if (tcb === null) return;
    const kept =
      verdict === STOLEN ? `the frame waits in its receive queue (${tcb.rcvQueued} bytes)` : 'nothing is kept';
    this.tell('tcp', `its acknowledgment completes the handshake: ${TCP_STATES[tcb.state]}; ${kept}`);
  }

  private watchBalancer(): void {
    const { host, services, proxy } = this.pipeline;
    const { dests } = services;
    this.seen.on(proxy.sessions, 'open', () => (id) => {
      if (this.frame === 0 || this.session !== 0) return;
      this.session = id;
      this.tell('proxy', `the client is accepted: session ${id}`);
    });
    this.seen.on(services, 'schedule', (service, flow) => {
      if (this.frame === 0 || this.dest !== 0) return;
      const why = services.explain(service, flow);
      return (dest) => {
        this.dest = dest;
        const server = `${dests.name[dest]}, ${ipText(dests.addr[dest]!)}:${dests.port[dest]}`;
        const name = services.schedulerName(service);
        this.tell('scheduler', `${name}${why === '' ? '' : `: ${why}`}: ${server}`);
      };
    });
    this.seen.on(host.tcp, 'connect', (laddr, _lport, raddr, rport) => (tcb) => {
      if (this.frame === 0 || tcb === null || tcb.tag !== this.session) return;
      const ends = `${ipText(laddr)}:${tcb.lport} > ${ipText(raddr)}:${rport}`;
      this.tell('proxy', `connects to it: ${ends}, ${TCP_STATES[tcb.state]}; the data stays where it is`);
    });
    this.seen.on(proxy.sessions, 'setState', (id, state) => {
      if (id === this.session && state === RELAYING && id !== 0)
        this.tell('proxy', 'the server has accepted: from now on data is relayed');
    });
    this.seen.on(services, 'countIn', (dest, _packets, bytes) => {
      if (dest !== this.dest || this.left) return;
      this.tell(
        'proxy',
        `${bytes} bytes go over to the server's connection: the frame itself changes from one queue to the other`,
      );
    });
  }

  private watchOutput(device: Device): void {
    const { host } = this.pipeline;
    const { pool } = host.ctx;
    const { words } = host.neigh.table;
    this.seen.on(host.ip, 'output', (f, src, dst, proto) => {
      if (this.dest === 0 || this.left || dst !== this.pipeline.dests.addr[this.dest]) return;
      const l4 = pool.off[f]!;
      const data = pool.wireLength(f) - tcp.dataOffset(pool.buf, l4);
      const syn = (tcp.flags(pool.buf, l4) & tcp.SYN) !== 0;
      if (!syn && data === 0) return; // a bare acknowledgment
      this.outgoing = syn ? 'SYN' : `${data} bytes of data`;
      const byReference = pool.frag[f] === this.frame;
      const by = byReference ? `, the data still in slot ${this.frame}` : ', the data copied behind them (it is short)';
      const ports = `port ${tcp.srcPort(pool.buf, l4)} > ${tcp.dstPort(pool.buf, l4)}`;
      if (!syn)
        this.tell('tcp', `a segment of its own to the server, ${ports}, ${data} bytes, headers in slot ${f}${by}`);
      const what = syn ? 'the SYN' : 'the segment';
      this.tell('ipv4', `${what}: ${ipText(src)} > ${ipText(dst)}, protocol ${proto}`);
      return () => {
        if (!syn) this.left = true;
        this.outgoing = '';
      };
    });
    this.seen.on(host.routes, 'lookup', (dst) => (found) => {
      if (this.outgoing === '') return;
      const { outPort, outNextHop, outMtu } = host.routes;
      const hop = outNextHop === dst ? 'on the link itself' : `by ${ipText(outNextHop)}`;
      const port = host.netif.port(outPort)?.device.name;
      this.tell(
        'route',
        found ? `${ipText(dst)}: ${hop}, port ${outPort} (${port}), MTU ${outMtu}` : `${ipText(dst)}: none`,
      );
    });
    this.seen.on(host.neigh.output, 'output', (_f, port, hop) => {
      if (this.outgoing === '') return;
      const at = host.neigh.table.find(hop, port) << 4;
      const before = at === 0 ? 'unknown' : NEIGH_STATES[words[at + neigh.STATE]!];
      return () => {
        const now = host.neigh.table.find(hop, port);
        const waiting = words[(now << 4) + neigh.Q_LEN]!;
        const state = NEIGH_STATES[words[(now << 4) + neigh.STATE]!];
        const end = waiting > 0 ? `now ${state}: asked by ARP, ${waiting} packet waits` : macOf(words, now);
        this.tell('neighbour', `${ipText(hop)} is ${before}: ${end}`);
      };
    });
    this.seen.on(host.neigh.output, 'release', (i) => {
      if (this.dest === 0 || words[(i << 4) + neigh.IP] !== this.pipeline.dests.addr[this.dest]) return;
      const n = words[(i << 4) + neigh.Q_LEN]!;
      this.tell(
        'neighbour',
        `${ipText(words[(i << 4) + neigh.IP]!)} has answered: ${macOf(words, i)}; ${n} packet goes`,
      );
    });
    this.seen.on(device, 'tx', (frames, from, to) => {
      for (let i = from; i < to && this.dest !== 0 && !this.sent; i++) this.leaving(frames[i]!, device);
    });
  }

  private leaving(f: FrameId, device: Device): void {
    const { pool } = this.pipeline.host.ctx;
    const off = pool.off[f]!;
    if (eth.type(pool.buf, off) !== eth.ETHERTYPE_IPV4) return;
    if (ip.dst(pool.buf, off + eth.ETH_LEN) !== this.pipeline.dests.addr[this.dest]) return;
    if (!this.left && (tcp.flags(pool.buf, off + eth.ETH_LEN + ip.IPV4_LEN) & tcp.SYN) === 0) return;
    const line = describe(pool.buf, off, pool.len[f]!, pool.wireLength(f));
    this.tell('port', `${pool.wireLength(f)} bytes to ${device.name}: ${line}`);
    this.sent = this.left;
  }

  private settled(f: FrameId, verdict: Verdict): void {
    const { pool } = this.pipeline.host.ctx;
    if (f !== this.frame || !this.sent || this.complete || verdict !== DELIVERED || pool.refs[f] !== 1) return;
    this.tell('frame pool', `the server has acknowledged everything: slot ${f} is free again`);
    this.complete = true;
  }
}

/** `at 02:00:00:00:00:01`, from a row of the neighbour table. */
function macOf(words: Int32Array, i: number): string {
  const hi = words[(i << 4) + neigh.MAC_HI]!;
  const lo = words[(i << 4) + neigh.MAC_LO]!;
  const bytes = Uint8Array.of(hi >> 8, hi, lo >> 24, lo >> 16, lo >> 8, lo);
  return `at ${macText(bytes, 0)}`;
}

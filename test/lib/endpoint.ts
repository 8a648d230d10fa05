/**
 * Ends of TCP connections for simulations: what they should send, what they received, how they ended. Data is a
 * deterministic function of the position, so that any byte that is wrong, missing or twice shows.
 */
import type { Host } from '../../stack/host.ts';
import * as sock from '../../stack/tcp/socket.ts';
import type { SocketOwner, Tcb } from '../../stack/tcp/tcb.ts';

/** The byte at a position of a stream named by `salt`. */
export const byteAt = (salt: number, position: number): number =>
  (Math.imul(position + salt * 7919, 2654435761) >>> 13) & 0xff;

export interface EndpointPlan {
  readonly salt: number;
  /** Salt of the stream the other end sends. */
  readonly peerSalt: number;
  /** Bytes to send. */
  readonly send: number;
  /** Close our half once everything is sent (default), or only after the peer has closed its half. */
  readonly closeAfter?: 'sending' | 'peer' | 'never';
  /** Read nothing until this is set to false. */
  readonly paused?: boolean;
}

export class Endpoint implements SocketOwner {
  readonly host: Host;
  readonly plan: EndpointPlan;
  tcb: Tcb | null = null;
  established = false;
  sent = 0;
  received = 0;
  wrong = 0;
  fin = false;
  /** END_*, -1 while open. */
  end = -1;
  paused: boolean;
  private readonly buffer = new Uint8Array(16384);

  constructor(host: Host, plan: EndpointPlan) {
    this.host = host;
    this.plan = plan;
    this.paused = plan.paused ?? false;
  }

  get done(): boolean {
    return this.end >= 0;
  }

  onEstablished(tcb: Tcb): void {
    this.tcb = tcb;
    this.established = true;
    this.push();
  }

  onReadable(): void {
    this.pull();
  }

  onWritable(): void {
    this.push();
  }

  onFin(tcb: Tcb): void {
    this.fin = true;
    if (this.plan.closeAfter === 'peer' && this.sent === this.plan.send) sock.shutdown(this.host.tcp, tcb);
  }

  onClosed(_tcb: Tcb, end: number): void {
    this.pull();
    this.end = end;
    this.tcb = null;
  }

  /** Reads again after a pause. */
  resume(): void {
    this.paused = false;
    this.pull();
    this.host.tcp.flush();
    this.host.netif.flush();
  }

  abort(): void {
    if (this.tcb !== null) sock.abort(this.host.tcp, this.tcb);
    this.host.tcp.flush();
    this.host.netif.flush();
  }

  private push(): void {
    const { tcb, plan, buffer } = this;
    if (tcb === null) return;
    while (this.sent < plan.send) {
      const n = Math.min(buffer.length, plan.send - this.sent);
      for (let i = 0; i < n; i++) buffer[i] = byteAt(plan.salt, this.sent + i);
      const took = sock.write(this.host.tcp, tcb, buffer, 0, n);
      this.sent += took;
      if (took < n) return;
    }
    const after = plan.closeAfter ?? 'sending';
    if (after === 'sending' || (after === 'peer' && this.fin)) sock.shutdown(this.host.tcp, tcb);
  }

  private pull(): void {
    const { tcb, plan, buffer } = this;
    if (tcb === null || this.paused) return;
    for (;;) {
      const n = sock.read(this.host.tcp, tcb, buffer, 0, buffer.length);
      if (n === 0) return;
      for (let i = 0; i < n; i++) if (buffer[i] !== byteAt(plan.peerSalt, this.received + i)) this.wrong++;
      this.received += n;
    }
  }
}

/** Listens, and makes an endpoint for each connection; `plan` may depend on its number. */
export function listen(host: Host, addr: number, port: number, plan: (n: number) => EndpointPlan): Endpoint[] {
  const accepted: Endpoint[] = [];
  const byTcb = new Map<Tcb, Endpoint>();
  const owner: SocketOwner = {
    onEstablished(tcb) {
      const e = new Endpoint(host, plan(accepted.length));
      accepted.push(e);
      byTcb.set(tcb, e);
      e.onEstablished(tcb);
    },
    onReadable: (tcb) => byTcb.get(tcb)?.onReadable(),
    onWritable: (tcb) => byTcb.get(tcb)?.onWritable(),
    onFin: (tcb) => byTcb.get(tcb)?.onFin(tcb),
    onClosed(tcb, end) {
      byTcb.get(tcb)?.onClosed(tcb, end);
      byTcb.delete(tcb);
    },
  };
  host.tcp.listeners.add(addr, port, 1024, owner, 0);
  return accepted;
}

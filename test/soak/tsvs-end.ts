/**
 * Our end of a connection: does its part of the plan on a socket of the stack, compares what arrives, and says at the end
 * how it went. Timers run between turns of the stack.
 */
import * as sock from '../../stack/tcp/socket.ts';
import { END_NAMES } from '../../stack/tcp/state.ts';
import type { KeepAlive, SocketOwner, Tcb } from '../../stack/tcp/tcb.ts';
import type { Tcp } from '../../stack/tcp/tcp.ts';
import type { Outcome } from './messages.ts';
import { type ConnPlan, Dice, HEADER, mixSeed, OF_END, type Plans, planOf, readHeader, StreamBytes } from './plan.ts';

const SIP_MS = 3;
const KEEPALIVE: KeepAlive = { idleMs: 1000, intervalMs: 2000, count: 10 };
/** Once the other side is known to be gone. */
const HURRIED: KeepAlive = { idleMs: 250, intervalMs: 250, count: 10 };
const BUFFER = new Uint8Array(65536);

/** What the ends of one run share. */
export interface EndContext {
  readonly tcp: Tcp;
  readonly plans: Plans;
  /** Calls `what` in `ms`, with the stack's clock up to date. */
  after(ms: number, what: () => void): void;
  done(tcb: Tcb, outcome: Outcome): void;
}

export class TsvsEnd implements SocketOwner {
  /** Null once the connection is gone. */
  tcb: Tcb | null;
  plan: ConnPlan | null = null;

  private readonly of: EndContext;
  private outgoing: StreamBytes | null = null;
  private incoming: StreamBytes | null = null;
  private dice = new Dice(0);
  private head = new Uint8Array(0);
  private established = false;
  private sent = 0;
  private received = 0;
  private resting = false;
  private nextRest = 0;
  private stopped = false;
  private pausing = false;
  private fin = false;
  private shut = false;
  private wrongAt = -1;

  /** `plan` and `tcb` are null for a connection that the other side, or nobody yet, has opened. */
  constructor(of: EndContext, plan: ConnPlan | null, tcb: Tcb | null) {
    this.of = of;
    this.tcb = tcb;
    if (plan !== null) this.begin(plan);
  }

  private begin(plan: ConnPlan): void {
    const { seed } = this.of.plans;
    this.plan = plan;
    this.dice = new Dice(mixSeed(seed, OF_END, ~plan.n));
    this.outgoing = new StreamBytes(seed, plan, 'tsvs');
    this.incoming = new StreamBytes(seed, plan, 'kernel');
    this.nextRest = plan.tsvs.restEvery;
    if (this.tcb !== null) this.tcb.noDelay = plan.tsvs.noDelay ? 1 : 0;
  }

  onEstablished(tcb: Tcb): void {
    this.tcb = tcb;
    this.established = true;
    if (this.plan !== null) tcb.noDelay = this.plan.tsvs.noDelay ? 1 : 0;
    sock.keepAlive(this.of.tcp, tcb, KEEPALIVE);
    this.push();
  }

  onReadable(): void {
    this.pull();
  }

  onWritable(): void {
    this.push();
  }

  onFin(): void {
    this.fin = true;
    this.push();
  }

  onClosed(tcb: Tcb, end: number): void {
    this.tcb = null;
    const { sent, received, fin, wrongAt } = this;
    this.of.done(tcb, { n: this.plan?.n ?? -1, how: END_NAMES[end]!, sent, received, fin, wrongAt });
  }

  /** The other side is gone: asks it soon, in case its reset was lost. */
  hurry(): void {
    if (this.tcb !== null && this.established) sock.keepAlive(this.of.tcp, this.tcb, HURRIED);
  }

  /** Resets. */
  giveUp(): void {
    if (this.tcb !== null) sock.abort(this.of.tcp, this.tcb);
    this.tcb = null;
  }

  private pull(): void {
    if (this.pausing) return;
    while (this.tcb !== null) {
      if (this.plan === null && !this.readHead()) return;
      const { stopAt, stopMs, sip } = this.plan!.tsvs;
      if (!this.stopped && stopAt >= 0 && this.received >= stopAt) {
        this.stopped = true;
        this.pause(stopMs);
        return;
      }
      const most = sip > 0 ? Math.min(sip, BUFFER.length) : BUFFER.length;
      const n = sock.read(this.of.tcp, this.tcb, BUFFER, 0, most);
      if (n === 0) return;
      this.check(BUFFER.subarray(0, n));
      if (this.mayReset()) return;
      if (sip > 0) {
        this.pause(SIP_MS);
        return;
      }
    }
  }

  /** Reads the number that the opener sends first; false while it is not all there. */
  private readHead(): boolean {
    const n = sock.read(this.of.tcp, this.tcb!, BUFFER, 0, HEADER - this.head.length);
    this.head = Uint8Array.from([...this.head, ...BUFFER.subarray(0, n)]);
    if (this.head.length < HEADER) return false;
    const number = readHeader(this.head);
    if (number < 0) {
      this.wrongAt = 0;
      sock.abort(this.of.tcp, this.tcb!);
      this.tcb = null;
      return false;
    }
    this.begin(planOf(this.of.plans, number));
    this.check(this.head);
    this.push();
    return this.tcb !== null;
  }

  private check(bytes: Uint8Array): void {
    if (this.wrongAt < 0) this.wrongAt = this.incoming!.difference(bytes, this.received);
    this.received += bytes.length;
  }

  private pause(ms: number): void {
    this.pausing = true;
    this.of.after(ms, () => {
      this.pausing = false;
      this.pull();
    });
  }

  private push(): void {
    const { plan } = this;
    if (plan === null || !this.established || this.tcb === null || this.shut || this.resting) return;
    if (this.mayReset()) return;
    const { send, writeMax, restEvery, restMs, closesSecond, resetAt } = plan.tsvs;
    while (this.sent < send) {
      const bytes = this.outgoing!.slice(this.sent, Math.min(this.dice.between(1, writeMax), send - this.sent));
      const n = sock.write(this.of.tcp, this.tcb, bytes, 0, bytes.length);
      this.sent += n;
      if (this.mayReset()) return;
      if (n < bytes.length) return;
      if (restEvery > 0 && this.sent >= this.nextRest) {
        this.nextRest = this.sent + restEvery;
        this.resting = true;
        this.of.after(restMs, () => {
          this.resting = false;
          this.push();
        });
        return;
      }
    }
    // Who is to reset does not close before.
    if (resetAt < 0 && (!closesSecond || this.fin)) {
      this.shut = true;
      sock.shutdown(this.of.tcp, this.tcb);
    }
  }

  private mayReset(): boolean {
    const { resetAt } = this.plan!.tsvs;
    if (this.tcb === null) return true;
    if (resetAt < 0 || this.sent + this.received < resetAt) return false;
    sock.abort(this.of.tcp, this.tcb);
    this.tcb = null;
    return true;
  }
}

/** Accepts: makes an end for each connection and hands it what concerns it. */
export class TsvsAcceptor implements SocketOwner {
  private readonly of: EndContext;
  private readonly ends: Map<Tcb, TsvsEnd>;

  /** `ends`: those alive, by control block. */
  constructor(of: EndContext, ends: Map<Tcb, TsvsEnd>) {
    this.of = of;
    this.ends = ends;
  }

  onEstablished(tcb: Tcb): void {
    const end = new TsvsEnd(this.of, null, tcb);
    this.ends.set(tcb, end);
    end.onEstablished(tcb);
  }

  onReadable(tcb: Tcb): void {
    this.ends.get(tcb)?.onReadable();
  }

  onWritable(tcb: Tcb): void {
    this.ends.get(tcb)?.onWritable();
  }

  onFin(tcb: Tcb): void {
    this.ends.get(tcb)?.onFin();
  }

  /** One that was reset before it was established has no end. */
  onClosed(tcb: Tcb, end: number): void {
    this.ends.get(tcb)?.onClosed(tcb, end);
  }
}

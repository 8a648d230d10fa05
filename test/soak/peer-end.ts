/**
 * The kernel's end of a connection: does its part of the plan on a socket of Node's, compares what arrives, and says at the
 * end how it went.
 */
import type { Socket } from 'node:net';
import type { Outcome } from './messages.ts';
import { type ConnPlan, Dice, HEADER, mixSeed, OF_END, type Plans, planOf, readHeader, StreamBytes } from './plan.ts';

const SIP_MS = 3;
/** A peer that has gone without a word is found out soon. */
const KEEPALIVE_MS = 1000;

export class PeerEnd {
  private readonly socket: Socket;
  private readonly plans: Plans;
  private readonly done: (outcome: Outcome) => void;
  private plan: ConnPlan | null = null;
  private outgoing: StreamBytes | null = null;
  private incoming: StreamBytes | null = null;
  private dice = new Dice(0);
  /** The first bytes of a connection that others opened, until its number is known. */
  private head: Uint8Array = new Uint8Array(0);
  private sent = 0;
  private received = 0;
  private resting = false;
  private nextRest = 0;
  private stopped = false;
  private fin = false;
  private closed = false;
  private aborted = false;
  private wrongAt = -1;
  private failure = '';

  /** `plan` is null for a connection that the other side has opened. */
  constructor(socket: Socket, plans: Plans, plan: ConnPlan | null, done: (outcome: Outcome) => void) {
    this.socket = socket;
    this.plans = plans;
    this.done = done;
    socket.on('data', (data: Buffer) => this.take(data));
    socket.on('drain', () => this.push());
    socket.on('end', () => {
      this.fin = true;
      this.push();
    });
    socket.on('error', (error: NodeJS.ErrnoException) => {
      this.failure = error.code ?? error.message;
    });
    socket.on('close', () => this.ended());
    if (plan !== null) this.begin(plan);
    const established = (): void => {
      socket.setKeepAlive(true, KEEPALIVE_MS);
      this.push();
    };
    if (socket.connecting) socket.once('connect', established);
    else established();
  }

  private begin(plan: ConnPlan): void {
    this.plan = plan;
    this.dice = new Dice(mixSeed(this.plans.seed, OF_END, plan.n));
    this.outgoing = new StreamBytes(this.plans.seed, plan, 'kernel');
    this.incoming = new StreamBytes(this.plans.seed, plan, 'tsvs');
    this.nextRest = plan.kernel.restEvery;
    this.socket.setNoDelay(plan.kernel.noDelay);
  }

  private take(data: Uint8Array): void {
    let bytes = data;
    if (this.plan === null) {
      bytes = Buffer.concat([this.head, data]);
      this.head = bytes;
      if (bytes.length < HEADER) return;
      const n = readHeader(bytes);
      if (n < 0) {
        this.wrongAt = 0;
        this.abort();
        return;
      }
      this.begin(planOf(this.plans, n));
    }
    if (this.wrongAt < 0) this.wrongAt = this.incoming!.difference(bytes, this.received);
    this.received += bytes.length;
    if (!this.mayReset()) this.read();
    this.push();
  }

  /** Decides whether to go on reading. */
  private read(): void {
    const { stopAt, stopMs, sip } = this.plan!.kernel;
    if (!this.stopped && stopAt >= 0 && this.received >= stopAt) {
      this.stopped = true;
      this.pause(stopMs);
    } else if (sip > 0) this.pause(SIP_MS);
  }

  private pause(ms: number): void {
    this.socket.pause();
    setTimeout(() => this.socket.resume(), ms);
  }

  /** Writes as much as the plan and the system allow. */
  private push(): void {
    const { plan, socket } = this;
    if (plan === null || socket.connecting || this.aborted || this.closed || this.resting) return;
    const { send, writeMax, restEvery, restMs, closesSecond, resetAt } = plan.kernel;
    if (this.mayReset()) return;
    while (this.sent < send && !socket.writableNeedDrain) {
      const bytes = this.outgoing!.slice(this.sent, Math.min(this.dice.between(1, writeMax), send - this.sent));
      this.sent += bytes.length;
      socket.write(bytes);
      if (this.mayReset()) return;
      if (restEvery > 0 && this.sent >= this.nextRest) {
        this.nextRest = this.sent + restEvery;
        this.resting = true;
        setTimeout(() => {
          this.resting = false;
          this.push();
        }, restMs);
        return;
      }
    }
    // Who is to reset does not close before.
    if (this.sent === send && resetAt < 0 && (!closesSecond || this.fin)) {
      this.closed = true;
      socket.end();
    }
  }

  private mayReset(): boolean {
    const { resetAt } = this.plan!.kernel;
    if (!this.aborted && (resetAt < 0 || this.sent + this.received < resetAt)) return false;
    this.abort();
    return true;
  }

  private abort(): void {
    if (this.aborted) return;
    this.aborted = true;
    this.socket.resetAndDestroy();
  }

  private ended(): void {
    const { sent, received, fin, wrongAt } = this;
    const how = this.aborted ? 'aborted' : this.failure !== '' ? name(this.failure) : fin ? 'normal' : 'destroyed';
    this.done({ n: this.plan?.n ?? -1, how, sent, received, fin, wrongAt });
  }
}

/** The system's word in ours. */
function name(code: string): string {
  switch (code) {
    case 'ECONNREFUSED':
      return 'refused';
    case 'ECONNRESET':
    case 'EPIPE':
      return 'reset';
    case 'ETIMEDOUT':
      return 'timeout';
    default:
      return code;
  }
}

/**
 * Feeds recorded frames to a data plane, one by one, under a clock made of their time stamps, and finds out what became of
 * each. Timers run between the frames as they would have run between the packets.
 *
 * Each frame has a turn of the loop to itself, so that what is sent in that turn is due to that frame. How a frame ended
 * is seen by the context's probe; a frame that did not end has been kept by somebody, and its end is told later.
 */
import { Context } from '../../stack/context.ts';
import { FramePool } from '../../stack/mem/frame-pool.ts';
import type { FrameId, Micros, Verdict } from '../../stack/types.ts';
import { DROP, dropReason } from '../../stack/verdict.ts';
import { macFromIpv4 } from '../config/address.ts';
import type { Config, LinkConfig } from '../config/model.ts';
import { buildPipeline, type Pipeline } from '../workers/pipeline.ts';
import { planWorker } from '../workers/plan.ts';
import { SeededRandom } from '../workers/seeded.ts';
import { AckShift } from './ack-shift.ts';
import { FeedDevice, type SentFrame } from './feed.ts';
import { findHolder } from './holder.ts';
import type { Outcome } from './outcome.ts';

export interface ReplayerOptions {
  /** Take frames addressed to any MAC address. */
  readonly anyMac: boolean;
  readonly trustChecksums: boolean;
  readonly seed: number;
}

export interface Fed {
  readonly outcome: Outcome;
  /** By how much its acknowledgment was moved (ack-shift.ts); 0 = not at all. */
  readonly ackMovedBy: number;
  /** Sent in the frame's turn. */
  readonly sent: readonly Uint8Array[];
}

export interface ReplayEvents {
  /** The frame fed as number `packet` was held and has ended now; `outcome` is how. */
  ended(packet: number, outcome: Outcome): void;
  /** Sent by a timer, not in answer to a frame. `micros` is the time in the file's own count. */
  sentByTimer(micros: Micros, bytes: Uint8Array): void;
}

/** The data plane's clock at the first frame. */
const START_US: Micros = 1_000_000;
/** A longer silence counts as this long: no timer of ours runs longer. */
export const MAX_GAP_US: Micros = 3600 * 1_000_000;

/** A capture is of one place: whatever is at any link is at this one. */
function oneLink({ links }: Config): LinkConfig {
  const [addresses, routes] = [links.flatMap((link) => link.addresses), links.flatMap((link) => link.routes)];
  return { ...links[0]!, addresses, routes };
}

export class Replayer {
  readonly ctx: Context;
  readonly pipeline: Pipeline;
  /** Frames whose time stamp was before that of an earlier one, and silences that were shortened. */
  backwards = 0;
  shortened = 0;

  private readonly device: FeedDevice;
  private readonly events: ReplayEvents;
  private readonly acks = new AckShift();
  /** Number of the packet in each frame; 0 = a frame of our own. */
  private readonly packetOf: Int32Array;
  private packets = 0;
  /** How the packet now in its turn has ended; null while it has not. */
  private current: Outcome | null = null;
  private inTurn = 0;
  /** File time at `ctx.now` = 0. */
  private epoch = Number.NaN;

  constructor(config: Config, options: ReplayerOptions, events: ReplayEvents) {
    const share = planWorker(config);
    this.events = events;
    this.ctx = new Context(FramePool.attach(share.pool, true), new SeededRandom(options.seed));
    this.ctx.tick(START_US);
    const link = oneLink(config);
    this.device = new FeedDevice(this.ctx, link.mtu, options.trustChecksums);
    const plugs = [{ device: this.device, mac: link.mac ?? macFromIpv4(config.services[0]?.vip ?? 0) }];
    const quiet = { onConflict() {}, connectFailed() {}, noServer() {}, portsScarce() {}, healthChanged() {} };
    this.pipeline = buildPipeline(this.ctx, { ...config, links: [link] }, plugs, share, quiet);
    this.pipeline.host.ethernet.promiscuous = options.anyMac;
    this.packetOf = new Int32Array(this.ctx.pool.refs.length);
    this.ctx.probe = (f, verdict) => this.settled(f, verdict);
  }

  /** The clock as time in the file, in microseconds. */
  get fileMicros(): Micros {
    return this.epoch + this.ctx.now;
  }

  /** Feeds the next frame; `timeMicros` is its time stamp. */
  feed(bytes: Uint8Array, timeMicros: number): Fed {
    this.advanceTo(Math.floor(timeMicros));
    const packet = ++this.packets;
    const shifted = this.acks.received(bytes);
    const ackMovedBy = this.acks.movedBy;
    const { frame, reason } = this.device.offer(shifted);
    if (frame === 0) return { outcome: { kind: 'dropped', reason }, ackMovedBy: 0, sent: [] };
    this.packetOf[frame] = packet;
    this.current = null;
    this.inTurn = packet;
    this.pipeline.host.turn(this.ctx.now);
    const sent = this.device.take();
    for (const one of sent) this.noteSent(one);
    this.inTurn = 0;
    const outcome = this.outcomeOf(frame, bytes, sent);
    return { outcome, ackMovedBy, sent: sent.map((one) => one.bytes) };
  }

  /** Lets time go on without frames for at most `seconds`, as long as a frame is held somewhere. */
  finish(seconds: number): void {
    if (Number.isNaN(this.epoch)) return;
    const end = this.ctx.now + seconds * 1_000_000;
    while (this.ctx.now < end && this.ctx.pool.inUse > 0) this.step(end);
  }

  private outcomeOf(frame: FrameId, bytes: Uint8Array, sent: readonly SentFrame[]): Outcome {
    const ended = this.current;
    if (ended === null) return { kind: 'held', ...findHolder(this.pipeline.host, frame, bytes) };
    if (ended.kind === 'delivered' && sent.some((one) => isAnswer(bytes, one.bytes))) return { kind: 'answered' };
    return ended;
  }

  /** Turns the data plane at each timer on the way to this file time. */
  private advanceTo(micros: Micros): void {
    if (Number.isNaN(this.epoch)) {
      this.epoch = micros - START_US;
      this.turnIdle(START_US);
      return;
    }
    let target = micros - this.epoch;
    if (target < this.ctx.now) {
      this.backwards++;
      target = this.ctx.now;
    } else if (target - this.ctx.now > MAX_GAP_US) {
      this.shortened++;
      this.epoch += target - this.ctx.now - MAX_GAP_US;
      target = this.ctx.now + MAX_GAP_US;
    }
    while (this.ctx.now < target) this.step(target);
  }

  /** To the next timer, or to `end` if that is sooner. */
  private step(end: Micros): void {
    const ms = Math.max(this.pipeline.host.nextDue(60_000), 1);
    this.turnIdle(Math.min((Math.floor(this.ctx.now / 1000) + ms) * 1000, end));
  }

  private turnIdle(now: Micros): void {
    this.pipeline.host.turn(now);
    for (const one of this.device.take()) {
      this.noteSent(one);
      this.events.sentByTimer(this.fileMicros, one.bytes);
    }
  }

  /** A frame has left: if it was a received one, that is its end. */
  private noteSent({ frame, bytes }: SentFrame): void {
    this.acks.sent(bytes);
    this.ended(frame, { kind: 'answered' });
  }

  private settled(f: FrameId, verdict: Verdict): void {
    // A frame that somebody else still refers to has not ended.
    if (this.ctx.pool.refs[f] !== 1) return;
    this.ended(f, verdict < DROP ? { kind: 'delivered' } : { kind: 'dropped', reason: dropReason(verdict) });
  }

  private ended(f: FrameId, outcome: Outcome): void {
    const packet = this.packetOf[f]!;
    if (packet === 0) return;
    this.packetOf[f] = 0;
    if (packet === this.inTurn) this.current = outcome;
    else this.events.ended(packet, outcome);
  }
}

/** Whether `sent` goes to the station that `received` came from. */
function isAnswer(received: Uint8Array, sent: Uint8Array): boolean {
  for (let i = 0; i < 6; i++) if (sent[i] !== received[6 + i]) return false;
  return true;
}

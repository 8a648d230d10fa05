/**
 * Where the frames of a campaign come from: captures of kernels talking (test/fuzz/captures), with the ends exchanged for
 * those of the target; answers to what the target itself has just sent, so that connections come about and live; errors
 * about it; what went in before. Half of them are then changed.
 */
import { PcapReader } from '../../../src/links/pcap-reader.ts';
import { listFiles } from '../../lib/files.ts';
import type { Dice } from './dice.ts';
import { mutate } from './mutate.ts';
import { answer, error, fragments, headerLength, readdress, repair, view } from './packet.ts';

/** IPv4 packets of all captures, without their Ethernet headers. */
export function loadCaptures(): Uint8Array[] {
  const packets: Uint8Array[] = [];
  for (const file of listFiles('test/fuzz/captures', '.pcapng')) {
    const reader = new PcapReader(file);
    for (let p = reader.next(); p !== null; p = reader.next()) {
      // A copy: what the reader gives is a window on the file.
      if (p.bytes.length > 34 && view(p.bytes).getUint16(12) === 0x0800)
        packets.push(Uint8Array.from(p.bytes.subarray(14)));
    }
    reader.close();
  }
  return packets;
}

/** Who may speak, and to whom. */
export interface Ends {
  readonly clients: readonly number[];
  readonly targets: readonly number[];
  readonly ports: readonly number[];
}

/** Packets of late. */
export class Recent {
  private readonly packets: Uint8Array[] = [];
  private at = 0;

  note(p: Uint8Array): void {
    this.packets[this.at++ & 63] = p;
  }

  /** What the target sent, if there is anything to answer to it: no reset, no message of ICMP. */
  noteSent(p: Uint8Array): void {
    const header = headerLength(p);
    if (p[9] === 17 || (p[9] === 6 && header !== 0 && (p[header + 13]! & RST) === 0)) this.note(p);
  }

  pick(dice: Dice): Uint8Array | null {
    return this.packets.length === 0 ? null : dice.pick(this.packets);
  }
}

const SYN = 2;
const RST = 4;
const FLAGS = [0x10, 0x10, 0x10, 0x10, 0x10, 0x18, 0x18, 0x18, 0x11, 0x14, 0x04, 0x02, 0x12, 0x50, 0x90, 0x38];
const ERRORS = [
  [3, 0],
  [3, 1],
  [3, 3],
  [3, 4],
  [3, 4],
  [4, 0],
  [11, 0],
  [12, 0],
] as const;

/** Text beyond what is expected: holes, and what overlaps behind them. */
function ahead(dice: Dice, p: Uint8Array): void {
  view(p).setInt32(24, (view(p).getInt32(24) + dice.below(64) * 16) | 0);
  repair(p);
}

export class Source {
  private readonly dice: Dice;
  private readonly captures: readonly Uint8Array[];
  private readonly ends: Ends;
  private readonly sent: Recent;
  private readonly before = new Recent();

  constructor(dice: Dice, captures: readonly Uint8Array[], ends: Ends, sent: Recent) {
    this.dice = dice;
    this.captures = captures;
    this.ends = ends;
    this.sent = sent;
  }

  /** The next packets: one, or the fragments of one. */
  next(): Uint8Array[] {
    const { dice } = this;
    let p = this.one();
    // As it was: what is changed again and again is soon far from anything that is looked at.
    this.before.note(p);
    if (dice.chance(50)) p = mutate(dice, p.slice(), dice.pick(this.captures));
    if (p.length > 1500) p = p.slice(0, 1500);
    if (!dice.chance(3)) return [p];
    const pieces = fragments(p, 8 * Math.max(Math.ceil(p.length / (8 * (2 + dice.below(5)))), 1));
    if (dice.chance(50)) pieces.reverse();
    if (pieces.length > 1 && dice.chance(20)) pieces.splice(dice.below(pieces.length), 1);
    if (dice.chance(20)) pieces.push(mutate(dice, dice.pick(pieces).slice(), p));
    return pieces;
  }

  private one(): Uint8Array {
    const { dice } = this;
    const roll = dice.below(100);
    const last = this.sent.pick(dice);
    if (roll < 55 && last !== null) {
      const payload = new Uint8Array(dice.chance(50) ? 0 : dice.below(dice.chance(70) ? 40 : 1400));
      const p = answer(last, dice.pick(FLAGS), payload);
      // Direct routing sends on what is for the VIP: its answer would come past us. It is said again instead.
      if (p !== null && p[9] === 6 && dice.chance(20)) ahead(dice, p);
      if (p !== null) return this.ends.targets.includes(view(p).getInt32(12)) ? last.slice() : p;
    }
    if (roll >= 55 && roll < 60 && last !== null) {
      const [type, code] = dice.pick(ERRORS);
      return error(last, dice.pick(this.ends.clients), type, code, dice.chance(50) ? 1400 : dice.below(70_000));
    }
    if (roll >= 60 && roll < 65) return this.before.pick(dice)?.slice() ?? this.captured();
    if (roll >= 65 && roll < 75) return this.opening();
    return this.captured();
  }

  private captured(): Uint8Array {
    const { dice, ends } = this;
    const p = readdress(dice.pick(this.captures), dice.pick(ends.clients), dice.pick(ends.targets));
    if (p.length >= 24 && (p[9] === 6 || p[9] === 17) && dice.chance(80)) {
      view(p).setUint16(20, 40_000 + dice.below(32));
      view(p).setUint16(22, dice.pick(ends.ports));
    }
    repair(p);
    return p;
  }

  /** A SYN like the captures' own, from one of a few ports. */
  private opening(): Uint8Array {
    const { dice, ends } = this;
    const syn = this.captures.find((p) => p[9] === 6 && (p[33]! & 0x3f) === SYN) ?? dice.pick(this.captures);
    const p = readdress(syn, dice.pick(ends.clients), dice.pick(ends.targets));
    view(p).setUint16(20, 40_000 + dice.below(32));
    view(p).setUint16(22, dice.pick(ends.ports));
    view(p).setInt32(24, dice.word());
    repair(p);
    return p;
  }
}

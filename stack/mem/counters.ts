/**
 * Named counters of one worker in shared memory: the worker adds, anyone reads, no message is sent. @hot (`add`)
 *
 *   line 0  header: magic, version, size, counters, bytes of names
 *   line 1+ values: one 8-byte double each, exact up to 2^53
 *   then    names, one after the other, each ended by a line feed
 *
 * Why a reader never sees half a value. Each value is one aligned 8-byte element of a Float64Array, stored and loaded plainly. The
 * language leaves it open whether such a store may be seen in two halves (it promises wholeness for integers, and for 64-bit ones under
 * Atomics); the machines Node runs workers of ours on, x64 and arm64, do an aligned 8-byte store in one piece and V8 emits it as one
 * instruction. test/ring/counters.test.ts watches values of which every half-old, half-new mixture would show. The alternatives cost more
 * where it matters: an Atomics operation takes some 10 ns (a plain add 0.5), and 64-bit Atomics make a BigInt each.
 *
 * What a reader gets of several counters is not of one moment: a frame can be counted as received and not yet as sent. Sums that must
 * agree are checked between bursts by the worker itself.
 */
import { type BlockKind, demand, LINE_BYTES, OWN, openBlock, toLines, writeBlock } from './block.ts';

const KIND: BlockKind = { name: 'block of counters', magic: 0x434e5452, version: 1 };
const NAME_END = '\n';

export class Counters {
  /** Names by index. */
  readonly names: readonly string[];
  /** Values by index, for modules that own a range of them. The one writer adds, readers look. */
  readonly values: Float64Array;

  private constructor(mem: Int32Array) {
    const count = mem[OWN];
    const bytes = new Uint8Array(mem.buffer, mem.byteOffset + LINE_BYTES + count * 8, mem[OWN + 1]);
    this.names = Array.from(bytes, (c) => String.fromCharCode(c))
      .join('')
      .split(NAME_END)
      .slice(0, count);
    this.values = new Float64Array(mem.buffer, mem.byteOffset + LINE_BYTES, count);
  }

  /** @param names unique, printable ASCII */
  static bytes(names: readonly string[]): number {
    for (const name of names)
      demand(/^[!-~]+$/.test(name), `counter name ${JSON.stringify(name)} is not printable ASCII`);
    demand(new Set(names).size === names.length, 'two counters of one name');
    return toLines(LINE_BYTES + names.length * 8 + nameBytes(names));
  }

  /** Counters in the order of `names`, all 0. */
  static create(sab: SharedArrayBuffer, byteOffset: number, names: readonly string[]): Counters {
    const size = nameBytes(names);
    writeBlock(sab, byteOffset, KIND, Counters.bytes(names), [names.length, size]);
    new Float64Array(sab, byteOffset + LINE_BYTES, names.length).fill(0);
    const bytes = new Uint8Array(sab, byteOffset + LINE_BYTES + names.length * 8, size);
    let at = 0;
    for (const c of names.map((name) => name + NAME_END).join('')) bytes[at++] = c.charCodeAt(0);
    return Counters.attach(sab, byteOffset);
  }

  static attach(sab: SharedArrayBuffer, byteOffset: number): Counters {
    return new Counters(openBlock(sab, byteOffset, KIND));
  }

  /** Index of a counter. Throws when there is none of that name. */
  index(name: string): number {
    const i = this.names.indexOf(name);
    if (i < 0) throw new Error(`no counter ${name}`);
    return i;
  }

  /** Adds `n` to counter `i`. Its one writer only. */
  add(i: number, n: number): void {
    this.values[i] += n;
  }

  /** All values by name, as they are now. */
  snapshot(): Record<string, number> {
    return Object.fromEntries(this.names.map((name, i) => [name, this.values[i]]));
  }
}

function nameBytes(names: readonly string[]): number {
  return names.reduce((sum, name) => sum + name.length + 1, 0);
}

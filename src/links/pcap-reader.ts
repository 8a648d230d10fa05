/**
 * Reads capture files packet by packet: pcap (draft-ietf-opsawg-pcap; both byte orders, microseconds and nanoseconds) and
 * pcapng (draft-ietf-opsawg-pcapng; sections, several interfaces, enhanced and simple packet blocks). Ethernet only.
 *
 * What is wrong with a file is said with the offset where it was seen. The file is read through a window, so its size does not
 * matter.
 */
import { closeSync, openSync, readSync } from 'node:fs';
import {
  BLOCK_ENHANCED_PACKET,
  BLOCK_INTERFACE,
  BLOCK_SECTION,
  BLOCK_SIMPLE_PACKET,
  BYTE_ORDER_MAGIC,
  LINKTYPE_ETHERNET,
} from '../../stack/wire/pcapng.ts';

/** The file is not a capture, or is damaged. */
export class PcapError extends Error {
  readonly code = 'PCAP_FORMAT';
  readonly path: string;
  /** Byte offset in the file. */
  readonly offset: number;

  constructor(path: string, offset: number, problem: string) {
    super(`${path}: ${problem} (at byte ${offset})`);
    this.name = 'PcapError';
    this.path = path;
    this.offset = offset;
  }
}

export interface PcapPacket {
  /** Microseconds since 1970, with a fraction where the file knows nanoseconds. */
  readonly timeMicros: number;
  /** The captured bytes; valid until the next call. */
  readonly bytes: Uint8Array;
  /** Length on the wire; more than `bytes.length` where the capture cut the packet. */
  readonly originalLength: number;
  /** Interface in the file: 0 for pcap. */
  readonly iface: number;
  /** Byte offset of the record in the file. */
  readonly offset: number;
}

interface Interface {
  readonly snapLength: number;
  /** Seconds per timestamp unit, and seconds to add. */
  readonly unit: number;
  readonly offsetSeconds: number;
}

const MAGIC_MICROS = 0xa1b2c3d4;
const MAGIC_NANOS = 0xa1b23c4d;
/** Nothing real comes near; a larger length is damage, and must not become an allocation. */
const MAX_BLOCK = 16 * 1024 * 1024;
const WINDOW = 256 * 1024;
const OPT_IF_TSRESOL = 9;
const OPT_IF_TSOFFSET = 14;

export class PcapReader {
  readonly path: string;
  private readonly fd: number;
  private window: Buffer = Buffer.alloc(WINDOW);
  private view: DataView = new DataView(this.window.buffer, this.window.byteOffset, this.window.length);
  /** File offset of `window[0]`, valid bytes in the window, and the next byte to read, relative to the window. */
  private base = 0;
  private filled = 0;
  private at = 0;
  private little = true;
  private ng = false;
  private interfaces: Interface[] = [];
  private closed = false;

  /** Opens the file and reads its head. Throws a PcapError, or the system's error when it cannot be opened. */
  constructor(path: string) {
    this.path = path;
    this.fd = openSync(path, 'r');
    try {
      this.readHead();
    } catch (error) {
      this.close();
      throw error;
    }
  }

  /** The next packet, null at the end of the file. Throws a PcapError at damage. */
  next(): PcapPacket | null {
    return this.ng ? this.nextBlockPacket() : this.nextRecord();
  }

  close(): void {
    if (this.closed) return;
    this.closed = true;
    closeSync(this.fd);
  }

  private fail(offset: number, problem: string): never {
    throw new PcapError(this.path, offset, problem);
  }

  /** Makes `n` bytes at `this.at` available; returns how many there are, fewer only at the end of the file. */
  private need(n: number): number {
    if (this.filled - this.at >= n) return n;
    this.window.copyWithin(0, this.at, this.filled);
    this.base += this.at;
    this.filled -= this.at;
    this.at = 0;
    if (n > this.window.length) {
      const larger = Buffer.alloc(n);
      this.window.copy(larger, 0, 0, this.filled);
      this.window = larger;
      this.view = new DataView(larger.buffer, larger.byteOffset, larger.length);
    }
    while (this.filled < n) {
      const got = readSync(
        this.fd,
        this.window,
        this.filled,
        this.window.length - this.filled,
        this.base + this.filled,
      );
      if (got === 0) break;
      this.filled += got;
    }
    return Math.min(this.filled - this.at, n);
  }

  private u16(distance: number): number {
    return this.view.getUint16(this.at + distance, this.little);
  }

  private u32(distance: number): number {
    return this.view.getUint32(this.at + distance, this.little);
  }

  private readHead(): void {
    if (this.need(4) < 4) this.fail(0, 'empty or shorter than a magic number');
    const magic = this.u32(0);
    if (magic === BLOCK_SECTION) {
      this.ng = true;
      return;
    }
    if (magic !== MAGIC_MICROS && magic !== MAGIC_NANOS) this.little = false;
    const swapped = this.u32(0);
    if (swapped !== MAGIC_MICROS && swapped !== MAGIC_NANOS) {
      this.fail(0, `neither pcap nor pcapng: it begins with 0x${swapped.toString(16).padStart(8, '0')}`);
    }
    if (this.need(24) < 24) this.fail(this.filled, 'pcap file header is cut short');
    const major = this.u16(4);
    if (major !== 2) this.fail(4, `pcap version ${major} is not supported`);
    this.checkLinkType(this.u32(20) & 0xffff, 20);
    const unit = swapped === MAGIC_NANOS ? 1e-9 : 1e-6;
    this.interfaces = [{ snapLength: this.u32(16), unit, offsetSeconds: 0 }];
    this.at += 24;
  }

  private checkLinkType(type: number, distance: number): void {
    if (type === LINKTYPE_ETHERNET) return;
    this.fail(this.base + this.at + distance, `link type ${type} is not Ethernet (1)`);
  }

  private nextRecord(): PcapPacket | null {
    const have = this.need(16);
    const offset = this.base + this.at;
    if (have === 0) return null;
    if (have < 16) this.fail(offset, `packet header is cut short: ${have} of 16 bytes`);
    const seconds = this.u32(0);
    const fraction = this.u32(4);
    const captured = this.u32(8);
    const originalLength = this.u32(12);
    if (captured > MAX_BLOCK) this.fail(offset + 8, `impossible packet length ${captured}`);
    this.at += 16;
    const bytes = this.take(captured, offset);
    const micros = this.interfaces[0]!.unit === 1e-9 ? fraction / 1000 : fraction;
    return { timeMicros: seconds * 1e6 + micros, bytes, originalLength, iface: 0, offset };
  }

  /** The next `n` bytes, which belong to the record at `offset`. */
  private take(n: number, offset: number): Uint8Array {
    const have = this.need(n);
    if (have < n) this.fail(offset, `packet is cut short: ${have} of ${n} bytes`);
    const bytes = this.window.subarray(this.at, this.at + n);
    this.at += n;
    return bytes;
  }

  private nextBlockPacket(): PcapPacket | null {
    for (;;) {
      const have = this.need(12);
      const offset = this.base + this.at;
      if (have === 0) return null;
      if (have < 12) this.fail(offset, `block header is cut short: ${have} of 12 bytes`);
      // The type of a section header reads the same in both byte orders, and only its magic tells which one follows.
      if (this.u32(0) === BLOCK_SECTION) this.startSection(offset);
      const type = this.u32(0);
      const length = this.u32(4);
      if (length < 12 || length % 4 !== 0 || length > MAX_BLOCK)
        this.fail(offset + 4, `impossible block length ${length}`);
      const got = this.need(length);
      if (got < length) this.fail(offset, `block is cut short: ${got} of ${length} bytes`);
      if (this.u32(length - 4) !== length) this.fail(offset + length - 4, 'block lengths at start and end differ');
      const packet = this.readBlock(type, length, offset);
      this.at += length;
      if (packet !== null) return packet;
    }
  }

  private startSection(offset: number): void {
    this.little = true;
    if (this.u32(8) !== BYTE_ORDER_MAGIC) this.little = false;
    if (this.u32(8) !== BYTE_ORDER_MAGIC) this.fail(offset + 8, 'section header without a byte-order magic');
    this.interfaces = [];
  }

  /** A packet, or null for blocks of other kinds. The block lies in the window, complete. */
  private readBlock(type: number, length: number, offset: number): PcapPacket | null {
    switch (type) {
      case BLOCK_INTERFACE:
        if (length < 20) this.fail(offset, 'interface block is too short');
        this.checkLinkType(this.u16(8), 8);
        this.interfaces.push(this.readInterface(length, offset));
        return null;
      case BLOCK_ENHANCED_PACKET:
        return this.readEnhanced(length, offset);
      case BLOCK_SIMPLE_PACKET:
        return this.readSimple(length, offset);
      case BLOCK_SECTION:
        if (length < 28) this.fail(offset, 'section header is too short');
        if (this.u16(12) !== 1) this.fail(offset + 12, `pcapng version ${this.u16(12)} is not supported`);
        return null;
      default:
        return null;
    }
  }

  private readInterface(length: number, offset: number): Interface {
    let unit = 1e-6;
    let offsetSeconds = 0;
    let p = 16;
    while (p + 4 <= length - 4) {
      const code = this.u16(p);
      const size = this.u16(p + 2);
      if (code === 0) break;
      if (p + 4 + size > length - 4) this.fail(offset + p, 'option reaches beyond its block');
      if (code === OPT_IF_TSRESOL && size === 1) {
        const v = this.window[this.at + p + 4]!;
        unit = (v & 0x80) === 0 ? 10 ** -v : 2 ** -(v & 0x7f);
      } else if (code === OPT_IF_TSOFFSET && size === 8) {
        offsetSeconds = Number(this.view.getBigInt64(this.at + p + 4, this.little));
      }
      p += 4 + ((size + 3) & ~3);
    }
    return { snapLength: this.u32(12), unit, offsetSeconds };
  }

  private interfaceAt(index: number, offset: number): Interface {
    const found = this.interfaces[index];
    if (found === undefined) this.fail(offset, `packet of interface ${index}, which was not described before`);
    return found;
  }

  private readEnhanced(length: number, offset: number): PcapPacket {
    if (length < 32) this.fail(offset, 'packet block is too short');
    const iface = this.u32(8);
    const { unit, offsetSeconds } = this.interfaceAt(iface, offset + 8);
    const captured = this.u32(20);
    if (captured > length - 32) this.fail(offset + 20, `packet of ${captured} bytes in a block of ${length}`);
    const seconds = (this.u32(12) * 4294967296 + this.u32(16)) * unit + offsetSeconds;
    // Microseconds, the usual unit, without a detour over fractions of seconds, which would lose the last digit.
    const timeMicros = unit === 1e-6 ? this.u32(12) * 4294967296 + this.u32(16) + offsetSeconds * 1e6 : seconds * 1e6;
    const start = this.at + 28;
    const bytes = this.window.subarray(start, start + captured);
    return { timeMicros, bytes, originalLength: this.u32(24), iface, offset };
  }

  private readSimple(length: number, offset: number): PcapPacket {
    if (length < 16) this.fail(offset, 'simple packet block is too short');
    const { snapLength } = this.interfaceAt(0, offset);
    const originalLength = this.u32(8);
    const captured = snapLength === 0 ? originalLength : Math.min(originalLength, snapLength);
    if (captured > length - 16) this.fail(offset + 8, `packet of ${captured} bytes in a block of ${length}`);
    const start = this.at + 12;
    return { timeMicros: 0, bytes: this.window.subarray(start, start + captured), originalLength, iface: 0, offset };
  }
}

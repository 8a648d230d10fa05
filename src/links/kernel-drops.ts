/**
 * What the kernel dropped on its way to a TAP because its queue was full: the `drop` column of what it sent there, of
 * /proc/thread-self/net/dev (proc(5)). Read about once a second by TapDevice, without allocating.
 */
import { NativeBytes, O_CLOEXEC, type Syscalls } from './syscall.ts';

const FILE = '/proc/thread-self/net/dev';
const BYTES = 65536;
/** Numbers of a line: 8 of receiving, then bytes, packets, errs, drop. */
const COLUMN = 11;
const [SPACE, NEWLINE, COLON, ZERO] = [0x20, 0x0a, 0x3a, 0x30];

export class KernelDrops {
  private readonly sys: Syscalls;
  private readonly fd: number;
  private readonly text: NativeBytes;
  private readonly name: Uint8Array;
  /** As last read; of interfaces of this name that are gone. */
  private last = 0;
  private before = 0;

  constructor(sys: Syscalls, name: string) {
    this.sys = sys;
    this.name = Uint8Array.from(name, (c) => c.charCodeAt(0));
    this.fd = sys.open(FILE, O_CLOEXEC);
    this.text = new NativeBytes(sys, BYTES);
  }

  /** Frames dropped since this was made, or since the interface was, whichever is longer ago. */
  read(): number {
    this.sys.lseek(this.fd, 0, 0);
    const now = dropsOf(this.text.u8, this.sys.read(this.fd, this.text.address, BYTES), this.name);
    // Created anew, it counts from 0.
    if (now < this.last) this.before += this.last;
    if (now >= 0) this.last = now;
    return this.before + this.last;
  }

  close(): void {
    if (this.fd >= 0) this.sys.close(this.fd);
  }
}

/** The number in the line of interface `name`; -1 when there is none. `length`: bytes of text. */
export function dropsOf(text: Uint8Array, length: number, name: Uint8Array): number {
  for (let line = 0; line < length; ) {
    let at = line;
    while (text[at] === SPACE) at++;
    let k = 0;
    while (k < name.length && text[at + k] === name[k]) k++;
    if (k === name.length && text[at + k] === COLON) return column(text, at + k + 1, length);
    while (line < length && text[line] !== NEWLINE) line++;
    line++;
  }
  return -1;
}

function column(text: Uint8Array, from: number, length: number): number {
  let at = from;
  for (let i = 0; i <= COLUMN; i++) {
    while (at < length && text[at] === SPACE) at++;
    let value = 0;
    for (; at < length && text[at]! >= ZERO; at++) value = value * 10 + text[at]! - ZERO;
    if (i === COLUMN) return value;
  }
  return -1;
}

/**
 * The capture a replay writes: frames of both directions in the order in which they passed, each with a comment. One
 * pcapng interface; times are those of the recording.
 */
import { closeSync, openSync, writeSync } from 'node:fs';
import * as pcapng from '../../stack/wire/pcapng.ts';

const BUFFER_BYTES = 256 * 1024;
/** Bytes of a frame written at most; and of a comment (an option's length has 16 bits). */
const MAX_FRAME = 128 * 1024;
const MAX_COMMENT = 4096;

export class CaptureFile {
  private readonly fd: number;
  private readonly out = new Uint8Array(BUFFER_BYTES);
  private used = 0;

  /** Creates or overwrites the file. Throws the system's error. */
  constructor(path: string, name: string) {
    this.fd = openSync(path, 'w');
    this.used = pcapng.writeSection(this.out, 0, 'tsvs');
    this.used = pcapng.writeInterface(this.out, this.used, name, MAX_FRAME);
  }

  /**
   * Adds a frame. `timeMicros` counts from 1970; `originalLength` is its length on the wire, of which `bytes` may be the
   * beginning; `direction` is DIRECTION_*. Throws the system's error (disk full).
   */
  add(timeMicros: number, bytes: Uint8Array, originalLength: number, direction: number, comment: string): void {
    const text = pcapng.utf8(comment).subarray(0, MAX_COMMENT);
    const captured = Math.min(bytes.length, MAX_FRAME);
    if (this.used + pcapng.packetBlockLength(captured, text.length) > BUFFER_BYTES) this.flush();
    this.out.set(bytes.subarray(0, captured), this.used + pcapng.PACKET_BYTES);
    this.used = pcapng.writePacket(this.out, this.used, 0, timeMicros, captured, originalLength, direction, text);
  }

  private flush(): void {
    for (let at = 0; at < this.used; ) at += writeSync(this.fd, this.out, at, this.used - at);
    this.used = 0;
  }

  /** Writes what is left and closes the file; it is closed even when writing fails. */
  close(): void {
    try {
      this.flush();
    } finally {
      closeSync(this.fd);
    }
  }
}

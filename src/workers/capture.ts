/**
 * `--capture F.pcapng`: every frame of every link, both ways, to a file; each link is an interface of it. Written from the worker in blocks;
 * a full disk ends the capture, not the service. What a worker has that dies of an error is written, too; one that takes its place goes on
 * in the same file, as another section of it.
 */
import { closeSync, openSync, writeSync } from 'node:fs';
import { performance } from 'node:perf_hooks';
import type { Context } from '../../stack/context.ts';
import type { Device } from '../../stack/netif/device.ts';
import { PcapWriter } from '../../stack/netif/middleware/pcap-writer.ts';

const SNAP_LENGTH = 65535;
const BLOCK = 1 << 18;

export interface Capture {
  /** Each in the place of the one given. */
  readonly devices: readonly Device[];
  /** Writes what is buffered and closes the file. */
  close(): void;
}

/** A file per worker: `f.pcapng`, `f.1.pcapng`, ... */
export const captureName = (file: string, worker: number): string =>
  worker === 0 ? file : file.replace(/(\.[^./]*)?$/, `.${worker}$1`);

/** `again`: there is a section already. */
export function openCapture(ctx: Context, inner: readonly Device[], file: string, again = false): Capture {
  const fd = openSync(file, again ? 'a' : 'w');
  const block = new Uint8Array(BLOCK);
  let used = 0;
  let failed = false;
  const flush = (): void => {
    try {
      if (!failed) writeSync(fd, block, 0, used);
    } catch {
      failed = true;
    }
    used = 0;
  };
  const sink = (bytes: Uint8Array): void => {
    if (used + bytes.length > BLOCK) flush();
    if (bytes.length > BLOCK) return;
    block.set(bytes, used);
    used += bytes.length;
  };
  const epochMicros = Math.round(performance.timeOrigin * 1000);
  const options = { epochMicros, snapLength: SNAP_LENGTH, sink };
  const close = (): void => {
    process.off('exit', close);
    flush();
    closeSync(fd);
  };
  // Of this thread, whatever it ends by.
  process.once('exit', close);
  return { devices: inner.map((device, iface) => new PcapWriter(ctx, device, { ...options, iface })), close };
}

/**
 * `--capture F.pcapng`: every frame of a link, both ways, to a file. Written from the worker in blocks; a full disk ends
 * the capture, not the service.
 */
import { closeSync, openSync, writeSync } from 'node:fs';
import { performance } from 'node:perf_hooks';
import type { Context } from '../../stack/context.ts';
import type { Device } from '../../stack/netif/device.ts';
import { PcapWriter } from '../../stack/netif/middleware/pcap-writer.ts';

const SNAP_LENGTH = 65535;
const BLOCK = 1 << 18;

export interface Capture {
  readonly device: Device;
  /** Writes what is buffered and closes the file. */
  close(): void;
}

export function openCapture(ctx: Context, inner: Device, file: string): Capture {
  const fd = openSync(file, 'w');
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
  const device = new PcapWriter(ctx, inner, {
    epochMicros: Math.round(performance.timeOrigin * 1000),
    snapLength: SNAP_LENGTH,
    sink: (bytes) => {
      if (used + bytes.length > BLOCK) flush();
      if (bytes.length > BLOCK) return;
      block.set(bytes, used);
      used += bytes.length;
    },
  });
  return {
    device,
    close: () => {
      flush();
      closeSync(fd);
    },
  };
}

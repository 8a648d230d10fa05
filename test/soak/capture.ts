/**
 * The capture of a round: the beginning of every frame on the wire, kept when the round fails. Frames that faults took are
 * in it with the reason as a comment.
 */
import { closeSync, openSync, writeSync } from 'node:fs';
import { performance } from 'node:perf_hooks';
import type { Context } from '../../stack/context.ts';
import { DROP_REASONS, FAULT_LOSS, FAULT_RATE } from '../../stack/drop.ts';
import { F_LOCAL } from '../../stack/mem/frame-pool.ts';
import type { Device } from '../../stack/netif/device.ts';
import { PcapWriter } from '../../stack/netif/middleware/pcap-writer.ts';
import { DIRECTION_IN, DIRECTION_OUT } from '../../stack/wire/pcapng.ts';

/** Headers with all options, and the first bytes of the stream. */
const SNAP_LENGTH = 128;
const BLOCK = 1 << 20;

export interface Capture {
  readonly device: Device;
  close(): void;
}

export function capture(ctx: Context, inner: Device, file: string): Capture {
  const fd = openSync(file, 'w');
  const block = new Uint8Array(BLOCK);
  let used = 0;
  const flush = (): void => {
    for (let at = 0; at < used; ) at += writeSync(fd, block, at, used - at);
    used = 0;
  };
  const device = new PcapWriter(ctx, inner, {
    epochMicros: Math.round(performance.timeOrigin * 1000),
    snapLength: SNAP_LENGTH,
    sink(bytes) {
      if (used + bytes.length > BLOCK) flush();
      block.set(bytes, used);
      used += bytes.length;
    },
  });
  ctx.probe = (f, verdict) => {
    const reason = verdict & 0xff;
    // Only the link's own losses: elsewhere a frame may have lost its headers already.
    if (reason !== FAULT_LOSS && reason !== FAULT_RATE) return;
    const direction = (ctx.pool.flags[f]! & F_LOCAL) !== 0 ? DIRECTION_OUT : DIRECTION_IN;
    device.record(f, direction, DROP_REASONS[reason]!.name);
  };
  return {
    device,
    close() {
      ctx.probe = null;
      flush();
      closeSync(fd);
    },
  };
}

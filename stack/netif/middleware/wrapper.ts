/**
 * A device around another one: passes everything on. What wraps a device for a purpose says only what it does otherwise.
 *
 * Ownership: the inner device's.
 */
import type { Ipv4 } from '../../types.ts';
import { type Capabilities, type Device, type DeviceStats, NO_FDS } from '../device.ts';

export abstract class Wrapper implements Device {
  readonly name: string;
  readonly caps: Capabilities;
  readonly stats: DeviceStats;
  protected readonly inner: Device;

  constructor(inner: Device, caps: Capabilities = inner.caps) {
    this.inner = inner;
    this.name = inner.name;
    this.caps = caps;
    this.stats = inner.stats;
  }

  get fd(): number {
    return this.inner.fd;
  }

  get moreFds(): Int32Array {
    return this.inner.moreFds ?? NO_FDS;
  }

  get held(): number {
    return this.inner.held ?? 0;
  }

  get revives(): boolean {
    return this.inner.revives ?? false;
  }

  get notice(): string {
    return this.inner.notice ?? '';
  }

  get up(): boolean {
    return this.inner.up;
  }

  get nextDueMs(): number {
    return this.inner.nextDueMs ?? -1;
  }

  brings(dst: Ipv4): boolean {
    return this.inner.brings?.(dst) ?? true;
  }

  claim(addr: Ipv4, ours: boolean): void {
    this.inner.claim?.(addr, ours);
  }

  prepareSleep(): boolean {
    return this.inner.prepareSleep?.() ?? true;
  }

  abstract rx(out: Int32Array, max: number): number;
  abstract tx(frames: Int32Array, from: number, to: number): number;

  close(): void {
    this.inner.close();
  }
}

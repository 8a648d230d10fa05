/**
 * Follows the MTU of a worker's links: somebody has changed that of the interface, and the device says so (`caps.mtu`). A packet is never
 * larger than the interface takes, nor than the configuration allows. Cold; the worker asks at each housekeeping.
 *
 * | takes the new one              | how                                                                        |
 * | ------------------------------ | -------------------------------------------------------------------------- |
 * | what is sent from now on       | routes                                                                     |
 * | new connections                | the MSS they offer, and begin with                                          |
 * | existing connections of TCP    | a smaller one at once; they keep what they have when it grows (tcp/pmtu.ts) |
 */
import { type Port, portMtu } from '../../stack/netif/port.ts';
import type { WorkerEvent } from './events.ts';

export class MtuFollower {
  private readonly ports: readonly Port[];
  private readonly most: readonly number[];
  private readonly changed: () => void;
  private readonly tell: (event: WorkerEvent) => void;
  /** Of the devices, as it was told. */
  private readonly known: number[];

  /** `most`: what the configuration allows each. `changed` is called when ports have another MTU. */
  constructor(
    ports: readonly Port[],
    most: readonly number[],
    changed: () => void,
    tell: (event: WorkerEvent) => void,
  ) {
    this.ports = ports;
    this.most = most;
    this.changed = changed;
    this.tell = tell;
    this.known = ports.map(({ device }) => device.caps.mtu);
  }

  look(): void {
    let changes = 0;
    this.ports.forEach((port, i) => {
      const { name, caps } = port.device;
      const { mtu } = caps;
      if (mtu === this.known[i]) return;
      this.known[i] = mtu;
      const used = portMtu(port.device, this.most[i]!);
      if (used !== port.mtu) changes++;
      port.mtu = used;
      this.tell({ type: 'mtuChanged', name, mtu, used });
    });
    if (changes > 0) this.changed();
  }
}

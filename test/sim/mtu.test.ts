/** The MTU of the balancer's interface is changed while connections exist: nothing larger leaves, nothing stalls, new ones take the new size. */
import { test } from 'uvu';
import * as assert from 'uvu/assert';
import type { WorkerEvent } from '../../src/workers/events.ts';
import { MtuFollower } from '../../src/workers/mtu-follow.ts';
import type { Context } from '../../stack/context.ts';
import { type ChangingCapabilities, type Device, type DeviceStats, FRAME_OVERHEAD } from '../../stack/netif/device.ts';
import * as sock from '../../stack/tcp/socket.ts';
import { ETH_LEN } from '../../stack/wire/ethernet.ts';
import { BalancedNetwork, server } from '../lib/balancer.ts';
import { Endpoint, listen } from '../lib/endpoint.ts';
import { outstanding } from '../lib/sim.ts';

/** A wire whose MTU can be changed, as that of an interface; remembers the largest packet that left. */
class Interface implements Device {
  readonly name = 'interface';
  readonly caps: ChangingCapabilities;
  readonly stats: DeviceStats;
  readonly fd = -1;
  readonly up = true;
  largest = 0;
  private readonly ctx: Context;
  private readonly inner: Device;

  constructor(inner: Device, ctx: Context) {
    this.ctx = ctx;
    this.inner = inner;
    this.caps = { ...inner.caps };
    this.stats = inner.stats;
  }

  rx(out: Int32Array, max: number): number {
    return this.inner.rx(out, max);
  }

  tx(frames: Int32Array, from: number, to: number): number {
    for (let i = from; i < to; i++) {
      const bytes = this.ctx.pool.wireLength(frames[i]!);
      assert.ok(bytes <= this.caps.mtu + FRAME_OVERHEAD, `${bytes} bytes, MTU ${this.caps.mtu}`);
      this.largest = Math.max(this.largest, bytes - ETH_LEN);
    }
    return this.inner.tx(frames, from, to);
  }

  close(): void {
    this.inner.close();
  }
}

class Lab extends BalancedNetwork {
  readonly told: WorkerEvent[] = [];
  readonly device: Interface;
  readonly accepted: Endpoint[];
  private readonly follower: MtuFollower;

  constructor(send: number, mtu = 1500) {
    let device: Interface | null = null;
    super({ servers: 1, mtu, wrap: (inner, ctx) => (device = new Interface(inner, ctx)) });
    this.device = device!;
    this.accepted = listen(this.servers[0]!.host, server(0), 80, () => ({
      ...{ salt: 2, peerSalt: 1, send, closeAfter: 'peer' },
    }));
    const { host, ports } = this.balancer;
    const changed = (): void => {
      host.routes.refresh();
      host.tcp.followLinks();
    };
    this.follower = new MtuFollower(ports, [mtu], changed, (event) => this.told.push(event));
  }

  request(send: number, closeAfter: 'sending' | 'never' = 'sending'): Endpoint {
    const e = new Endpoint(this.client.host, { salt: 1, peerSalt: 2, send, closeAfter });
    e.tcb = this.connect(e);
    return e;
  }

  setMtu(mtu: number): void {
    this.device.caps.mtu = mtu;
    this.follower.look();
    this.device.largest = 0;
  }

  /** What the balancer offered the peer of `e`. */
  offered(e: Endpoint): number {
    return e.tcb!.peerMss;
  }
}

test('a smaller one: what is on its way arrives in smaller segments, without a time-out', () => {
  const lab = new Lab(400_000);
  const client = lab.request(1000);
  client.paused = true;
  lab.run(1000);
  assert.is(lab.device.largest, 1500);
  lab.setMtu(1000);
  client.resume();
  assert.ok(lab.run(20_000, () => client.done && lab.accepted[0]!.done));
  assert.equal([client.received, client.wrong], [400_000, 0]);
  assert.is(lab.device.largest, 1000);
  assert.is(lab.balancer.host.tcp.stats.timeouts, 0);
  assert.equal(lab.told, [{ type: 'mtuChanged', name: 'interface', mtu: 1000, used: 1000 }]);
  lab.run(100);
  assert.is(outstanding(lab.ctx), lab.ctx.pool.inUse);
});

test('connections that are parked meanwhile send smaller segments when they wake', () => {
  const lab = new Lab(0);
  const client = lab.request(10, 'never');
  lab.run(2000);
  assert.ok(lab.balancer.host.tcp.parking.parked > 0);
  lab.setMtu(1000);
  const { host } = lab.servers[0]!;
  assert.is(sock.write(host.tcp, lab.accepted[0]!.tcb!, new Uint8Array(30_000), 0, 30_000), 30_000);
  assert.ok(lab.run(20_000, () => client.received === 30_000));
  assert.is(lab.device.largest, 1000);
  assert.is(lab.balancer.host.tcp.stats.timeouts, 0);
});

test('new connections begin with what there is, in both directions; more than the configuration allows is never used', () => {
  const lab = new Lab(5000, 1400);
  const seen = [1000, 1300, 9000].map((mtu) => {
    lab.setMtu(mtu);
    const client = lab.request(10, 'never');
    assert.ok(lab.run(10_000, () => client.received === 5000));
    return [lab.offered(client), lab.device.largest];
  });
  assert.equal(seen, [
    [960, 1000],
    [1260, 1300],
    [1360, 1400],
  ]);
  assert.equal(lab.told.at(-1), { type: 'mtuChanged', name: 'interface', mtu: 9000, used: 1400 });
});

test.run();

/**
 * Warms the proxy: clients and a server with our own TCP on a wire to it. In each round some clients connect, ask and are answered,
 * are silent for so long that their connections are parked, ask once more for much, and end.
 */
import type { Host } from '../../stack/host.ts';
import { OFFLOAD_WIRE, PLAIN_WIRE } from '../../stack/netif/memory.ts';
import * as sock from '../../stack/tcp/socket.ts';
import type { SocketOwner, Tcb } from '../../stack/tcp/tcb.ts';
import type { Config } from '../config/model.ts';
import { Network } from '../simulated/network.ts';
import { buildScene, CLIENT, PORT, PREFIX, SERVER, START_US, VIP } from './scene.ts';

const AT_ONCE = 8;
const ASK = new Uint8Array(200);
const SHORT = 1000;
const LONG = 100_000;
/** Simulated time that a step may take, and silence that parks a connection. */
const PATIENCE_MS = 5000;
const SILENCE_MS = 600;

/** What is written and what is left to write of an answer. */
class Server implements SocketOwner {
  /** What the next request is answered with, in bytes. */
  length = SHORT;
  private readonly host: Host;
  private readonly left = new Map<Tcb, number>();
  private readonly bytes = new Uint8Array(LONG);

  constructor(host: Host) {
    this.host = host;
    host.tcp.listeners.add(SERVER, PORT, AT_ONCE * 2, this, 0);
  }

  onEstablished(): void {}

  onReadable(tcb: Tcb): void {
    sock.consume(this.host.tcp, tcb, sock.readable(tcb));
    this.left.set(tcb, this.length);
    this.onWritable(tcb);
  }

  onWritable(tcb: Tcb): void {
    const left = this.left.get(tcb) ?? 0;
    if (left > 0) this.left.set(tcb, left - sock.write(this.host.tcp, tcb, this.bytes, 0, left));
  }

  onFin(tcb: Tcb): void {
    sock.shutdown(this.host.tcp, tcb);
  }

  onClosed(tcb: Tcb): void {
    this.left.delete(tcb);
  }
}

class Client implements SocketOwner {
  heard = 0;
  closed = false;
  private readonly host: Host;
  private tcb: Tcb | null;

  constructor(host: Host) {
    this.host = host;
    this.tcb = host.tcp.connect(CLIENT, 0, VIP, PORT, this, 0);
    this.closed = this.tcb === null;
  }

  ask(): void {
    if (this.tcb !== null) sock.write(this.host.tcp, this.tcb, ASK, 0, ASK.length);
  }

  leave(): void {
    if (this.tcb !== null) sock.close(this.host.tcp, this.tcb);
  }

  onEstablished(): void {
    this.ask();
  }

  onReadable(tcb: Tcb): void {
    this.heard += sock.readable(tcb);
    sock.consume(this.host.tcp, tcb, sock.readable(tcb));
  }

  onWritable(): void {}
  onFin(): void {}

  onClosed(): void {
    this.tcb = null;
    this.closed = true;
  }
}

/** The network, ready for rounds; each returns whether everything that was asked for came. */
export function proxyRounds(config: Config, several: boolean, offload: boolean): () => boolean {
  const network = new Network(1, offload ? OFFLOAD_WIRE : PLAIN_WIRE, START_US);
  const host = network.addHost('client', CLIENT, PREFIX);
  const server = new Server(network.addHost('server', SERVER, PREFIX));
  const ctx = network.newContext();
  const { host: ours } = buildScene(ctx, config, network.plug(ctx, 'tsvs'), several);
  network.add(ours);
  return () => {
    const clients = Array.from({ length: AT_ONCE }, () => new Client(host));
    server.length = SHORT;
    const heard = (bytes: number) => () => clients.every((one) => one.heard === bytes);
    let good = network.run(PATIENCE_MS, heard(SHORT));
    network.run(SILENCE_MS, () => false);
    server.length = LONG;
    for (const client of clients) client.ask();
    good = network.run(PATIENCE_MS, heard(SHORT + LONG)) && good;
    for (const client of clients) client.leave();
    return network.run(PATIENCE_MS, () => clients.every(({ closed }) => closed)) && good;
  };
}

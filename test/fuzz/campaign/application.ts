/** Whoever uses the sockets of a fuzzed host: serves, misbehaves, and forgets nothing when it is told to stop. */
import type { Host } from '../../../stack/host.ts';
import * as sock from '../../../stack/tcp/socket.ts';
import type { SocketOwner, Tcb } from '../../../stack/tcp/tcb.ts';
import type { UdpSocket } from '../../../stack/udp/socket.ts';
import type { Dice } from './dice.ts';

const DATA = Uint8Array.from({ length: 4096 }, (_, i) => i % 251);

export class Application implements SocketOwner {
  private readonly host: Host;
  private readonly dice: Dice;
  private readonly open = new Set<Tcb>();
  private readonly addr: number;
  private readonly peers: readonly number[];
  private readonly udp: UdpSocket;
  private readonly buf = new Uint8Array(4096);
  private stopped = false;

  constructor(host: Host, dice: Dice, addr: number, peers: readonly number[]) {
    this.host = host;
    this.dice = dice;
    this.addr = addr;
    this.peers = peers;
    for (const port of [80, 81]) host.tcp.listeners.add(addr, port, 8, this, 0);
    this.udp = host.udp.create();
    host.udp.bind(this.udp, addr, 53);
  }

  /** Now and then it does something unasked. */
  act(): void {
    const { dice, host } = this;
    if (dice.chance(5)) host.tcp.connect(this.addr, 0, dice.pick(this.peers), 9000 + dice.below(4), this, 0);
    for (const tcb of this.open) if (dice.chance(5)) this.one(tcb);
    for (let f = this.udp.take(); f !== 0; f = this.udp.take()) this.udp.done(f);
  }

  private one(tcb: Tcb): void {
    const { dice } = this;
    const { tcp } = this.host;
    const roll = dice.below(100);
    if (roll < 40) sock.write(tcp, tcb, DATA, 0, 1 + dice.below(4000));
    else if (roll < 70) sock.read(tcp, tcb, this.buf, 0, 1 + dice.below(4096));
    else if (roll < 80) sock.shutdown(tcp, tcb);
    else if (roll < 84) sock.close(tcp, tcb);
    else if (roll < 86) sock.abort(tcp, tcb);
    else if (roll < 90) tcb.noDelay ^= 1;
    else {
      const to = [...this.open][dice.below(this.open.size)]!;
      if (to !== tcb) sock.move(tcp, tcb, to);
    }
  }

  /** Everything that is open is given up. */
  stop(): void {
    this.stopped = true;
    for (const tcb of [...this.open]) sock.abort(this.host.tcp, tcb);
    for (let f = this.udp.take(); f !== 0; f = this.udp.take()) this.udp.done(f);
  }

  onEstablished(tcb: Tcb): void {
    this.open.add(tcb);
    if (this.stopped) sock.abort(this.host.tcp, tcb);
  }

  onReadable(tcb: Tcb): void {
    if (this.dice.chance(80)) while (sock.read(this.host.tcp, tcb, this.buf, 0, 4096) > 0);
    if (this.dice.chance(30)) this.one(tcb);
  }

  onWritable(tcb: Tcb): void {
    if (this.dice.chance(30)) this.one(tcb);
  }

  onFin(tcb: Tcb): void {
    if (this.dice.chance(50)) sock.shutdown(this.host.tcp, tcb);
  }

  onClosed(tcb: Tcb): void {
    this.open.delete(tcb);
  }
}

/**
 * UDP for applications inside the process: promises and plain byte arrays over udp/socket. Health checks, the resolver
 * and tests use it. One socket belongs to one worker; everything happens in that worker's bursts.
 *
 * Data is copied on the way in and out: the reader may keep what it got.
 */
import type { Context } from '../context.ts';
import { DROP_REASONS } from '../drop.ts';
import type { Ipv4 } from '../types.ts';
import type { UdpSocket, UdpSockets } from '../udp/socket.ts';

export interface Datagram {
  readonly data: Uint8Array;
  /** Peer. */
  readonly addr: Ipv4;
  readonly port: number;
  /** The local address it was sent to. */
  readonly localAddr: Ipv4;
}

export type DatagramErrorCode = 'ADDRESS_IN_USE' | 'ADDRESS_NOT_LOCAL' | 'CLOSED' | 'NOT_SENT';

export class DatagramError extends Error {
  readonly code: DatagramErrorCode;
  constructor(code: DatagramErrorCode, message: string) {
    super(message);
    this.name = 'DatagramError';
    this.code = code;
  }
}

interface Waiter {
  resolve(d: Datagram): void;
  reject(e: DatagramError): void;
}

export class DatagramSocket {
  private readonly ctx: Context;
  private readonly sockets: UdpSockets;
  private readonly socket: UdpSocket;
  private readonly waiters: Waiter[] = [];
  private closed = false;

  constructor(ctx: Context, sockets: UdpSockets) {
    this.ctx = ctx;
    this.sockets = sockets;
    this.socket = sockets.create();
    this.socket.onReadable = () => this.serve();
  }

  /** The bound address (0 = any) and port (0 = not bound yet). */
  get addr(): Ipv4 {
    return this.socket.addr;
  }
  get port(): number {
    return this.socket.port;
  }

  /** Called with peer address, peer port, ICMP type and code when a datagram is reported as undeliverable. */
  set onUnreachable(listener: ((addr: Ipv4, port: number, type: number, code: number) => void) | null) {
    this.socket.onUnreachable = listener;
  }

  /** Binds to a local address (0 = any) and port (0 = a random free one). Throws DatagramError. */
  bind(addr: Ipv4 = 0, port = 0): void {
    this.checkOpen();
    if (addr !== 0 && !this.sockets.addrs.isLocal(addr)) {
      throw new DatagramError('ADDRESS_NOT_LOCAL', 'cannot bind to an address that is not ours');
    }
    if (!this.sockets.bind(this.socket, addr, port)) {
      throw new DatagramError('ADDRESS_IN_USE', port === 0 ? 'no free UDP port' : `UDP port ${port} is in use`);
    }
  }

  /**
   * Sends one datagram, binding to a random port first if need be. Throws DatagramError NOT_SENT, naming the drop
   * reason, when it could not leave; like all UDP, what left may still be lost.
   */
  sendTo(data: Uint8Array, addr: Ipv4, port: number): void {
    this.checkOpen();
    if (this.socket.port === 0) this.bind();
    const reason = this.sockets.send(this.socket, data, addr, port);
    if (reason !== 0) throw new DatagramError('NOT_SENT', `not sent: ${DROP_REASONS[reason]!.sentence}`);
  }

  /** The next datagram if one waits, else null. */
  tryReceive(): Datagram | null {
    const { socket } = this;
    const f = socket.take();
    if (f === 0) return null;
    const data = this.ctx.pool.buf.slice(socket.dataOff, socket.dataOff + socket.dataLen);
    const datagram = { data, addr: socket.fromAddr, port: socket.fromPort, localAddr: socket.toAddr };
    socket.done(f);
    return datagram;
  }

  /** The next datagram, when there is one. Rejects with DatagramError CLOSED. */
  receive(): Promise<Datagram> {
    if (this.closed) return Promise.reject(closedError());
    const datagram = this.waiters.length === 0 ? this.tryReceive() : null;
    if (datagram !== null) return Promise.resolve(datagram);
    return new Promise((resolve, reject) => this.waiters.push({ resolve, reject }));
  }

  /** Gives the port back, drops what was not read, and rejects who still waits. Further calls do nothing. */
  close(): void {
    if (this.closed) return;
    this.closed = true;
    this.sockets.close(this.socket);
    for (const waiter of this.waiters.splice(0)) waiter.reject(closedError());
  }

  private serve(): void {
    while (this.waiters.length > 0) {
      const datagram = this.tryReceive();
      if (datagram === null) return;
      this.waiters.shift()!.resolve(datagram);
    }
  }

  private checkOpen(): void {
    if (this.closed) throw closedError();
  }
}

const closedError = (): DatagramError => new DatagramError('CLOSED', 'the socket is closed');

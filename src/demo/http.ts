/**
 * Just enough HTTP/1.1 (RFC 9112) on our own TCP for the demo: servers that answer every request with their name and
 * close, and a client that asks once per connection.
 */
import type { Host } from '../../stack/host.ts';
import { close, read, shutdown, write } from '../../stack/tcp/socket.ts';
import { END_NAMES, END_NORMAL } from '../../stack/tcp/state.ts';
import type { SocketOwner, Tcb } from '../../stack/tcp/tcb.ts';
import type { Ipv4, Micros } from '../../stack/types.ts';
import { utf8 } from '../../stack/wire/pcapng.ts';

const END_OF_HEAD = '\r\n\r\n';
const MAX_BYTES = 4096;

/** Everything unread, as text. Requests and answers of the demo are short: what does not fit is not looked at. */
function readText(host: Host, tcb: Tcb): string {
  const bytes = new Uint8Array(MAX_BYTES);
  const n = read(host.tcp, tcb, bytes, 0, bytes.length);
  return String.fromCharCode(...bytes.subarray(0, n));
}

function writeText(host: Host, tcb: Tcb, text: string): void {
  const bytes = utf8(text);
  write(host.tcp, tcb, bytes, 0, bytes.length);
}

/** Serves `name` to everybody who asks at this address; counts in `served`. */
export class HttpServer implements SocketOwner {
  readonly name: string;
  served = 0;
  private readonly host: Host;
  /** What each connection that has no answer yet has said so far. */
  private readonly heard = new Map<Tcb, string>();

  constructor(host: Host, name: string, addr: Ipv4, port: number) {
    this.host = host;
    this.name = name;
    host.tcp.listeners.add(addr, port, 128, this, 0);
  }

  onEstablished(tcb: Tcb): void {
    this.heard.set(tcb, '');
  }

  onReadable(tcb: Tcb): void {
    const before = this.heard.get(tcb);
    if (before === undefined) return; // answered already: one request per connection
    const head = before + readText(this.host, tcb);
    this.heard.set(tcb, head);
    if (!head.endsWith(END_OF_HEAD)) return;
    this.heard.delete(tcb);
    this.served++;
    const body = `${this.name}\n`;
    writeText(
      this.host,
      tcb,
      `HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nContent-Length: ${body.length}\r\nConnection: close${END_OF_HEAD}${body}`,
    );
    shutdown(this.host.tcp, tcb);
  }

  onWritable(): void {}

  onFin(tcb: Tcb): void {
    shutdown(this.host.tcp, tcb);
  }

  onClosed(tcb: Tcb): void {
    this.heard.delete(tcb);
  }
}

/** One request, from connect to the end of its connection. */
export class HttpRequest implements SocketOwner {
  /** True when the connection is gone. */
  done = false;
  /** What went wrong; empty while nothing did. */
  problem = '';
  /** The body: the name of the server that answered. */
  answer = '';
  readonly startedUs: Micros;
  /** When the whole answer was there. */
  answeredUs: Micros = 0;

  private readonly host: Host;
  private readonly authority: string;
  private text = '';

  constructor(host: Host, now: Micros, vip: Ipv4, port: number, authority: string) {
    this.host = host;
    this.startedUs = now;
    this.authority = authority;
    const tcb = host.tcp.connect(host.sourceTowards(vip), 0, vip, port, this, 0);
    if (tcb !== null) return;
    this.done = true;
    this.problem = 'no port or no route';
  }

  onEstablished(tcb: Tcb): void {
    writeText(this.host, tcb, `GET / HTTP/1.1\r\nHost: ${this.authority}\r\nUser-Agent: tsvs-demo${END_OF_HEAD}`);
  }

  onReadable(tcb: Tcb): void {
    this.text += readText(this.host, tcb);
  }

  onWritable(): void {}

  onFin(tcb: Tcb): void {
    this.answeredUs = this.host.ctx.now;
    const at = this.text.indexOf(END_OF_HEAD);
    const length = Number(/^Content-Length: (\d+)$/m.exec(this.text.replaceAll('\r', ''))?.[1] ?? Number.NaN);
    const body = this.text.slice(at + END_OF_HEAD.length);
    if (!this.text.startsWith('HTTP/1.1 200 ') || at < 0 || body.length !== length) this.problem = 'not a whole answer';
    else this.answer = body.trimEnd();
    close(this.host.tcp, tcb);
  }

  onClosed(_tcb: Tcb, end: number): void {
    this.done = true;
    if (end !== END_NORMAL) this.problem = `connection ended: ${END_NAMES[end]}`;
    else if (this.answer === '' && this.problem === '') this.problem = 'no answer';
  }
}

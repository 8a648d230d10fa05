/** The socket calls of packet scripts. Each ends with the end of a burst, as the worker's loop would have it. */
import * as sock from '../../../stack/tcp/socket.ts';
import type { Tcb } from '../../../stack/tcp/tcb.ts';
import { HOST, PEER } from '../tcp-peer.ts';
import { type Connection, patternAt } from './connection.ts';
import type { Play } from './play.ts';

type Args = readonly (number | string)[];

interface Call {
  readonly usage: string;
  readonly least: number;
  readonly most: number;
  readonly returns?: true;
  run(play: Play, c: Connection, args: Args): number | string | undefined;
}

const live = (play: Play, c: Connection): Tcb =>
  c.tcb ??
  play.blockOf(c) ??
  play.fail(`connection #${c.n} is not open`, ['right is: a connection that exists by now']);

/** Up to `max` bytes of what arrived, as text; bytes that the script did not spell out must be the pattern's. */
function read(play: Play, c: Connection, max: number): string {
  const tcb = live(play, c);
  const dst = new Uint8Array(Math.min(max, sock.readable(tcb)));
  const n = sock.read(play.rig.host.tcp, tcb, dst, 0, dst.length);
  for (let i = 0; i < n && !c.spelt; i++) {
    const want = patternAt(1 + c.readBytes + i);
    if (dst[i] !== want) play.fail(`byte ${1 + c.readBytes + i} was read as ${dst[i]}`, [`expected  ${want}`]);
  }
  c.readBytes += n;
  return String.fromCharCode(...dst.subarray(0, n));
}

function write(play: Play, c: Connection, what: number | string): number {
  const tcb = live(play, c);
  const at = c.written.length + 1;
  const bytes =
    typeof what === 'string'
      ? Uint8Array.from(what, (ch) => ch.charCodeAt(0))
      : Uint8Array.from({ length: what }, (_, i) => patternAt(at + i));
  const n = sock.write(play.rig.host.tcp, tcb, bytes, 0, bytes.length);
  for (let i = 0; i < n; i++) c.written.push(bytes[i]!);
  return n;
}

export const CALLS: Record<string, Call> = {
  listen: {
    usage: 'listen(80), listen(80, 16): port and backlog',
    least: 1,
    most: 2,
    run: (play, _c, [port, backlog]) => {
      play.listen(Number(port), Number(backlog ?? 16));
      return undefined;
    },
  },
  unlisten: {
    usage: 'unlisten(80): nothing new is accepted there',
    least: 1,
    most: 1,
    run: (play, _c, [port]) => {
      const { listeners } = play.rig.host.tcp;
      listeners.remove(listeners.find(HOST, Number(port)) ?? play.fail(`nobody listens on port ${port}`));
      return undefined;
    },
  },
  accept: {
    usage: 'accept(): the listener was given the connection',
    least: 0,
    most: 0,
    run: (play, c) => {
      if (!c.events.includes('established'))
        play.fail('there is no connection to accept', [`state  ${play.stateOf(c)}`]);
      if (c.accepted) play.fail('this connection was accepted before');
      c.accepted = true;
      return undefined;
    },
  },
  connect: {
    usage: 'connect(80), connect(80, 5555): port of the peer, local port; = 0, or = -1 when it is refused',
    least: 1,
    most: 2,
    returns: true,
    run: (play, c, [port, local]) => {
      const tcb = play.rig.host.tcp.connect(HOST, Number(local ?? 0), PEER, Number(port), play.owner, 0);
      if (tcb === null) return -1;
      c.hostPort = tcb.lport;
      c.peerPort = Number(port);
      c.tcb = tcb;
      c.written.length = 0;
      return 0;
    },
  },
  read: {
    usage: 'read(1000) = 1000, or read(5) = "hello"',
    least: 1,
    most: 1,
    returns: true,
    run: (play, c, [max]) => read(play, c, Number(max)),
  },
  write: {
    usage: 'write(1000) = 1000, or write("hello") = 5',
    least: 1,
    most: 1,
    returns: true,
    run: (play, c, [what]) => write(play, c, what!),
  },
  shutdown: {
    usage: 'shutdown(): nothing more will be sent',
    least: 0,
    most: 0,
    run: (play, c) => {
      sock.shutdown(play.rig.host.tcp, live(play, c));
      return undefined;
    },
  },
  close: {
    usage: 'close()',
    least: 0,
    most: 0,
    run: (play, c) => {
      sock.close(play.rig.host.tcp, live(play, c));
      return undefined;
    },
  },
  abort: {
    usage: 'abort()',
    least: 0,
    most: 0,
    run: (play, c) => {
      sock.abort(play.rig.host.tcp, live(play, c));
      return undefined;
    },
  },
  keepalive: {
    usage: 'keepalive(60000, 15000, 4): ms of silence before the first probe, ms between probes, unanswered ones',
    least: 3,
    most: 3,
    run: (play, c, args) => {
      const [idleMs, intervalMs, count] = args.map(Number) as [number, number, number];
      sock.keepAlive(play.rig.host.tcp, live(play, c), { idleMs, intervalMs, count });
      return undefined;
    },
  },
};

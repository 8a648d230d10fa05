/**
 * Opens a link of kind pcap: starts the process that has libpcap (pcap-carrier.ts), waits for its answer, and says in one line what to
 * do when there is no link. Runs in the main thread; what it returns is plain data, and the worker makes a PcapDevice of it.
 *
 * A shell sees to it that there is such a process for as long as tsvs wants one and lives: it keeps the rights that opening an
 * interface takes when tsvs gives its own up, and does nothing else.
 */
import { type ChildProcess, spawn } from 'node:child_process';
import { fileURLToPath } from 'node:url';
import type { Account } from '../privileges/account.ts';
import { askingSocket, checkInterfaceName, InterfaceQuery } from './ifreq.ts';
import { AGAIN, FIRST, NO_CAP, READY, RECORD_MAX, SOCKET } from './pcap-record.ts';
import {
  errnoName,
  LinkError,
  MSG_DONTWAIT,
  NativeBytes,
  O_CLOEXEC,
  O_NONBLOCK,
  POLLIN,
  SO_RCVBUFFORCE,
  SO_SNDBUFFORCE,
  SOL_SOCKET,
  type Syscalls,
  syscalls,
} from './syscall.ts';

export interface PcapOptions {
  /** An interface of the system, 1..15 characters. */
  readonly name: string;
  /** Whom the process becomes once the interface is open; null = it stays who tsvs is now. */
  readonly account: Account | null;
}

/** An open link, as it travels to the worker thread. */
export interface PcapHandle {
  readonly name: string;
  /** Our end of the socket, not blocking. */
  readonly fd: number;
  /** MTU of the interface in bytes, as it was when the link was opened. */
  readonly mtu: number;
  /** Of the interface, six bytes. */
  readonly mac: readonly number[];
}

const AF_UNIX = 1;
const SOCK_SEQPACKET = 5;
/** Bytes of frames on their way, each way, as the kernel counts them: about 768 for a small one. */
const SOCKET_BYTES = 4 << 20;
const ANSWER_MS = 10_000;

/** $PPID is tsvs. */
const SHELL = `ulimit -c 0
trap '' INT TERM HUP
"$0" "$1" ${FIRST} "$2" "$3" "$4" || while kill -0 $PPID && sleep 0.1 && ! "$0" "$1" ${AGAIN} "$2" "$3" "$4"; do :; done`;

/** `program`: what the process runs, dist/pcap.js. Throws a LinkError that says what to do. */
export function openPcap(
  { name, account }: PcapOptions,
  program: URL = new URL('./pcap.js', import.meta.url),
): PcapHandle {
  checkInterfaceName('pcap', name);
  const sys = syscalls();
  const found = describe(sys, name);
  const [ours, theirs] = socketPair(sys, name);
  const shell = start([fileURLToPath(program), name, ...(account === null ? [] : [account.uid, account.gid])], theirs);
  sys.close(theirs);
  const answer = answerOf(sys, ours);
  if (answer === READY) return { name, fd: ours, ...found };
  shell.kill('SIGKILL');
  sys.close(ours);
  throw openError(name, answer);
}

function start(words: readonly (string | number)[], theirs: number): ChildProcess {
  const stdio: ('ignore' | number)[] = ['ignore', 'ignore', 'ignore'];
  stdio[SOCKET] = theirs;
  // In a session of its own, so that no terminal ends it before tsvs has sent its last frame.
  const shell = spawn('/bin/sh', ['-c', SHELL, process.execPath, ...words.map(String)], { stdio, detached: true });
  shell.on('error', () => {});
  shell.unref();
  return shell;
}

function describe(sys: Syscalls, name: string): { mtu: number; mac: number[] } {
  const socket = askingSocket(sys);
  const query = new InterfaceQuery(sys, socket, name);
  const found = { mtu: query.mtu(), mac: query.mac() };
  sys.close(socket);
  if (found.mtu >= 0) return found;
  throw new LinkError('ENODEV', `pcap ${name}: there is no interface ${name}: 'ip link' lists those there are`);
}

function socketPair(sys: Syscalls, name: string): [ours: number, theirs: number] {
  const both = new NativeBytes(sys, 8);
  if (sys.socketpair(AF_UNIX, SOCK_SEQPACKET | O_NONBLOCK | O_CLOEXEC, 0, both.address) < 0) {
    const code = errnoName(sys.errno());
    throw new LinkError(code, `pcap ${name}: cannot make a pair of sockets (${code})`);
  }
  const [ours = -1, theirs = -1] = both.i32;
  const size = new NativeBytes(sys, 4);
  size.i32[0] = SOCKET_BYTES;
  for (const fd of [ours, theirs]) {
    for (const option of [SO_RCVBUFFORCE, SO_SNDBUFFORCE]) sys.setsockopt(fd, SOL_SOCKET, option, size.address, 4);
  }
  return [ours, theirs];
}

/** The first record, or why there is none. */
function answerOf(sys: Syscalls, fd: number): string {
  // struct pollfd: fd i32, events u16, revents u16.
  const wait = new NativeBytes(sys, 8);
  wait.i32[0] = fd;
  wait.u16[2] = POLLIN;
  const text = new NativeBytes(sys, RECORD_MAX);
  const deadline = performance.now() + ANSWER_MS;
  let ready = -1;
  // A signal, such as that of another child's end, interrupts it.
  while (ready < 0) ready = sys.poll(wait.address, 1, Math.max(Math.ceil(deadline - performance.now()), 0));
  if (ready === 0) return `no answer within ${ANSWER_MS / 1000} seconds`;
  const length = sys.recv(fd, text.address, RECORD_MAX, MSG_DONTWAIT);
  return length > 0 ? Buffer.from(text.u8.slice(0, length)).toString() : 'its process has ended without a word';
}

function openError(name: string, answer: string): LinkError {
  const why = answer.replaceAll(/\s+/g, ' ').trim();
  if (answer.startsWith(NO_CAP)) {
    return new LinkError(
      NO_CAP,
      `pcap ${name}: the optional package cap is not there (${why.slice(NO_CAP.length + 1)}): install what it is built with (on Debian: libpcap-dev, g++, make, python3), then the npm packages again (npm ci)`,
    );
  }
  if (/permi/i.test(answer)) {
    return new LinkError(
      'EPERM',
      `pcap ${name}: no permission to capture (${why}): run with sudo, or give the container '--cap-add NET_RAW'`,
    );
  }
  return new LinkError('PCAP', `pcap ${name}: libpcap cannot open it: ${why}`);
}

/**
 * The process that holds libpcap for a link of kind pcap, by the package `cap`. What the interface brings goes to tsvs over a socket
 * (pcap-record.ts), what comes from there is sent. A process of its own, because the package works in the first thread of a
 * process only, by callbacks of its event loop, and aborts the process when the interface is set down or deleted (an assertion of
 * its). pcap-open.ts sees to it that another one takes its place.
 *
 * Words: FIRST or AGAIN, the interface, and the user and group to become once it is open, if any. The process ends with 0 when there
 * is nothing to carry any more: tsvs has closed its end, or there is no link, and it has been told why. Otherwise it is replaced.
 */
import { createRequire } from 'node:module';
import type { Account } from '../privileges/account.ts';
import { dropPrivileges } from '../privileges/drop.ts';
import { askingSocket, InterfaceQuery } from './ifreq.ts';
import { AF_PACKET, ignoreOutgoing, SOCK_RAW_NONBLOCK } from './packet-open.ts';
import { droppedSince, STATISTICS_BYTES } from './packet-statistics.ts';
import { AWAY, FAILED, FIRST, NO_CAP, OPEN, READY, RECORD_MAX, REPORT_BYTES, SOCKET } from './pcap-record.ts';
import { MSG_DONTWAIT, NativeBytes, SO_SNDBUFFORCE, SOL_SOCKET, type Syscalls, syscalls } from './syscall.ts';

type Koffi = typeof import('koffi');

/** What is used of the package `cap`. */
interface Capture {
  /** Received frames are put into `buffer`, one after the other. Returns what kind of frames they are. */
  open(device: string, filter: string, ringBytes: number, buffer: Buffer): string;
  send(buffer: Buffer, length: number): void;
  on(event: 'packet', listener: (length: number, truncated: boolean) => void): void;
}
type Cap = new () => Capture;

/** For kernels that cannot leave out what leaves by the interface: libpcap then loses the first frame, which it looks at itself. */
const FILTER = 'inbound';
/** Bytes of frames that wait in the kernel; with offloads on libpcap counts 64 KB for each. */
const RING_BYTES = 32 << 20;
/** Bytes sent that the interface has not let go of. */
const SEND_BUFFER = 4 << 20;
const LOOK_MS = 100;
/** After so long an interface that was full is tried again. */
const FULL_MS = 1;
/** After so long an interface that could not be opened is tried again, by another process. */
const FAILED_MS = 1000;
/** Frames sent at once, and frames received until it is looked whether there are some to send. */
const BURST = 32;
/** What libpcap says of EAGAIN, the only error that passes by itself. */
const FULL = /temporarily unavailable/;
/** Where to look for libpcap's socket. */
const DESCRIPTORS = 64;

const require = createRequire(import.meta.url);

export function carry([turn = '', device = '', uid = '', gid = '']: readonly string[]): void {
  // tsvs decides when to end, also when a terminal or a service manager tells all its processes.
  for (const signal of ['SIGINT', 'SIGTERM', 'SIGHUP'] as const) process.on(signal, () => {});
  const sys = syscalls();
  const account = uid === '' ? null : { uid: Number(uid), gid: Number(gid) };
  let carrier: Carrier;
  try {
    carrier = new Carrier(sys, device, account);
    if (turn === FIRST) carrier.open();
  } catch (error) {
    if (turn === FIRST) tell(sys, (error as Error).message);
    process.exit(0);
  }
  if (turn === FIRST) tell(sys, READY);
  else carrier.tellState();
  carrier.begin();
}

/** The first record: READY, or what is wrong. */
function tell(sys: Syscalls, words: string): void {
  const bytes = Buffer.from(words);
  sys.sendto(SOCKET, sys.addressOf(bytes), bytes.length, MSG_DONTWAIT, 0, 0);
}

/** Throws what the interface tells whose package is missing. */
function loadCap(): Cap {
  try {
    return (require('cap') as { Cap: Cap }).Cap;
  } catch (error) {
    throw new Error(`${NO_CAP} ${(error as Error).message.split('\n')[0]}`);
  }
}

function knowsOutgoing(sys: Syscalls): boolean {
  const fd = sys.socket(AF_PACKET, SOCK_RAW_NONBLOCK, 0);
  const knows = ignoreOutgoing(sys, fd);
  sys.close(fd);
  return knows;
}

class Carrier {
  private readonly sys: Syscalls;
  private readonly device: string;
  private readonly account: Account | null;
  private readonly capture: Capture;
  private readonly query: InterfaceQuery;
  private readonly incoming = Buffer.alloc(RECORD_MAX);
  private readonly outgoing = Buffer.alloc(RECORD_MAX);
  private readonly inAddress: number;
  private readonly outAddress: number;
  private readonly report: NativeBytes;
  private readonly statistics: NativeBytes;
  private readonly poll: ReturnType<Koffi['node']['poll']>;
  /** Of the interface that is open; -1 = none. */
  private index = -1;
  /** libpcap's socket. */
  private fd = -1;
  private state = AWAY;
  /** Not reported yet. */
  private lost = 0;
  private refused = 0;
  private received = 0;
  /** A frame waits for the interface to have room. */
  private full = false;

  /** Throws when the package is not there. */
  constructor(sys: Syscalls, device: string, account: Account | null) {
    this.sys = sys;
    this.device = device;
    this.account = account;
    this.capture = new (loadCap())();
    this.query = new InterfaceQuery(sys, askingSocket(sys), device);
    this.inAddress = sys.addressOf(this.incoming);
    this.outAddress = sys.addressOf(this.outgoing);
    this.report = new NativeBytes(sys, REPORT_BYTES);
    this.statistics = new NativeBytes(sys, STATISTICS_BYTES);
    const koffi = require('koffi') as Koffi;
    this.poll = koffi.node.poll(SOCKET, { readable: true }, this.pumpWhenReadable);
  }

  /** Carries on for as long as tsvs wants it. */
  begin(): void {
    if (this.state === AWAY) this.seek();
    setInterval(() => this.look(), LOOK_MS);
  }

  private readonly pumpWhenReadable = (): void => this.pump();

  /** Opens the interface if it is there and set up, and gives up the rights that took. Throws what libpcap says. */
  open(): void {
    const { sys, query, capture } = this;
    if (!query.isSetUp()) return;
    this.index = query.index();
    capture.on('packet', (length, truncated) => this.receive(length, truncated));
    const filter = knowsOutgoing(sys) ? '' : FILTER;
    const kind = capture.open(this.device, filter, RING_BYTES, this.incoming);
    if (kind !== 'ETHERNET') throw new Error(`its frames are of type ${kind}, not ETHERNET`);
    for (let fd = SOCKET + 1; fd < DESCRIPTORS && this.fd < 0; fd++) {
      if (droppedSince(sys, fd, this.statistics) >= 0) this.fd = fd;
    }
    if (this.fd < 0) throw new Error('its socket is not to be found');
    // What leaves by the interface, our own frames included, is not for us.
    ignoreOutgoing(sys, this.fd);
    const size = new NativeBytes(sys, 4);
    size.i32[0] = SEND_BUFFER;
    sys.setsockopt(this.fd, SOL_SOCKET, SO_SNDBUFFORCE, size.address, 4);
    if (this.account !== null) dropPrivileges(this.account);
    this.state = OPEN;
  }

  /** Ten times a second: is the interface the one that is open, and what was lost? */
  private look(): void {
    // A socket in error is not polled any more.
    this.pump();
    if (this.state === AWAY) this.seek();
    if (this.state !== OPEN) return;
    if (this.query.index() !== this.index) process.exit(1);
    const dropped = droppedSince(this.sys, this.fd, this.statistics);
    if (dropped > 0) this.lost += dropped;
    if (this.lost + this.refused > 0) this.tellState();
  }

  /** Opens the interface once it can be. After a failure the package is not fit for another try. */
  seek(): void {
    try {
      this.open();
    } catch {
      this.state = FAILED;
      setTimeout(() => process.exit(1), FAILED_MS);
    }
    this.tellState();
  }

  tellState(): void {
    const { sys, report } = this;
    report.i32.set([this.state, this.lost, this.refused]);
    if (sys.sendto(SOCKET, report.address, REPORT_BYTES, MSG_DONTWAIT, 0, 0) < 0) return;
    this.lost = 0;
    this.refused = 0;
  }

  private receive(length: number, truncated: boolean): void {
    if (truncated || this.sys.sendto(SOCKET, this.inAddress, length, MSG_DONTWAIT, 0, 0) < 0) this.lost++;
    // While frames keep coming nobody else has a turn.
    if (++this.received % BURST === 0) this.pump();
  }

  /** Sends what tsvs has for the interface. */
  private pump(): void {
    for (let i = 0; i < BURST && !this.full; i++) {
      const length = this.sys.recv(SOCKET, this.outAddress, RECORD_MAX, MSG_DONTWAIT);
      if (length === 0) process.exit(0);
      if (length < 0) return;
      this.send(length);
    }
  }

  private send(length: number): void {
    try {
      if (this.state === OPEN) this.capture.send(this.outgoing, length);
      else this.refused++;
    } catch (error) {
      if (FULL.test((error as Error).message)) {
        this.sendLater(length);
        return;
      }
      this.refused++;
    }
    if (this.full) this.poll.start({ readable: true }, this.pumpWhenReadable);
    this.full = false;
  }

  private sendLater(length: number): void {
    if (!this.full) this.poll.stop();
    this.full = true;
    setTimeout(() => this.send(length), FULL_MS);
  }
}

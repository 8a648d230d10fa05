/**
 * A flood of UDP datagrams of 18 bytes, which make frames of the least size there is, from 16 ports in turn: 64 with each
 * system call, so that the language costs nothing beside the kernel. Bundled beside main.ts, and run by `udp` of
 * lab-workloads.ts.
 *
 * Usage: node udp-flood.mjs ADDRESS PORT SECONDS
 * Ends when the time is over or MOST_PER_S is reached, and prints {"sent":N,"seconds":S}.
 */
import { MMSG_BYTES, setMessage } from '../../src/links/packet-messages.ts';
import { NativeBytes, syscalls } from '../../src/links/syscall.ts';

const AF_INET = 2;
const SOCK_DGRAM = 2;
const SOCKADDR_IN = 16;
const FLOWS = 16;
const BATCH = 64;
const PAYLOAD = 18;
/** Far beyond what a kernel sends from one processor: a bound for when everything is thrown away early. */
const MOST_PER_S = 5_000_000;

const [address = '', port, seconds] = process.argv.slice(2);
const sys = syscalls();

/** struct sockaddr_in: family in the machine's order, port and address in the network's. */
function destination(): NativeBytes {
  const bytes = new NativeBytes(sys, SOCKADDR_IN);
  bytes.u16[0] = AF_INET;
  bytes.u8.set([Number(port) >> 8, Number(port) & 255, ...address.split('.').map(Number)], 2);
  return bytes;
}

function open(to: NativeBytes): number {
  const fd = sys.socket(AF_INET, SOCK_DGRAM, 0);
  if (fd < 0 || sys.connect(fd, to.address, SOCKADDR_IN) < 0) throw new Error(`no socket: errno ${sys.errno()}`);
  return fd;
}

const to = destination();
const sockets = Array.from({ length: FLOWS }, () => open(to));
const IOV = BATCH * MMSG_BYTES;
const DATA = IOV + 16;
const messages = new NativeBytes(sys, DATA + PAYLOAD);
messages.set64(IOV, messages.address + DATA);
messages.set64(IOV + 8, PAYLOAD);
for (let i = 0; i < BATCH; i++) setMessage(messages, i * MMSG_BYTES, IOV, 1);

const most = MOST_PER_S * Number(seconds);
const began = performance.now();
const end = began + Number(seconds) * 1000;
let sent = 0;
// A full queue on the way refuses a batch; that is the flood's nature, and the time still ends it.
for (let i = 0; sent < most && performance.now() < end; i = (i + 1) % FLOWS)
  sent += Math.max(sys.sendmmsg(sockets[i]!, messages.address, BATCH, 0), 0);
console.log(JSON.stringify({ sent, seconds: (performance.now() - began) / 1000 }));

/**
 * Opens AF_XDP: loads and attaches the program (xdp-program.ts), and makes a socket (xdp-socket.ts) for every receive queue of the
 * interface. Queues belong to the workers in turn. The program and the maps are worker 0's; the maps outlive the interface, so a worker
 * that opens its sockets anew asks nobody. (A frame can only be given to a socket on the queue it came by, and a socket's memory is the pool
 * of one worker: the program has no choice of workers.)
 *
 * Called in the main thread, and by the workers for an interface that was created anew; what it returns is plain data.
 */
import { existsSync, readdirSync } from 'node:fs';
import type { XdpMode } from '../config/model.ts';
import { Bpf, MAP_HASH, MAP_XSK, XDP_GENERIC, XDP_NATIVE } from './bpf.ts';
import { askingSocket, checkInterfaceName, InterfaceQuery } from './ifreq.ts';
import { AF_PACKET, letIn } from './packet-open.ts';
import { EBUSY, errnoName, LinkError, type Syscalls, syscalls } from './syscall.ts';
import { xdpProgram } from './xdp-program.ts';
import { closeQueue, openQueue, SOCK_RAW_CLOEXEC, type Umem, type XdpQueueHandle } from './xdp-socket.ts';

export interface XdpOptions {
  /** An interface of the system, 1..15 characters. */
  readonly name: string;
  /** Our MAC address, six bytes; null = that of the interface. With another one, everything sent to it is ours. */
  readonly mac: readonly number[] | null;
  /** `native` in the driver, `generic` behind it, `auto` whichever works, native first. */
  readonly mode: XdpMode;
}

/** The memory of a worker, and a socket that has it registered already, which others share; -1 = none. */
export interface XdpPlace {
  readonly umem: Umem;
  readonly share: number;
}

/** What is open for one worker, as it travels to it. */
export interface XdpHandle {
  readonly options: XdpOptions;
  readonly mac: readonly number[];
  readonly mtu: number;
  /** Of the interface. */
  readonly index: number;
  readonly native: boolean;
  /** Of so many that have queues. */
  readonly worker: number;
  readonly workers: number;
  /** Empty while the interface is away. */
  readonly queues: readonly XdpQueueHandle[];
  /** How many there were at first. */
  readonly most: number;
  /** Descriptors: the maps of our addresses and of sockets by queue, common to all; and with worker 0 those that are only to be closed. */
  readonly addresses: number;
  readonly sockets: number;
  readonly others: readonly number[];
}

const MAX_ADDRESSES = 4096;
const MAX_QUEUES = 64;

/** The kernel lets go of a closed socket's queue a moment later: attempts, and what lies between them, in ms. */
export const PATIENT = 50;
const BETWEEN_MS = 20;

/**
 * Opens an interface for the workers whose memory is `places`; a handle for each that has a queue, which are the first ones. Throws a
 * LinkError that says what to do. `attempts`: how often to try while something else has a queue, which blocks the thread meanwhile.
 */
export const openXdp = (options: XdpOptions, places: readonly XdpPlace[], attempts = 1): XdpHandle[] =>
  patiently(attempts, () => explained(options.name, () => openOnce(options, places)));

function patiently<T>(attempts: number, body: () => T): T {
  for (let n = 1; ; n++) {
    try {
      return body();
    } catch (error) {
      if (n >= attempts || !(error instanceof LinkError) || error.code !== 'EBUSY') throw error;
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, BETWEEN_MS);
    }
  }
}

function openOnce(options: XdpOptions, places: readonly XdpPlace[]): XdpHandle[] {
  const { name } = options;
  checkInterfaceName('xdp', name);
  const sys = syscalls();
  const bpf = new Bpf(sys);
  const addresses = bpf.createMap(MAP_HASH, MAX_ADDRESSES);
  const sockets = bpf.createMap(MAP_XSK, MAX_QUEUES);
  const handles: XdpHandle[] = [];
  try {
    const found = look(sys, name);
    const { index, mtu } = found;
    const mac = options.mac ?? found.mac;
    const workers = Math.min(places.length, found.queues);
    const common = { options, mac, mtu, index, workers, addresses, sockets };
    const { native, others } = attachProgram(sys, { ...common }, found.mac);
    handles.push({ ...common, native, worker: 0, queues: [], most: 0, others });
    for (let worker = 0; worker < workers; worker++) {
      const at = { ...common, native, worker };
      const queues = openQueues(sys, at, found.queues, places[worker]!);
      handles[worker] = { ...at, queues, most: queues.length, others: worker === 0 ? others : [] };
    }
    return handles;
  } catch (error) {
    for (const handle of handles) releaseXdp(handle);
    for (const map of [addresses, sockets]) sys.close(map);
    throw error;
  }
}

/** By a worker, for an interface that was created anew: what of it is that worker's. Throws a LinkError that says what to do. */
export function reopenXdp(handle: XdpHandle, umem: Umem): XdpHandle {
  const { options, worker } = handle;
  return explained(options.name, () => {
    const sys = syscalls();
    const { index, mac, queues: count } = look(sys, options.name);
    const { native, others } =
      worker === 0 ? attachProgram(sys, { ...handle, index }, mac) : { native: handle.native, others: [] };
    const opened = { ...handle, index, native, others, queues: [] };
    try {
      return { ...opened, queues: openQueues(sys, opened, count, { umem, share: -1 }) };
    } catch (error) {
      releaseXdp(opened);
      throw error;
    }
  });
}

/**
 * In the main thread: what a worker goes on with after one has died that drove this. Its sockets are opened anew; the program stays, and so
 * does what the others have. Of an interface that is away nothing is open.
 */
export function takeOverXdp(handle: XdpHandle, umem: Umem): XdpHandle {
  const { options, index } = handle;
  if (handle.queues.length === 0) return handle;
  const sys = syscalls();
  for (const queue of handle.queues) closeQueue(sys, queue);
  const closed = { ...handle, queues: [] };
  try {
    return patiently(PATIENT, () =>
      explained(options.name, () => {
        const found = look(sys, options.name);
        if (found.index !== index) throw openError(options.name, 'ENODEV');
        return { ...closed, queues: openQueues(sys, closed, found.queues, { umem, share: -1 }) };
      }),
    );
  } catch (error) {
    if (!(error instanceof LinkError)) throw error;
    releaseXdp(closed);
    return { ...closed, others: [] };
  }
}

/** Closes a worker's sockets, and the program where it is worker 0. Nobody may touch the rings afterwards. */
export function releaseXdp({ queues, others }: XdpHandle): void {
  const sys = syscalls();
  for (const queue of queues) closeQueue(sys, queue);
  for (const fd of others) sys.close(fd);
}

/** By worker 0, at the end: what all have in common. */
export function closeMaps({ addresses, sockets }: XdpHandle): void {
  for (const map of [addresses, sockets]) syscalls().close(map);
}

interface Found {
  readonly index: number;
  readonly mac: readonly number[];
  readonly mtu: number;
  /** Receive queues. */
  readonly queues: number;
}

function look(sys: Syscalls, name: string): Found {
  const socket = askingSocket(sys);
  const query = new InterfaceQuery(sys, socket, name);
  const [index, mac, mtu] = [query.index(), query.mac(), query.mtu()];
  const queues = Math.min(query.rxQueues() || listedQueues(name), MAX_QUEUES);
  if (socket >= 0) sys.close(socket);
  if (index < 0) throw openError(name, 'ENODEV');
  return { index, mac, mtu, queues };
}

/** Loads and attaches the program; `own` is the interface's MAC address. */
function attachProgram(
  sys: Syscalls,
  { options, mac, index, addresses, sockets }: Omit<XdpHandle, 'native' | 'worker' | 'queues' | 'most' | 'others'>,
  own: readonly number[],
): Pick<XdpHandle, 'native' | 'others'> {
  const bpf = new Bpf(sys);
  const others: number[] = [];
  const other = mac.some((byte, i) => byte !== own[i]);
  try {
    const program = keep(others, bpf.loadXdp(xdpProgram(addresses, sockets, other ? mac : null)));
    const { link, native } = attach(sys, bpf, program, index, options.name, options.mode);
    others.push(link);
    if (other) {
      // A packet socket of no protocol receives nothing; it has the interface let our address in.
      const filter = keep(others, sys.socket(AF_PACKET, SOCK_RAW_CLOEXEC, 0));
      if (filter >= 0) letIn(sys, filter, index, mac);
    }
    return { native, others };
  } catch (error) {
    for (const fd of others) sys.close(fd);
    throw error;
  }
}

/** The sockets of a worker, on its queues of `count`: they belong to the workers in turn. The program gives them what comes there. */
function openQueues(
  sys: Syscalls,
  { index, worker, workers, sockets }: Pick<XdpHandle, 'index' | 'worker' | 'workers' | 'sockets'>,
  count: number,
  { umem, share }: XdpPlace,
): XdpQueueHandle[] {
  const bpf = new Bpf(sys);
  const queues: XdpQueueHandle[] = [];
  try {
    for (let queue = worker; queue < count; queue += workers) {
      const made = openQueue(sys, index, queue, umem, queues[0]?.fd ?? share);
      queues.push(made);
      bpf.setEntry(sockets, queue, made.fd);
    }
    return queues;
  } catch (error) {
    for (const queue of queues) closeQueue(sys, queue);
    throw error;
  }
}

/** Runs `body`; its errors say of which interface they are, and what to do. */
function explained<T>(name: string, body: () => T): T {
  try {
    return body();
  } catch (error) {
    if (!(error instanceof LinkError) || error.message.startsWith('xdp')) throw error;
    throw openError(name, error.code, error.message.replace(/ \(\w+\)$/, ''));
  }
}

function keep(opened: number[], fd: number): number {
  if (fd >= 0) opened.push(fd);
  return fd;
}

function attach(
  sys: Syscalls,
  bpf: Bpf,
  program: number,
  index: number,
  name: string,
  mode: XdpMode,
): { link: number; native: boolean } {
  const errors: string[] = [];
  for (const native of [true, false]) {
    if (mode === (native ? 'generic' : 'native')) continue;
    const link = bpf.attachXdp(program, index, native ? XDP_NATIVE : XDP_GENERIC);
    if (link >= 0) return { link, native };
    const errno = sys.errno();
    errors.push(errnoName(errno));
    if (errno === EBUSY) throw openError(name, errnoName(errno));
  }
  throw openError(
    name,
    errors[0]!,
    `${mode === 'auto' ? 'neither native nor generic XDP' : `${mode} XDP`} is possible`,
  );
}

/** Receive queues of an interface whose driver does not tell; 1 where the system does not either. */
function listedQueues(name: string): number {
  const folder = `/sys/class/net/${name}/queues`;
  if (!existsSync(folder)) return 1;
  return Math.max(readdirSync(folder).filter((queue) => queue.startsWith('rx-')).length, 1);
}

function openError(name: string, code: string, what = ''): LinkError {
  const said = what === '' ? '' : ` ${what}:`;
  const hint = HINTS[code] ?? 'try packet:NAME instead';
  return new LinkError(code, `xdp ${name}:${said} ${hint.replaceAll('NAME', name)} (${code})`);
}

const PERMISSION =
  "no permission: run with sudo, or give the container '--cap-add NET_ADMIN --cap-add BPF --cap-add NET_RAW --cap-add IPC_LOCK'";
const HINTS: Readonly<Record<string, string>> = {
  EPERM: PERMISSION,
  EACCES: PERMISSION,
  ENODEV: "there is no interface NAME: 'ip link' lists those there are",
  EBUSY: "another XDP program or socket has it: 'ip link set NAME xdp off' removes a program",
};

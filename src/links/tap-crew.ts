/**
 * The queues of one TAP, one for each worker. Their order is that in which they were attached, and it has to be that of the workers, as the
 * steering program (tap-steering.ts) gives the number of one. So when the interface is deleted and created again, they attach to it
 * one after the other; the last one gives it the program.
 *
 * Words that all share, by which they know whose turn it is and where a worker's queue is now: the interface's index, how many
 * have attached to that one, and the descriptor of each, plus one; 0 = none.
 */

import { errnoName, LinkError, type Syscalls, syscalls } from './syscall.ts';
import { closeTap, openTap, type TapHandle, type TapOptions, type TapSeat } from './tap-open.ts';
import { loadSteering, steer } from './tap-steering.ts';

const INTERFACE = 0;
const ATTACHED = 1;
const DESCRIPTORS = 2;

/**
 * One queue for each of `size` workers. A TAP that exists and has one queue only gives one handle. Throws a LinkError that says what
 * to do.
 */
export function openTapQueues(options: TapOptions, size: number): TapHandle[] {
  const sys = syscalls();
  const handles: TapHandle[] = [];
  try {
    for (let i = 0; i < size; i++) handles.push(openTap(options, true));
  } catch (error) {
    for (const handle of handles) closeTap(handle);
    if (handles.length === 0 && (error as LinkError).code === 'EINVAL') return [openTap(options)];
    throw error;
  }
  const memory = new SharedArrayBuffer((DESCRIPTORS + size) * 4);
  const words = new Int32Array(memory);
  words[INTERFACE] = handles[0]!.index;
  words[ATTACHED] = size;
  handles.forEach(({ fd }, i) => {
    words[DESCRIPTORS + i] = fd + 1;
  });
  const steering = trySteering(sys, handles[0]!.fd, size);
  return handles.map((handle, index) => ({ ...handle, seat: { index, size, memory, ...steering } }));
}

function trySteering(sys: Syscalls, fd: number, size: number): Pick<TapSeat, 'program' | 'refusal'> {
  try {
    const program = loadSteering(sys, size);
    return steer(sys, fd, program)
      ? { program, refusal: '' }
      : { program: -1, refusal: `TUNSETSTEERINGEBPF (${errnoName(sys.errno())})` };
  } catch (error) {
    if (!(error instanceof LinkError)) throw error;
    return { program: -1, refusal: error.message };
  }
}

export class TapCrew {
  private readonly seat: TapSeat;
  private readonly words: Int32Array;

  constructor(seat: TapSeat) {
    this.seat = seat;
    this.words = new Int32Array(seat.memory);
  }

  /** The descriptor of our queue: another one than at the start where the interface was lost meanwhile; -1 = none. */
  get fd(): number {
    return Atomics.load(this.words, DESCRIPTORS + this.seat.index) - 1;
  }

  /** What to tell an operator, '' = nothing. */
  get notice(): string {
    const { index, refusal } = this.seat;
    if (index !== 0 || refusal === '') return '';
    return `the kernel takes no steering program, so more frames change over between workers: ${refusal}`;
  }

  lost(): void {
    Atomics.store(this.words, DESCRIPTORS + this.seat.index, 0);
  }

  /** Whether all before us have attached to this interface. */
  isOurTurn(index: number): boolean {
    const { words } = this;
    const attached = Atomics.load(words, INTERFACE) === index ? Atomics.load(words, ATTACHED) : 0;
    return attached === this.seat.index;
  }

  attached(sys: Syscalls, index: number, fd: number): void {
    const { words, seat } = this;
    Atomics.store(words, DESCRIPTORS + seat.index, fd + 1);
    Atomics.store(words, ATTACHED, seat.index + 1);
    Atomics.store(words, INTERFACE, index);
    if (seat.program >= 0 && seat.index === seat.size - 1) steer(sys, fd, seat.program);
  }
}

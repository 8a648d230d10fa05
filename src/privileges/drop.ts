/**
 * Gives up what the process was given, for good, on every thread; of capabilities, this thread and later ones may keep some.
 *
 * | what                        | how                                      | on which threads                                   |
 * | --------------------------- | ---------------------------------------- | -------------------------------------------------- |
 * | groups, gid, uid            | setgroups, setgid, setuid of the C library | all: it has each thread do it (nptl(7))          |
 * | capabilities, ambient too   | the kernel clears them with the uid, but for ours where some are kept | all                   |
 * | the others, where some are kept; all of who was no root | capset       | ours and all that begin later                      |
 * | no new privileges           | prctl, then an empty seccomp filter with TSYNC | all                                          |
 * | bounding set                | prctl                                    | ours and all that begin later                      |
 *
 * The bounding set belongs to a thread and nothing changes another's. Threads of the JavaScript engine that were there
 * before keep theirs, which says what a program started by them could gain; with no new privileges that is nothing.
 *
 * To be called in the main thread once the devices are open, and before the worker thread begins: that inherits all of it.
 */
import { errnoName, NativeBytes, syscalls } from '../links/syscall.ts';
import { type Account, PrivilegeError } from './account.ts';
import { limitCapabilities } from './capabilities.ts';

/** prctl(2) */
const PR_CAPBSET_READ = 23;
const PR_CAPBSET_DROP = 24;
const PR_SET_NO_NEW_PRIVS = 38;
const PR_CAP_AMBIENT = 47;
const PR_CAP_AMBIENT_CLEAR_ALL = 4;
const PR_SET_KEEPCAPS = 8;
const MAX_CAPS = 64;

/** seccomp(2) has no function in the C library. */
const SYS_SECCOMP: Readonly<Record<string, number>> = { x64: 317, arm64: 277 };
const SECCOMP_SET_MODE_FILTER = 1;
const SECCOMP_FILTER_FLAG_TSYNC = 1;
/** One instruction, BPF_RET | BPF_K with SECCOMP_RET_ALLOW: {u16 code, u8 jt, u8 jf, u32 k}. */
const BPF_RET = 0x06;
const SECCOMP_RET_ALLOW = 0x7fff0000;

/**
 * `keep`: capabilities that this thread and those it starts keep, as far as it has them; the result has those. Throws PrivilegeError;
 * the process had better end then, for it may have given up a part.
 */
export function dropPrivileges({ uid, gid }: Account, keep: readonly number[] = []): number[] {
  const wasRoot = process.geteuid!() === 0;
  if (wasRoot) dropBoundingSet();
  const sys = syscalls();
  const keepCaps = (on: boolean): boolean => sys.prctl(PR_SET_KEEPCAPS, on ? 1 : 0, 0, 0, 0) === 0;
  // This thread's: all others lose theirs with the uid.
  demand(keepCaps(keep.length > 0), 'keep capabilities');
  become(uid, gid);
  demand(keepCaps(false), 'keep no more capabilities');
  demand(sys.prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0) === 0, 'clear the ambient capabilities');
  const kept = limitCapabilities(keep);
  demand(kept !== null, 'give up capabilities');
  gainNothing();
  return kept ?? [];
}

/** All threads. One who is that user already needs no right to become it. */
function become(uid: number, gid: number): void {
  const groups = process.getgroups!();
  const isAlready =
    [process.getuid!(), process.geteuid!()].every((id) => id === uid) &&
    [process.getgid!(), process.getegid!(), ...groups].every((id) => id === gid);
  if (isAlready) return;
  try {
    process.setgroups!([gid]);
    process.setgid!(gid);
    process.setuid!(uid);
  } catch (error) {
    const { code } = error as NodeJS.ErrnoException;
    const hint = code === 'EPERM' ? 'start tsvs as root, or leave user and group out' : 'no such id here';
    throw new PrivilegeError(`cannot become user ${uid}, group ${gid} (${code}): ${hint}`);
  }
}

function dropBoundingSet(): void {
  const sys = syscalls();
  for (let cap = 0; cap < MAX_CAPS && sys.prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++) {
    demand(sys.prctl(PR_CAPBSET_DROP, cap, 0, 0, 0) === 0, 'empty the bounding set of capabilities');
  }
}

/** No program started from here ever has more rights than we: not by setuid bits, nor by capabilities of files. */
function gainNothing(): void {
  const sys = syscalls();
  demand(sys.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) === 0, 'set no_new_privs');
  const number = SYS_SECCOMP[process.arch];
  if (number === undefined) throw new PrivilegeError(`giving up rights is not supported on ${process.arch}`);
  // The filter lets everything pass; that it is synchronised gives every thread no_new_privs as well.
  const filter = new NativeBytes(sys, 8);
  filter.u16[0] = BPF_RET;
  filter.i32[1] = SECCOMP_RET_ALLOW;
  const program = new NativeBytes(sys, 16);
  program.u16[0] = 1;
  program.set64(8, filter.address);
  const done = sys.call(number, SECCOMP_SET_MODE_FILTER, SECCOMP_FILTER_FLAG_TSYNC, program.address, 0, 0, 0) === 0;
  demand(done, 'set no_new_privs on all threads');
}

function demand(done: boolean, what: string): void {
  if (!done) throw new PrivilegeError(`cannot ${what} (${errnoName(syscalls().errno())})`);
}

/** Users and groups by name or number, as the system knows them (getpwnam(3), getgrnam(3)). Called once, at the start. */
import { syscalls } from '../links/syscall.ts';

/** Who the process is to be. */
export interface Account {
  readonly uid: number;
  readonly gid: number;
}

/** A user or group that there is not, or rights that cannot be given up; the message says what to do. */
export class PrivilegeError extends Error {
  constructor(message: string) {
    super(message);
    this.name = 'PrivilegeError';
  }
}

// struct passwd and struct group on 64-bit Linux: two pointers come first, then numbers of 32 bits.
const PASSWD_WORDS = 6;
const PW_UID = 4;
const PW_GID = 5;
const GROUP_WORDS = 5;
const GR_GID = 4;

/** The words of a C struct; null for the address 0. */
function wordsAt(address: number, count: number): Uint32Array | null {
  return address === 0
    ? null
    : new Uint32Array(
        syscalls()
          .view(address, count * 4)
          .slice(0),
      );
}

const isNumber = (text: string): boolean => /^\d+$/.test(text);

/** Throws PrivilegeError. */
export function findGroup(group: string): number {
  if (isNumber(group)) return Number(group);
  const found = wordsAt(syscalls().getgrnam(group), GROUP_WORDS);
  if (found === null) throw new PrivilegeError(`there is no group '${group}': make it (groupadd), or name another`);
  return found[GR_GID]!;
}

/** A user, in this group or else in his own. Throws PrivilegeError. */
export function findAccount(user: string, group: string | null): Account {
  const sys = syscalls();
  const found = wordsAt(isNumber(user) ? sys.getpwuid(Number(user)) : sys.getpwnam(user), PASSWD_WORDS);
  if (found === null && !isNumber(user)) {
    throw new PrivilegeError(`there is no user '${user}': make it (useradd --system ${user}), or name another`);
  }
  if (group !== null) return { uid: found === null ? Number(user) : found[PW_UID]!, gid: findGroup(group) };
  if (found === null) throw new PrivilegeError(`user ${user} has no name here, and so no group: add group = NUMBER`);
  return { uid: found[PW_UID]!, gid: found[PW_GID]! };
}

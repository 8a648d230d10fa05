/**
 * Who tsvs is after its start, as [global] says, and the files that this concerns: the control socket and the access log
 * belong to it, and what it will not be able to do with files is said at once. Used by src/cli/run.ts.
 */
import { accessSync, chownSync, closeSync, constants, fstatSync, openSync, type Stats } from 'node:fs';
import { dirname, resolve } from 'node:path';
import type { GlobalConfig } from '../config/model.ts';
import { type Account, findAccount, findGroup, PrivilegeError } from './account.ts';
import { CAPABILITY_NAMES } from './capabilities.ts';
import { dropPrivileges } from './drop.ts';

/** open(2): a name for the file, and no right to read or write it; Node.js has no constant for it. */
const O_PATH = 0o10000000;

const HINTS: Readonly<Record<string, string>> = {
  ELOOP: 'name the file itself, not a link to it',
  ENXIO: 'name an ordinary file, not a pipe',
};
const USUAL_HINT = 'start as root, in a folder that is there';

export class Identity {
  /** Null: the process stays who it is. */
  private readonly account: Account | null;
  private readonly controlGid: number | null;
  private readonly name: string;

  /** Throws PrivilegeError when there is no such user or group. */
  constructor({ user, group, controlGroup }: Pick<GlobalConfig, 'user' | 'group' | 'controlGroup'>) {
    this.name = user ?? '';
    this.account = user === null ? null : findAccount(user, group);
    this.controlGid = controlGroup === null ? null : findGroup(controlGroup);
  }

  /** Gives the user the socket, and the log, which is made if need be. Throws PrivilegeError. */
  own(socket: string, accessLog: string | null): void {
    const { account, controlGid } = this;
    if (account === null && controlGid === null) return;
    const uid = account?.uid ?? process.getuid!();
    const gid = account?.gid ?? process.getgid!();
    give('control_group', socket, O_PATH, (file) => file.isSocket(), uid, controlGid ?? gid);
    if (account === null || accessLog === null) return;
    const { O_WRONLY, O_APPEND, O_CREAT, O_NONBLOCK } = constants;
    give('access_log', accessLog, O_WRONLY | O_APPEND | O_CREAT | O_NONBLOCK, (file) => file.isFile(), uid, gid);
  }

  /** Becomes the user, and keeps these capabilities as far as there are; the names of those kept. Throws PrivilegeError. */
  assume(keep: readonly number[] = []): string[] {
    if (this.account === null) return [];
    return dropPrivileges(this.account, keep).map((cap) => CAPABILITY_NAMES[cap]!);
  }

  /** What will fail later for want of rights, now that they are gone. */
  warnings(config: string, socket: string, accessLog: string | null): string[] {
    if (this.account === null) return [];
    const may = (path: string, mode: number): boolean => {
      try {
        accessSync(path, mode);
        return true;
      } catch {
        return false;
      }
    };
    const mayMake = (path: string): boolean => may(dirname(resolve(path)), constants.W_OK | constants.X_OK);
    const who = `user ${this.name}`;
    return [
      ...(may(config, constants.R_OK) ? [] : [`${who} may not read ${config}: it cannot be read again by a reload`]),
      ...(mayMake(socket) ? [] : [`${who} cannot remove ${socket} at the end: it stays there until the next start`]),
      ...(accessLog === null || mayMake(accessLog)
        ? []
        : [`${who} cannot make files beside ${accessLog}: once renamed it cannot be opened anew`]),
    ];
  }
}

/**
 * Gives a file away, provided that it is what it should be and has no other name. No link is followed: the folder may be
 * the user's, and what it put there must not become its own.
 */
function give(
  what: string,
  path: string,
  flags: number,
  isRight: (file: Stats) => boolean,
  uid: number,
  gid: number,
): void {
  let fd = -1;
  try {
    fd = openSync(path, flags | constants.O_NOFOLLOW, 0o640);
    const file = fstatSync(fd);
    if (!isRight(file) || file.nlink !== 1) {
      const why = file.nlink > 1 ? 'has other names' : 'is no file of that kind';
      throw new PrivilegeError(`${what}: ${path} cannot be given to another: it ${why}; name another one`);
    }
    // The file that was looked at, whatever has its name by now; fchown(2) refuses what was opened with O_PATH.
    chownSync(`/proc/self/fd/${fd}`, uid, gid);
  } catch (error) {
    if (error instanceof PrivilegeError) throw error;
    const { code } = error as NodeJS.ErrnoException;
    throw new PrivilegeError(
      `${what}: ${path} cannot be given to another (${code}): ${HINTS[code ?? ''] ?? USUAL_HINT}`,
    );
  } finally {
    if (fd >= 0) closeSync(fd);
  }
}

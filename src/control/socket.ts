/**
 * Where the control socket is, and how a server gets it: the file of a process that died is replaced, one that answers
 * is left alone. Used by server.ts and, for the default path, by the command line.
 */
import { existsSync, lstatSync, statSync, unlinkSync } from 'node:fs';
import { createConnection, type Server } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';

/** Who may use it by default: the owner and his group. */
export const SOCKET_MODE = 0o660;
/** sizeof(sun_path) - 1 */
const MAX_PATH_BYTES = 107;

/** The control socket cannot be had; the message says what to do. */
export class ControlSocketError extends Error {
  constructor(path: string, why: string) {
    super(`control socket ${path}: ${why}`);
    this.name = 'ControlSocketError';
  }
}

const ELSEWHERE = 'choose another with --control or control_socket';

/** The default of tsvs run by root. */
export const ROOT_SOCKET = '/run/tsvs.sock';

/** The path when no option names one: that of TSVS_CONTROL, or one of the user's; the same for tsvs and for the commands that ask it. */
export function defaultSocket(env: NodeJS.ProcessEnv = process.env, uid = process.getuid?.()): string {
  if (env['TSVS_CONTROL']) return env['TSVS_CONTROL'];
  if (uid === 0) return ROOT_SOCKET;
  const runtime = env['XDG_RUNTIME_DIR'];
  return runtime ? join(runtime, 'tsvs.sock') : join(tmpdir(), `tsvs-${uid ?? 'user'}.sock`);
}

/** Makes `server` listen at `path`, which gets these permissions. Returns what removes the file again. Throws ControlSocketError. */
export async function claimSocket(server: Server, path: string, mode = SOCKET_MODE): Promise<() => void> {
  if (Buffer.byteLength(path) > MAX_PATH_BYTES) {
    throw new ControlSocketError(path, `the path is longer than ${MAX_PATH_BYTES} bytes: ${ELSEWHERE}`);
  }
  // Node reports this as EACCES.
  if (!existsSync(dirname(path))) {
    throw new ControlSocketError(path, `there is no directory ${dirname(path)}: make it, or ${ELSEWHERE}`);
  }
  try {
    await listen(server, path, mode);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw explain(path, error as NodeJS.ErrnoException);
    await removeStale(path);
    await listen(server, path, mode).catch((again: NodeJS.ErrnoException) => {
      throw explain(path, again);
    });
  }
  return remover(path);
}

function listen(server: Server, path: string, mode: number): Promise<void> {
  return new Promise((resolve, reject) => {
    server.once('error', reject);
    const mask = process.umask(0o777 & ~mode);
    try {
      // Binds before it returns, so the file is never more open than it should be.
      server.listen(path, () => {
        server.off('error', reject);
        resolve();
      });
    } finally {
      process.umask(mask);
    }
  });
}

/** Removes the file of a dead process. */
async function removeStale(path: string): Promise<void> {
  if (!lstatSync(path, { throwIfNoEntry: false })?.isSocket()) {
    throw new ControlSocketError(path, `there is a file of that name, and it is no socket: ${ELSEWHERE}`);
  }
  if (await answers(path)) {
    throw new ControlSocketError(path, `another tsvs answers there: stop that one, or ${ELSEWHERE}`);
  }
  try {
    unlinkSync(path);
  } catch (error) {
    throw explain(path, error as NodeJS.ErrnoException);
  }
}

/** Whether somebody accepts connections at `path`; one that we may not ask counts. */
function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = createConnection(path);
    socket.once('connect', () => {
      socket.destroy();
      resolve(true);
    });
    socket.once('error', ({ code }: NodeJS.ErrnoException) => resolve(code !== 'ECONNREFUSED' && code !== 'ENOENT'));
  });
}

function remover(path: string): () => void {
  const { ino } = statSync(path);
  return () => {
    try {
      // Somebody may have removed the file and put his own there.
      if (lstatSync(path, { throwIfNoEntry: false })?.ino === ino) unlinkSync(path);
    } catch {
      // Who has given up his rights may not be allowed to (run.ts warns of that at the start); the next start replaces it.
    }
  };
}

function explain(path: string, { code, message }: NodeJS.ErrnoException): ControlSocketError {
  switch (code) {
    case 'EACCES':
    case 'EPERM':
    case 'EROFS':
      return new ControlSocketError(path, `no permission to make it (${code}): ${ELSEWHERE}`);
    default:
      return new ControlSocketError(path, `cannot be made: ${message}`);
  }
}

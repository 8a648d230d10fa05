/**
 * How the table refuses a mutation, and the tool's words for it: they depend on what was asked, not only on the error.
 */
import type { Mutation } from './ops.ts';

export type Errno = 'ESRCH' | 'EEXIST' | 'ENOENT' | 'EINVAL' | 'ERANGE' | 'EPERM' | 'ENODEV' | 'ENOSYS';

type Words = Partial<Record<Errno, string>>;

const NO_SCHEDULER = 'Scheduler or persistence engine not found';
const NO_SERVICE = 'No such service';
const UNDEFINED_SERVICE = 'Service not defined';

const ANY: Record<Errno, string> = {
  ESRCH: NO_SERVICE,
  EEXIST: 'File exists',
  ENOENT: 'No such file or directory',
  EINVAL: 'Invalid operation.  Possibly wrong module version, address not unicast, ...',
  ERANGE: 'Numerical result out of range',
  EPERM: 'Permission denied (you must be root)',
  ENODEV: 'No such device',
  ENOSYS: 'Not supported yet',
};

export const isErrno = (word: string): word is Errno => Object.hasOwn(ANY, word);

const BY_OP: Partial<Record<Mutation['op'], Words>> = {
  'add-service': { EEXIST: 'Service already exists', ENOENT: NO_SCHEDULER },
  'edit-service': { ENOENT: NO_SCHEDULER },
  'add-dest': { ESRCH: UNDEFINED_SERVICE, EEXIST: 'Destination already exists' },
  'edit-dest': { ESRCH: UNDEFINED_SERVICE, ENOENT: 'No such destination' },
  'delete-dest': { ESRCH: UNDEFINED_SERVICE, ENOENT: 'No such destination' },
  'start-daemon': { EEXIST: 'Daemon has already run', ENOSYS: 'Connection synchronization is not supported yet' },
  'stop-daemon': { ESRCH: 'No daemon is running', ENOSYS: 'Connection synchronization is not supported yet' },
  'add-laddr': { ESRCH: UNDEFINED_SERVICE, EEXIST: 'Local address already exists' },
  'delete-laddr': { ESRCH: UNDEFINED_SERVICE, ENOENT: 'No such Local address' },
};

const BY_LIST: Record<'deny' | 'allow', Words> = {
  deny: { ESRCH: UNDEFINED_SERVICE, EEXIST: 'blacklist address already exists', ENOENT: 'No such deny address' },
  allow: { ESRCH: UNDEFINED_SERVICE, EEXIST: 'whitelist address already exists', ENOENT: 'No such allow address' },
};

export function wordsFor(mutation: Mutation, errno: Errno): string {
  const words = 'list' in mutation ? BY_LIST[mutation.list] : BY_OP[mutation.op];
  return words?.[errno] ?? ANY[errno];
}

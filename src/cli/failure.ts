/** How the commands end: their exit codes, and the error that carries one with the line to print. */

export const EXIT = {
  OK: 0,
  /** The command line is wrong. */
  USAGE: 1,
  /** The configuration is wrong. */
  CONFIG: 2,
  /** The system refuses: link, privilege, control socket, capture file. */
  SYSTEM: 3,
  /** The worker died or hangs. */
  WORKER: 4,
  /** No tsvs answers at the control socket. */
  NOT_RUNNING: 5,
} as const;
export type ExitCode = (typeof EXIT)[keyof typeof EXIT];

/** Ends the command; the message is printed as it is, one line or several. */
export class Failure extends Error {
  readonly exitCode: ExitCode;
  constructor(exitCode: ExitCode, message: string) {
    super(message);
    this.name = 'Failure';
    this.exitCode = exitCode;
  }
}

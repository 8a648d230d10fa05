/**
 * A command line that is wrong, with what the tool says about it. Thrown inside the parser, caught at its edge.
 */

/** Exit status of errors found while splitting options, and of those the table answers. */
export const EXIT_REFUSED = 255;
/** Exit status of errors the tool finds itself. */
export const EXIT_WRONG = 2;

export class CommandError extends Error {
  readonly exitCode: number;
  /** Ends a running restore too, not only the line. */
  readonly stops: boolean;
  constructor(exitCode: number, message: string, stops = true) {
    super(message);
    this.name = 'CommandError';
    this.exitCode = exitCode;
    this.stops = stops;
  }
}

export const wrong = (message: string): never => {
  throw new CommandError(EXIT_WRONG, message);
};

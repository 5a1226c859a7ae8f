/** The kind of an error, as a literal that code can compare. The message is for people. */
export type ErrorCode =
  | 'usage' // the command line is wrong: exit status 2
  | 'argument' // an argument's value is out of bounds
  | 'config' // the configuration file is missing or wrong
  | 'denied' // the policy denies the route
  | 'resolve-failed' // a name could not be resolved
  | 'listen-failed' // a listener could not be bound
  | 'control' // a running proxy does not answer
  | 'metadata' // the instance metadata service does not give a valid answer
  | 'internal';

export interface ErrorDetails {
  /** What the user can do about it: a clause without a capital letter and a full stop. */
  readonly hint?: string | undefined;
  /** The place of the cause, as `path:line`. */
  readonly place?: string;
  /** Name of the errno, such as `EADDRINUSE`. */
  readonly errno?: string;
  readonly cause?: unknown;
}

/**
 * The base of every error that the project throws on purpose. `message` says what failed and with which value, in one
 * line. `hint` says what to do.
 */
export class VsockProxyError extends Error {
  override readonly name = 'VsockProxyError';
  readonly code: ErrorCode;
  readonly hint: string | undefined;
  readonly place: string | undefined;
  readonly errno: string | undefined;

  constructor(code: ErrorCode, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.code = code;
    this.hint = details.hint;
    this.place = details.place;
    this.errno = details.errno;
  }

  /** All of it in one line: message, place, then `Hint: …`, as far as they exist. */
  get line(): string {
    const placed = this.place === undefined ? this.message : `${this.message} (${this.place})`;
    return this.hint === undefined ? placed : `${placed}. Hint: ${this.hint}`;
  }
}

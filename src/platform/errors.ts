/** What went wrong, as a literal that code can compare; the message is for people. */
export type ErrorCode =
  | 'usage' // the command line cannot be understood: exit status 2
  | 'argument' // an argument's value is out of bounds
  | 'config' // the configuration file is missing or wrong
  | 'denied' // the policy forbids the route
  | 'resolve-failed' // a name could not be resolved
  | 'listen-failed' // a listener could not be bound
  | 'control' // a running proxy cannot be asked
  | 'metadata' // the instance metadata service does not tell what is asked for
  | 'internal';

export interface ErrorDetails {
  /** What the reader can do about it: a sentence without a full stop in front. */
  readonly hint?: string | undefined;
  /** Where the cause is written, as `path:line`. */
  readonly place?: string;
  /** Name of the errno, such as `EADDRINUSE`. */
  readonly errno?: string;
  readonly cause?: unknown;
}

/**
 * The base of every error that the project throws on purpose. `message` says what failed and with which
 * value, in one line; `hint` says what to do.
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

  /** The whole story in one line: message, place, then `Hint: …`, as far as there are. */
  get line(): string {
    const placed = this.place === undefined ? this.message : `${this.message} (${this.place})`;
    return this.hint === undefined ? placed : `${placed}. Hint: ${this.hint}`;
  }
}

/** Settings from all their sources: command line, then file, then built-in default. */
import { VsockProxyError } from '../errors.ts';
import type { Rule } from '../policy/rules.ts';

export interface Settings {
  /** The file that they come from, as given. */
  readonly path: string;
  readonly rules: readonly Rule[];
  readonly limits: { readonly connections: number };
  readonly timeouts: { readonly connectMs: number; readonly idleMs: number; readonly drainMs: number };
}

/** What the command line sets; absent means that the file or the default decides. */
export interface Overrides {
  readonly connections?: number;
}

/**
 * Reads the configuration file. Synchronous: it is small, and needed before anything else can happen.
 * @throws VsockProxyError `config` with the head phrases of the reference (`Could not open the file: …`), for the
 * first problem in the file; the caller puts `Error at checking the allowlist: ` in front.
 */
export function loadSettings(_path: string, _overrides: Overrides = {}): Settings {
  throw new VsockProxyError('internal', 'not yet written');
}

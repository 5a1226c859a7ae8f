/** Settings from all their sources: command line, then file, then built-in default. */
import type { Policy } from '../policy/rules.ts';
import { loadFile } from './load.ts';

export interface Settings {
  /** The file that they come from, as given. */
  readonly path: string;
  readonly policy: Policy;
  readonly limits: { readonly connections: number };
  readonly timeouts: { readonly connectMs: number; readonly idleMs: number; readonly drainMs: number };
}

/** What the command line sets; absent means that the file or the default decides. */
export interface Overrides {
  readonly connections?: number;
}

/**
 * Reads the configuration file. Synchronous: it is small, and nothing can be done before.
 * @throws VsockProxyError `config` with the head phrases of the AWS proxy (`Could not open the file: …`), for the
 * first problem in the file; the caller puts `Error at checking the allowlist: ` in front.
 */
export function loadSettings(path: string, overrides: Overrides = {}): Settings {
  const { settings, placeOf } = loadFile(path);
  const { allowlist, limits, timeouts } = settings;
  return {
    path,
    policy: {
      allow: allowlist.map(({ address, port }, index) => ({
        address: address.means,
        ports: [{ from: port, to: port }],
        text: address.text,
        place: placeOf(['allowlist', index]),
      })),
      deny: [],
    },
    limits: { connections: overrides.connections ?? limits.connections },
    timeouts: { connectMs: timeouts.connect, idleMs: timeouts.idle, drainMs: timeouts.drain },
  };
}

/** Notices when a file has changed. */
import { statSync } from 'node:fs';
import type { Clock } from './clock.ts';

/**
 * How often the file is checked. Polling is better here than inotify(7). It works through links (kubelet replaces the
 * link to the files of a ConfigMap), through mounts, and while a file is missing.
 */
export const LOOK_EVERY_MS = 1_000;

export interface FileWatchOptions {
  readonly clock: Clock;
  /** Identifies the version of the file; the default is `identifyFile`. */
  readonly identify?: (path: string) => string;
}

/**
 * Calls `onChange` when the file has changed and then stayed the same for {@link LOOK_EVERY_MS}, so that a slow writer
 * can finish. A file that disappears has changed, too.
 * @returns a function that ends the watch
 */
export function watchFile(path: string, onChange: () => void, options: FileWatchOptions): () => void {
  const { clock, identify = identifyFile } = options;
  let told = identify(path);
  let seen = told;
  let cancel: () => void;
  const look = (): void => {
    const now = identify(path);
    const settled = now === seen;
    seen = now;
    if (settled && now !== told) {
      told = now;
      onChange();
    }
    cancel = clock.setTimer(LOOK_EVERY_MS, look);
  };
  cancel = clock.setTimer(LOOK_EVERY_MS, look);
  return () => cancel();
}

/** Identifies the file at the path, after all links, and the time when it was last written or replaced. */
export function identifyFile(path: string): string {
  try {
    const { dev, ino, size, mtimeNs, ctimeNs } = statSync(path, { bigint: true });
    return [dev, ino, size, mtimeNs, ctimeNs].join();
  } catch {
    return 'none';
  }
}

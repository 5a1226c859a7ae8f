/** Tells when a file has become another one. */
import { statSync } from 'node:fs';
import type { Clock } from './clock.ts';

/**
 * How often it is looked at. Looking beats inotify(7) here: it sees through links, as where kubelet replaces the one that a
 * ConfigMap's files hang on, through mounts, and through a file that is gone for a while.
 */
export const LOOK_EVERY_MS = 1_000;

export interface FileWatchOptions {
  readonly clock: Clock;
  /** What is equal as long as the file is the same one; `identifyFile` unless told. */
  readonly identify?: (path: string) => string;
}

/**
 * Calls `onChange` once the file is another one than before, and has been so for {@link LOOK_EVERY_MS}: who writes it piece by
 * piece is waited for. A file that is gone is a change, too.
 * @returns what ends it
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

/** Of the file that the path leads to through all links: which one it is, and when it was last written or replaced. */
export function identifyFile(path: string): string {
  try {
    const { dev, ino, size, mtimeNs, ctimeNs } = statSync(path, { bigint: true });
    return [dev, ino, size, mtimeNs, ctimeNs].join();
  } catch {
    return 'none';
  }
}

/** What the process has used, from Node.js. */
import { readdirSync } from 'node:fs';
import { arch } from 'node:os';

export interface ProcessUse {
  readonly cpuSeconds: number;
  readonly residentBytes: number;
  /** Open descriptors; undefined if /proc does not say. */
  readonly descriptors: number | undefined;
}

/** The JavaScript engine with its version, and the architecture in the words of Node.js. */
export const ENGINE: Readonly<Record<string, string>> = { node: process.versions.node, arch: arch() };

export function readUse(): ProcessUse {
  const { user, system } = process.cpuUsage();
  return {
    cpuSeconds: (user + system) / 1e6,
    residentBytes: process.memoryUsage.rss(),
    descriptors: countDescriptors(),
  };
}

function countDescriptors(): number | undefined {
  try {
    return readdirSync('/proc/self/fd').length;
  } catch {
    return undefined;
  }
}

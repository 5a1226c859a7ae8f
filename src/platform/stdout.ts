/** Standard output. */
import { writeFileSync } from './system/files.ts';

export const STDOUT = 1;

/**
 * Prints what a command was asked for.
 * @returns the exit status: 1 if the text cannot be written, because there is no better place for that error
 */
export function print(text: string, exitStatus = 0): number {
  try {
    writeFileSync(STDOUT, text);
    return exitStatus;
  } catch {
    return 1;
  }
}

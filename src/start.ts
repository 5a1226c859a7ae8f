/** The entry of the program. It answers `--version` without the rest of the program, which takes a third of the time. */
import { writeFileSync } from 'node:fs';
import { versionText } from './commands/version.ts';
import { VERSION } from './platform/version.ts';

const STDOUT = 1;
const [, , word = '', ...others] = process.argv;

if (['--version', '-V'].includes(word) && others.length === 0) process.exit(printVersion());
else void import('./main.ts');

/** @returns the exit status */
function printVersion(): number {
  try {
    writeFileSync(STDOUT, versionText(VERSION));
    return 0;
  } catch {
    return 1; // as main.ts does for every text
  }
}

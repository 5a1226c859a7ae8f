/** The entry of the program. It answers `--version` without the rest of the program, which takes a third of the time. */
import { versionText } from './commands/version.ts';
import { print } from './platform/stdout.ts';
import { VERSION } from './platform/version.ts';

const [, , word = '', ...others] = process.argv;

if (['--version', '-V'].includes(word) && others.length === 0) process.exit(print(versionText(VERSION)));
else void import('./main.ts');

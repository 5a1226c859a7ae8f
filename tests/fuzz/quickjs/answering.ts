/** The parsers under QuickJS, for a test in another process: a program of its own (`make parsers-quickjs`). */
import '../../../src/platform/quickjs/globals.ts';
import { writeFileSync } from '../../../src/platform/quickjs/files.ts';
import { onMessage } from '../../quickjs-lines.ts';
import { encode } from '../../wire.ts';
import { tryAll } from './limits.ts';
import { outcomeOf, type ParserName } from './outcome.ts';

const INPUT = 0;
const OUTPUT = 1;

onMessage(INPUT, 0, (message) => {
  const { parser, bytes } = message as { readonly parser: ParserName | 'limits'; readonly bytes: Uint8Array };
  writeFileSync(OUTPUT, encode({ value: parser === 'limits' ? tryAll() : outcomeOf(parser, bytes) }));
});

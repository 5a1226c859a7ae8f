/** The parsers under QuickJS, for a test in another process: a program of its own (`make parsers-quickjs`). */
import '../../../src/platform/quickjs/globals.ts';
import { READABLE } from '../../../src/platform/quickjs/host.ts';
import { decode, encode } from '../../wire.ts';
import { tryAll } from './limits.ts';
import { outcomeOf, type ParserName } from './outcome.ts';

const INPUT = 0;
const OUTPUT = 1;

let text = '';
const block = new Uint8Array(64 * 1024);
host.watch(INPUT, READABLE, () => {
  const count = host.readFile(INPUT, block);
  if (count <= 0) host.exit(0);
  const lines = (text + host.decode(block.subarray(0, count))).split('\n');
  text = lines.pop() ?? '';
  for (const line of lines) {
    const { parser, bytes } = decode(line) as { readonly parser: ParserName | 'limits'; readonly bytes: Uint8Array };
    const answer = host.encode(encode({ value: parser === 'limits' ? tryAll() : outcomeOf(parser, bytes) }));
    for (let at = 0; at < answer.length; ) at += Math.max(host.writeFile(OUTPUT, answer, at), 0);
  }
});

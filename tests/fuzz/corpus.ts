/** The kept inputs of each fuzz target: `tests/vectors/protocol-corpus/NAME.json`, a list of texts with a byte a character. */
import { readFileSync, writeFileSync } from 'node:fs';

function fileOf(target: string): URL {
  return new URL(`../vectors/protocol-corpus/${target}.json`, import.meta.url);
}

export function readCorpus(target: string): readonly Buffer[] {
  const texts: readonly string[] = JSON.parse(readFileSync(fileOf(target), 'utf8'));
  return texts.map((text) => Buffer.from(text, 'latin1'));
}

export function writeCorpus(target: string, inputs: readonly Uint8Array[]): void {
  const texts = inputs.map((input) => JSON.stringify(Buffer.from(input).toString('latin1')));
  // Beyond ASCII, and DEL, as escapes: so the file is text for every tool.
  const ascii = (text: string) =>
    text.replace(/[^ -~]/g, (char) => `\\u${char.charCodeAt(0).toString(16).padStart(4, '0')}`);
  writeFileSync(fileOf(target), `[\n  ${texts.map(ascii).join(',\n  ')}\n]\n`);
}

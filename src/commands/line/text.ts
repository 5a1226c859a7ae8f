/** Texts on the command line. */
import { VsockProxyError } from '../../platform/errors.ts';

/** @throws VsockProxyError `usage` for an empty text, which is most likely a variable without a value */
export function parseTextOption(option: string, text: string): string {
  if (text !== '') return text;
  throw new VsockProxyError('usage', `option '${option}' wants a value, not an empty text`);
}

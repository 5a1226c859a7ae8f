/** `vsock-proxy schema`: prints the JSON Schema of the configuration file. */
import { describeFile } from '../config/schema/json-schema.ts';
import { defineCommand, parseArguments } from './line/parse.ts';

const EXAMPLE = `
Example: let an editor with the YAML language server check the file

  vsock-proxy schema > vsock-proxy.schema.json

  and as the first line of the YAML file:

    # yaml-language-server: $schema=vsock-proxy.schema.json
`;

/**
 * @returns the text to print
 * @throws VsockProxyError `usage`
 */
export function runSchema(argv: readonly string[]): string {
  const parsed = parseArguments(defineCommand('schema').addHelpText('after', EXAMPLE), argv);
  return parsed.kind === 'text' ? parsed.text : `${JSON.stringify(describeFile(), undefined, 2)}\n`;
}

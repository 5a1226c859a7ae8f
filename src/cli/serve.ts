/** `vsock-proxy serve`: all listeners of the configuration file in one process. */
import { DEFAULT_CONFIG_PATH } from './help.ts';
import { parseEnclaveCid } from './number.ts';
import { defineCommand, type Parsed, parseArguments } from './parse.ts';

export interface ServeArguments {
  readonly configPath: string;
  /** Where `ingress` leads. */
  readonly enclaveCid?: number;
}

const HELP = `
Example: an HTTP proxy for enclaves at port 10000 of their parent, and one fixed
route, in one process

  vsock-proxy serve --config my.yaml

  with this my.yaml:

    allowlist:
      - {address: "*.eu-west-1.amazonaws.com", port: 443}
    listeners:
      - {listen: "vsock:10000", route: http}
      - {listen: "vsock:8000", connect: "kms.eu-west-1.amazonaws.com:443"}

SIGHUP reads the file again: what has not changed goes on untouched, and so does
everything if the file is wrong. SIGTERM and SIGINT stop it: open connections
may end first. Exit status: 0 then, 1 if it cannot start, 2 if the command line
cannot be understood.
`;

/**
 * @param argv without the program's and the command's name
 * @throws VsockProxyError `usage`
 */
export function parseServeCommand(
  argv: readonly string[],
): { readonly kind: 'run'; readonly arguments: ServeArguments } | { readonly kind: 'text'; readonly text: string } {
  const command = defineCommand('serve')
    .option('--config <config_file>', 'the YAML file', DEFAULT_CONFIG_PATH)
    .option('--enclave-cid <N>', 'the CID of the enclave that ingress leads to')
    .addHelpText('after', HELP);
  const parsed: Parsed<{ readonly config: string; readonly enclaveCid?: string }> = parseArguments(command, argv);
  if (parsed.kind === 'text') return parsed;
  const { config: configPath, enclaveCid } = parsed.options;
  return {
    kind: 'run',
    arguments: { configPath, ...(enclaveCid !== undefined && { enclaveCid: parseEnclaveCid(enclaveCid) }) },
  };
}

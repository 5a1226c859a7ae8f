/** `vsock-proxy serve`: all listeners of the configuration file in one process. */
import { Option } from 'commander';
import { DEFAULT_CONFIG_PATH } from './line/help.ts';
import { parseEnclaveCid } from './line/number.ts';
import { defineCommand, type Parsed, parseArguments } from './line/parse.ts';

export interface ServeArguments {
  readonly configPath: string;
  /** Where `ingress` leads; at most one of the two. */
  readonly enclaveCid?: number;
  readonly enclaveName?: string;
  /** The program that tells the CIDs of enclaves by their names. */
  readonly nitroCli: string;
  /** Whether the file is read again whenever it has changed. */
  readonly watch: boolean;
}

/** As commander names and leaves them. */
interface RawOptions {
  readonly config: string;
  readonly nitroCli: string;
  readonly watch?: true;
  readonly enclaveCid?: string;
  readonly enclaveName?: string;
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

Logs go to standard error: what fails, unless RUST_LOG says otherwise.
RUST_LOG=info tells of each connection.

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
    .addOption(
      new Option('--enclave-name <name>', 'the name of that enclave, which keeps it under every CID').conflicts(
        'enclaveCid',
      ),
    )
    .option(
      '--nitro-cli <path>',
      'the program that tells the CIDs of enclaves: it is asked to describe-enclaves',
      'nitro-cli',
    )
    .option('--watch', 'read the file again when it has changed, as SIGHUP does')
    .addHelpText('after', HELP);
  const parsed: Parsed<RawOptions> = parseArguments(command, argv);
  if (parsed.kind === 'text') return parsed;
  const { config: configPath, nitroCli, watch = false, enclaveCid, enclaveName } = parsed.options;
  return {
    kind: 'run',
    arguments: {
      configPath,
      nitroCli,
      watch,
      ...(enclaveCid !== undefined && { enclaveCid: parseEnclaveCid(enclaveCid) }),
      ...(enclaveName !== undefined && { enclaveName }),
    },
  };
}

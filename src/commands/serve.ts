/** `vsock-proxy serve`: runs all listeners of the configuration file in one process. */
import { Option } from 'commander';
import { DEFAULT_CONFIG_PATH } from './line/help.ts';
import { parseEnclaveCid } from './line/number.ts';
import { defineCommand, type Parsed, parseArguments } from './line/parse.ts';
import { parseTextOption } from './line/text.ts';

export interface ServeArguments {
  readonly configPath: string;
  /** The enclave of `ingress`; at most one of the two. */
  readonly enclaveCid?: number;
  readonly enclaveName?: string;
  /** The program that lists the CIDs of enclaves by their names. */
  readonly nitroCli: string;
  /** Whether the file is read again when it changes. */
  readonly watch: boolean;
}

/** The options as commander returns them. */
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

Logs go to standard error. Without RUST_LOG errors and warnings are logged.
RUST_LOG=info also logs every connection.

SIGHUP reads the file again. Unchanged listeners and open connections are not
touched, and a wrong file changes nothing. SIGTERM and SIGINT stop it after open
connections had time to end. Exit status: 0 after that, 1 if it cannot start,
2 if the command line is wrong.
`;

/**
 * @param argv without the names of the program and the command
 * @throws VsockProxyError `usage`
 */
export function parseServeCommand(
  argv: readonly string[],
): { readonly kind: 'run'; readonly arguments: ServeArguments } | { readonly kind: 'text'; readonly text: string } {
  const command = defineCommand('serve')
    .option('--config <config_file>', 'the YAML file', DEFAULT_CONFIG_PATH)
    .option('--enclave-cid <N>', 'the CID of the enclave of ingress')
    .addOption(
      new Option('--enclave-name <name>', 'the name of that enclave, which works with any CID').conflicts('enclaveCid'),
    )
    .option('--nitro-cli <path>', 'the program that lists the CIDs of enclaves, by describe-enclaves', 'nitro-cli')
    .option('--watch', 'read the file again when it changes, as SIGHUP does')
    .addHelpText('after', HELP);
  const parsed: Parsed<RawOptions> = parseArguments(command, argv);
  if (parsed.kind === 'text') return parsed;
  const { config: configPath, nitroCli, watch = false, enclaveCid, enclaveName } = parsed.options;
  return {
    kind: 'run',
    arguments: {
      configPath,
      nitroCli: parseTextOption('--nitro-cli', nitroCli),
      watch,
      ...(enclaveCid !== undefined && { enclaveCid: parseEnclaveCid(enclaveCid) }),
      ...(enclaveName !== undefined && { enclaveName: parseTextOption('--enclave-name', enclaveName) }),
    },
  };
}

/** Texts of `--help` other than the options. */
import { COMMANDS } from '../list.ts';

/** The path of the file of AWS's proxy. */
export const DEFAULT_CONFIG_PATH = '/etc/nitro_enclaves/vsock-proxy.yaml';

export const USAGE = '[OPTIONS] <local_port> <remote_addr> <remote_port>';

export const SUMMARY =
  'Controls what an AWS Nitro Enclave can reach: listens on vsock, checks the allowlist, and forwards each ' +
  'connection to <remote_addr>:<remote_port>. TLS passes through untouched.';

/** The commands, one a line. */
export function listCommands(): string {
  const lines = Object.entries(COMMANDS).map(([name, { summary }]) => `  ${name.padEnd(12)}  ${summary}\n`);
  return `\nCommands (vsock-proxy <command> --help):\n${lines.join('')}`;
}

export const EXAMPLES = `
Example: let enclaves reach AWS KMS at port 8000 of their parent, CID 3

  vsock-proxy 8000 kms.eu-west-1.amazonaws.com 443 --config my-allowlist.yaml

  with this my-allowlist.yaml:

    allowlist:
    - {address: kms.eu-west-1.amazonaws.com, port: 443}

Logs go to standard error. Without RUST_LOG only errors are logged.
RUST_LOG=warn also logs failed connections, and RUST_LOG=info every connection.

SIGTERM and SIGINT stop it after open connections had time to end. Exit status:
0 after that, 1 if it cannot start, 2 if the command line is wrong.
`;

/** What `--help` says besides the options. */
import { COMMANDS } from '../list.ts';

/** Where the AWS proxy has its file. */
export const DEFAULT_CONFIG_PATH = '/etc/nitro_enclaves/vsock-proxy.yaml';

export const USAGE = '[OPTIONS] <local_port> <remote_addr> <remote_port>';

export const SUMMARY =
  'The controlled way out of an AWS Nitro Enclave: listens on vsock, checks the allowlist, and forwards each ' +
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

Logs go to standard error. RUST_LOG=info tells of each connection, RUST_LOG=warn
of those that failed; without it, only errors are told.

SIGTERM and SIGINT stop it: open connections may end first. Exit status: 0 then,
1 if it cannot start, 2 if the command line cannot be understood.
`;

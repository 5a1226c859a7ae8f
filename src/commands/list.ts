/** The commands besides the form of the AWS proxy, which begins with a port. Small: every start loads this table. */
import { closestWord } from '../config/read/did-you-mean.ts';

export interface CommandSummary {
  /** Its options and arguments, in one line. */
  readonly usage: string;
  /** What it does, for the list of commands. */
  readonly summary: string;
}

export const COMMANDS = {
  serve: { usage: '[OPTIONS]', summary: 'run all listeners of the configuration file in one process' },
  enclave: {
    usage: '[OPTIONS] [--] command...',
    summary: 'in an enclave: run the application, with egress and ingress',
  },
  forward: {
    usage: '[OPTIONS] <local> <cid> <port>',
    summary: 'in an enclave: pass TCP connections on to a port of the parent',
  },
  status: { usage: '[OPTIONS]', summary: 'tell what a proxy that runs does' },
  connections: { usage: '[OPTIONS]', summary: 'list the open connections of a proxy that runs' },
  metrics: {
    usage: '[OPTIONS] [write file]',
    summary: 'print the metrics of a proxy that runs, or write them to a file',
  },
  check: { usage: '[OPTIONS] [host port]', summary: 'check the configuration file, and what it lets through' },
  doctor: { usage: '[OPTIONS]', summary: 'check the machine: vsock, enclaves, service and network' },
  probe: {
    usage: '[OPTIONS] <address>',
    summary: 'connect as an enclave does, and tell how far it got',
  },
  import: {
    usage: '<file...>',
    summary: "make one file for serve of units that start AWS's proxy",
  },
  schema: { usage: '[OPTIONS]', summary: 'print the JSON Schema of the configuration file, for editors' },
  'kms-endpoint': {
    usage: '[OPTIONS]',
    summary: 'print the name of KMS in this region, or write it for systemd',
  },
} as const satisfies Readonly<Record<string, CommandSummary>>;

export type CommandName = keyof typeof COMMANDS;

/** The command that the first word of the command line selects; undefined is the form of the AWS proxy. */
export function findCommand(word: string | undefined): CommandName | undefined {
  return word !== undefined && Object.hasOwn(COMMANDS, word) ? (word as CommandName) : undefined;
}

/** The command that was probably meant by a word that selects none. */
export function closestCommand(word: string): string | undefined {
  return closestWord(word, Object.keys(COMMANDS));
}

/** What stands in front of a command's `usage`. */
export function commandLine(command: CommandName | undefined): string {
  return command === undefined ? 'vsock-proxy' : `vsock-proxy ${command}`;
}

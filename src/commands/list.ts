/**
 * The commands other than the drop-in form, which begins with a port. The table is small, because every start loads it.
 */
import { closestWord } from '../config/read/did-you-mean.ts';
import { PROGRAM } from '../platform/system/program.ts';

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
    summary: 'in an enclave: forward TCP connections to a port of the parent',
  },
  status: { usage: '[OPTIONS]', summary: 'show the state of a running proxy' },
  connections: { usage: '[OPTIONS]', summary: 'list the open connections of a running proxy' },
  metrics: {
    usage: '[OPTIONS] [write file]',
    summary: 'print the metrics of a running proxy, or write them to a file',
  },
  check: { usage: '[OPTIONS] [host port]', summary: 'check the configuration file, and what it allows' },
  doctor: { usage: '[OPTIONS]', summary: 'check the machine: vsock, enclaves, service and network' },
  probe: {
    usage: '[OPTIONS] <address>',
    summary: 'connect as an enclave does, and show how far that gets',
  },
  import: {
    usage: '<file...>',
    summary: "turn units that start AWS's proxy into one file for serve",
  },
  schema: { usage: '[OPTIONS]', summary: 'print the JSON Schema of the configuration file, for editors' },
  'kms-endpoint': {
    usage: '[OPTIONS]',
    summary: 'print the name of KMS in this region, or write it for systemd',
  },
} as const satisfies Readonly<Record<string, CommandSummary>>;

export type CommandName = keyof typeof COMMANDS;

/** The command that the first argument selects; undefined is the drop-in form. */
export function findCommand(word: string | undefined): CommandName | undefined {
  return word !== undefined && Object.hasOwn(COMMANDS, word) ? (word as CommandName) : undefined;
}

/** The command that an unknown word probably meant. */
export function closestCommand(word: string): string | undefined {
  return closestWord(word, Object.keys(COMMANDS));
}

/** The text in front of a command's `usage`. */
export function commandLine(command: CommandName | undefined): string {
  return command === undefined ? PROGRAM : `${PROGRAM} ${command}`;
}

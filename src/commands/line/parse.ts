/** Parses a command line with commander: to options and arguments, a text to print, or a usage error in one line. */
import { Command, CommanderError } from 'commander';
import { VsockProxyError } from '../../platform/errors.ts';
import { escapeControls } from '../../platform/escape.ts';
import { COMMANDS, type CommandName, commandLine } from '../list.ts';

/** Arguments may have any length, and commander repeats them in its messages. */
const LONGEST_USAGE_ERROR = 300;

export type Parsed<Options> =
  | { readonly kind: 'options'; readonly options: Options; readonly args: readonly string[] }
  /** `--help` or `--version`: text for standard output. */
  | { readonly kind: 'text'; readonly text: string };

/** A command with its name, its summary and `--help`. The caller adds options and arguments. */
export function defineCommand(name: CommandName): Command {
  const { usage, summary } = COMMANDS[name];
  return new Command(commandLine(name))
    .usage(usage)
    .description(`${summary[0]?.toUpperCase()}${summary.slice(1)}.`)
    .helpOption('-h, --help', 'print this help');
}

/**
 * @param argv without the names of the program and the command
 * @typeParam Options the options as commander returns them
 * @throws VsockProxyError `usage`
 */
export function parseArguments<Options>(command: Command, argv: readonly string[]): Parsed<Options> {
  let text = '';
  command.exitOverride().configureOutput({
    writeOut: (part) => {
      text += part;
    },
    writeErr: () => undefined, // the exception has the message
  });
  try {
    command.parse(argv, { from: 'user' });
  } catch (error) {
    if (!(error instanceof CommanderError)) throw error;
    if (error.exitCode === 0) return { kind: 'text', text };
    const message = error.message.replace(/^error: /, '').replace('\n(Did you mean', ' (Did you mean');
    throw new VsockProxyError('usage', escapeControls(message.slice(0, LONGEST_USAGE_ERROR)));
  }
  return { kind: 'options', options: command.opts() as Options, args: command.args };
}

/** Parses a command line with commander: to options and arguments, a text to print, or a usage error in one line. */
import { Command, CommanderError } from 'commander';
import { VsockProxyError } from '../../platform/errors.ts';
import { escapeControls, quoteBriefly } from '../../platform/escape.ts';
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
    const message = error.message
      .replace(/^error: /, '')
      .replace('\n(Did you mean', ' (Did you mean')
      .replace(/\.$/, '');
    const hint = isAboutArguments(error) && hasConfig(command) ? suggestConfig(argv) : undefined;
    throw new VsockProxyError('usage', escapeControls(message.slice(0, LONGEST_USAGE_ERROR)), { hint });
  }
  return { kind: 'options', options: command.opts() as Options, args: command.args };
}

function isAboutArguments({ code }: CommanderError): boolean {
  return code === 'commander.excessArguments' || code === 'commander.missingArgument';
}

function hasConfig({ options }: Command): boolean {
  return options.some(({ long }) => long === '--config');
}

/** The hint for arguments that do not fit, if one of them looks like the value of a `--config` that is not there. */
export function suggestConfig(argv: readonly string[]): string | undefined {
  const file = argv.find((word) => /\.ya?ml$/.test(word));
  if (file === undefined || argv.some((word) => word.startsWith('--config'))) return undefined;
  return `the file is the value of an option: --config ${quoteBriefly(file)}`;
}

/** The last words of a process that cannot go on, and its exit status. */
import { type ErrorCode, VsockProxyError } from '../platform/errors.ts';
import { escapeControls, quote } from '../platform/escape.ts';
import { USAGE } from './line/help.ts';
import { COMMANDS, type CommandName, commandLine } from './list.ts';

export interface ExitMessage {
  /** Text for standard error, with its newline. */
  readonly text: string;
  readonly exitStatus: number;
}

const HEADS: Partial<Record<ErrorCode, string>> = {
  'listen-failed': 'Could not listen for connections: ',
};

/** The same in the form of AWS's proxy, with phrases that scripts look for. */
const AWS_HEADS: typeof HEADS = {
  ...HEADS,
  config: 'Error at checking the allowlist: ',
  denied: 'Error at checking the allowlist: ',
};

/**
 * @param backtrace whether to show the stack of an unexpected error
 * @param command absent: the drop-in form
 */
export function describeFailure(error: unknown, backtrace: boolean, command?: CommandName): ExitMessage {
  if (error instanceof VsockProxyError && error.code === 'usage') {
    const line = commandLine(command);
    const usage = `${line} ${command === undefined ? USAGE : COMMANDS[command].usage}`;
    const text = `error: ${escapeControls(error.line)}\nUsage: ${usage} (more: ${line} --help)\n`;
    return { text, exitStatus: 2 };
  }
  if (error instanceof VsockProxyError && error.code !== 'internal') {
    const head = (command === undefined ? AWS_HEADS : HEADS)[error.code];
    return { text: `Error: ${quote(`${head ?? ''}${error.line}`)}\n`, exitStatus: 1 };
  }
  const line = error instanceof VsockProxyError ? error.line : error instanceof Error ? error.message : String(error);
  const trace = backtrace && error instanceof Error ? `${error.stack}\n` : '';
  return { text: `Error: ${quote(`internal: ${line}`)}\n${trace}`, exitStatus: 1 };
}

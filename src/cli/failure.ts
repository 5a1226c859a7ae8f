/** What a process that cannot go on says last, and the status it exits with. */
import { type ErrorCode, VsockProxyError } from '../errors.ts';
import { escapeControls, quote } from '../escape.ts';
import { USAGE } from './help.ts';

export interface Failure {
  /** For standard error, with its newline. */
  readonly text: string;
  readonly exitStatus: number;
}

/** Phrases that scripts look for in what the AWS proxy says. */
const HEADS: Partial<Record<ErrorCode, string>> = {
  config: 'Error at checking the allowlist: ',
  denied: 'Error at checking the allowlist: ',
  'listen-failed': 'Could not listen for connections: ',
};

/** @param backtrace whether to show where an error that nobody expected came from */
export function describeFailure(error: unknown, backtrace: boolean): Failure {
  if (error instanceof VsockProxyError && error.code === 'usage') {
    const usage = `Usage: vsock-proxy ${USAGE} (more: vsock-proxy --help)`;
    return { text: `error: ${escapeControls(error.line)}\n${usage}\n`, exitStatus: 2 };
  }
  if (error instanceof VsockProxyError && error.code !== 'internal') {
    return { text: `Error: ${quote(`${HEADS[error.code] ?? ''}${error.line}`)}\n`, exitStatus: 1 };
  }
  const line = error instanceof VsockProxyError ? error.line : error instanceof Error ? error.message : String(error);
  const trace = backtrace && error instanceof Error ? `${error.stack}\n` : '';
  return { text: `Error: ${quote(`internal: ${line}`)}\n${trace}`, exitStatus: 1 };
}

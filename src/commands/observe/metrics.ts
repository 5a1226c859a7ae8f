/**
 * `vsock-proxy metrics`: prints the metrics of a running proxy, or writes them for node_exporter's textfile collector.
 */
import { getSystemErrorMessage } from 'node:util';
import { askControl } from '../../observe/client.ts';
import { VsockProxyError } from '../../platform/errors.ts';
import { escapeControls, quoteBriefly } from '../../platform/escape.ts';
import { replaceFile, WRITE_HINTS } from '../../platform/whole-file.ts';
import { type ControlOption, controlPath, withControl } from '../line/control.ts';
import { defineCommand, type Parsed, parseArguments } from '../line/parse.ts';

export interface MetricsArguments {
  readonly control: string;
  /** The file to write; absent: print the metrics. */
  readonly file?: string;
}

const HELP = `
  vsock-proxy metrics                                      print them
  vsock-proxy metrics write /var/lib/node_exporter/vsock_proxy.prom

The file is replaced atomically, with mode 644, so that the collector never
reads half of it.

Exit status: 0, or 1 if no proxy answers or the file cannot be written, or 2 if
the command line is wrong.
`;

/**
 * @param argv without the names of the program and the command
 * @throws VsockProxyError `usage`
 */
export function parseMetricsCommand(
  argv: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): { readonly kind: 'run'; readonly arguments: MetricsArguments } | { readonly kind: 'text'; readonly text: string } {
  const command = withControl(defineCommand('metrics'))
    .argument('[write]', 'the word write, to write a file')
    .argument('[file]', 'the file')
    .addHelpText('after', HELP);
  const parsed: Parsed<ControlOption> = parseArguments(command, argv);
  if (parsed.kind === 'text') return parsed;
  const [word, file] = parsed.args;
  if (word !== undefined && word !== 'write') {
    throw new VsockProxyError('usage', `unknown argument ${quoteBriefly(word)}`, {
      hint: 'vsock-proxy metrics write FILE',
    });
  }
  if (word === 'write' && file === undefined)
    throw new VsockProxyError('usage', "missing argument 'file' behind write");
  return { kind: 'run', arguments: { control: controlPath(parsed.options, env), ...(file !== undefined && { file }) } };
}

/**
 * @returns the text to print, if any
 * @throws VsockProxyError `control`, or `argument` if the file cannot be written; then the file is unchanged
 */
export async function runMetrics({ control, file }: MetricsArguments): Promise<string> {
  const { status, body } = await askControl(control, '/metrics', 'text/plain');
  if (status !== 200)
    throw new VsockProxyError('control', `/metrics is answered with status ${status}: ${quoteBriefly(body)}`);
  if (file === undefined) return body;
  writeMetrics(file, body);
  return '';
}

function writeMetrics(path: string, text: string): void {
  try {
    replaceFile(path, text, { durable: true });
  } catch (error) {
    const { code = 'EIO', errno } = error as NodeJS.ErrnoException;
    const words = errno === undefined ? code : `${code}: ${getSystemErrorMessage(errno)}`;
    throw new VsockProxyError('argument', escapeControls(`${path} could not be written: ${words}`), {
      errno: code,
      hint: WRITE_HINTS[code] ?? 'it is as it was before',
    });
  }
}

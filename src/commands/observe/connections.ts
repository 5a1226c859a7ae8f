/** `vsock-proxy connections`: lists the open connections of a running proxy. */
import { askJson } from '../../observe/client.ts';
import { escapeControls } from '../../platform/escape.ts';
import { formatServer } from '../../proxy/report/format.ts';
import type { ConnectionSnapshot, Snapshot } from '../../proxy/snapshot.ts';
import { type ControlOption, controlPath, withControl } from '../line/control.ts';
import { noSuchListener, parseListener } from '../line/listener.ts';
import { parseNumberOption } from '../line/number.ts';
import { defineCommand, type Parsed, parseArguments } from '../line/parse.ts';
import { formatBytes, formatDuration, formatTable } from './table.ts';

export interface ConnectionsArguments {
  readonly control: string;
  readonly json: boolean;
  /** Only the connections of this client. */
  readonly cid?: number;
  /** Only those of this listener, in the form of `status`. */
  readonly listener?: string;
}

const CIDS = { min: 0, max: 0xffff_fffe };

interface RawOptions extends ControlOption {
  readonly json?: true;
  readonly cid?: string;
  readonly listener?: string;
}

/**
 * @param argv without the names of the program and the command
 * @throws VsockProxyError `usage`
 */
export function parseConnectionsCommand(
  argv: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
):
  | { readonly kind: 'run'; readonly arguments: ConnectionsArguments }
  | { readonly kind: 'text'; readonly text: string } {
  const command = withControl(defineCommand('connections'))
    .option('--json', 'print a JSON list')
    .option('--cid <N>', 'only those of this client')
    .option('--listener <address>', 'only those of this listener, such as vsock:3:8000');
  const parsed: Parsed<RawOptions> = parseArguments(command, argv);
  if (parsed.kind === 'text') return parsed;
  const { json = false, cid, listener } = parsed.options;
  return {
    kind: 'run',
    arguments: {
      control: controlPath(parsed.options, env),
      json,
      ...(cid !== undefined && { cid: parseNumberOption('--cid', cid, CIDS) }),
      ...(listener !== undefined && { listener: parseListener(listener) }),
    },
  };
}

/**
 * @returns the text to print
 * @throws VsockProxyError `control`; `usage` for a listener that the proxy does not have
 */
export async function runConnections({ control, json, cid, listener }: ConnectionsArguments): Promise<string> {
  const all = await askJson<readonly ConnectionSnapshot[]>(control, '/connections');
  if (listener !== undefined && !all.some(({ address }) => address === listener)) {
    const { listeners } = await askJson<Pick<Snapshot, 'listeners'>>(control, '/status');
    const known = listeners.map(({ address }) => address);
    if (!known.includes(listener)) throw noSuchListener(listener, 'the proxy', known);
  }
  const wanted = all.filter(
    ({ client, address }) =>
      (cid === undefined || (client.family === 'vsock' && client.cid === cid)) &&
      (listener === undefined || listener === address),
  );
  return json ? `${JSON.stringify(wanted, undefined, 2)}\n` : formatConnections(wanted);
}

/** The oldest connection comes first. */
export function formatConnections(connections: readonly ConnectionSnapshot[]): string {
  const rows = [...connections]
    .sort((one, other) => other.ageMs - one.ageMs)
    .map(({ address, client, phase, target, server, bytesUp, bytesDown, ageMs, idleMs }) => [
      client.family === 'vsock' ? `${client.cid}:${client.port}` : formatServer(client),
      address,
      phase,
      escapeControls(target ?? ''),
      server === undefined ? '' : formatServer(server),
      formatBytes(bytesUp),
      formatBytes(bytesDown),
      formatDuration(ageMs / 1000),
      formatDuration(idleMs / 1000),
    ]);
  return formatTable(['CLIENT', 'LISTENER', 'PHASE', 'TARGET', 'SERVER', 'UP', 'DOWN', 'AGE', 'IDLE'], rows);
}

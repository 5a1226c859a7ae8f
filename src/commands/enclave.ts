/** `vsock-proxy enclave`: the entry point of an enclave, which runs the application. */
import { parseConnect } from '../config/schema/addresses.ts';
import type { SocketAddress } from '../dataplane/contract.ts';
import { VsockProxyError } from '../platform/errors.ts';
import { quoteBriefly } from '../platform/escape.ts';
import { PROGRAM } from '../platform/system/program.ts';
import { CID_ANY, CID_PARENT } from '../platform/vsock.ts';
import { DEFAULT_CONFIG_PATH } from './line/help.ts';
import { defineCommand, type Parsed, parseArguments } from './line/parse.ts';

export interface EnclaveArguments {
  readonly configPath: string;
  /** The address of a vsock port of the parent. */
  readonly parentAddress: (port: number) => SocketAddress;
  /** The address where a vsock port of this enclave is listened on. */
  readonly ownAddress: (port: number) => SocketAddress;
  /** Where log lines and the application's output are sent; absent: to standard error and output. */
  readonly logTo?: SocketAddress;
  readonly command: readonly [program: string, ...args: string[]];
}

const HELP = `
It brings the loopback interface up, completes /etc/hosts, listens as the
sections egress, ingress and forward of the file say, sets http_proxy and
similar variables, and then runs the command. It passes on standard streams,
signals and the exit status. The parent uses the same file:
vsock-proxy serve --enclave-cid N

With egress, a DNS server at 127.0.0.1:53 resolves the allowed names, and
/etc/resolv.conf points to it. Applications without a proxy setting reach these
names through the proxy, on the ports 80 and 443 (egress.transparent_ports).

Example: the last lines of a Dockerfile whose CMD was ["python3", "app.py"]

  COPY vsock-proxy.yaml ${DEFAULT_CONFIG_PATH}
  CMD ["${PROGRAM}", "enclave", "--", "python3", "app.py"]

Exit status: that of the command, 128 + n if signal n ended it; 127 if it was
not found, 126 if it could not be executed; 1 if the enclave could not be set
up, 2 if the command line is wrong.
`;

/** The options as commander returns them. */
interface RawOptions {
  readonly config: string;
  readonly parent: string;
  readonly log?: string;
}

/**
 * @param argv without the names of the program and the command
 * @throws VsockProxyError `usage`
 */
export function parseEnclaveCommand(
  argv: readonly string[],
): { readonly kind: 'run'; readonly arguments: EnclaveArguments } | { readonly kind: 'text'; readonly text: string } {
  const command = defineCommand('enclave')
    .argument('<command...>')
    .passThroughOptions()
    .option('--config <config_file>', 'the YAML file', DEFAULT_CONFIG_PATH)
    .option('--log <address>', "send log lines and the command's output to this address, such as vsock:3:9514")
    .option('--parent <cid>', 'the CID of the parent; or unix:DIRECTORY, for tests', `${CID_PARENT}`)
    .addHelpText('after', HELP);
  const parsed: Parsed<RawOptions> = parseArguments(command, argv);
  if (parsed.kind === 'text') return parsed;
  const { config: configPath, parent, log } = parsed.options;
  const [program = '', ...args] = parsed.args;
  if (program === '') throw new VsockProxyError('usage', 'the command is an empty word');
  return {
    kind: 'run',
    arguments: {
      configPath,
      ...parseParent(parent),
      ...(log !== undefined && { logTo: parseLogAddress(log) }),
      command: [program, ...args],
    },
  };
}

/**
 * In `unix:DIRECTORY`, each vsock port is a socket in that directory: `parent-PORT`, and `enclave-PORT` for our own.
 */
function parseParent(text: string): Pick<EnclaveArguments, 'parentAddress' | 'ownAddress'> {
  const directory = text.startsWith('unix:') ? text.slice('unix:'.length) : undefined;
  if (directory?.startsWith('/')) {
    const socket = (name: string) => ({ family: 'unix', path: `${directory}/${name}` }) as const;
    return { parentAddress: (port) => socket(`parent-${port}`), ownAddress: (port) => socket(`enclave-${port}`) };
  }
  const cid = /^\d{1,10}$/.test(text) ? Number(text) : CID_ANY;
  if (cid >= CID_ANY) {
    throw new VsockProxyError('usage', `option '--parent' wants a CID, not ${quoteBriefly(text)}`, {
      hint: 'the parent of a Nitro Enclave is 3, and under QEMU or Firecracker it is 2',
    });
  }
  return {
    parentAddress: (port) => ({ family: 'vsock', cid, port }),
    ownAddress: (port) => ({ family: 'vsock', cid: CID_ANY, port }),
  };
}

function parseLogAddress(text: string): SocketAddress {
  const destination = parseConnect(text);
  if (!('problem' in destination) && destination.kind === 'address') return destination.address;
  throw new VsockProxyError('usage', `option '--log' wants vsock:CID:PORT, not ${quoteBriefly(text)}`, {
    hint: 'the parent listens there with route: log, and is CID 3: vsock:3:9514',
  });
}

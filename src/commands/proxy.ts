/** `vsock-proxy <local_port> <remote_addr> <remote_port>`, the drop-in form: one listener, one target. */
import { Command, Option } from 'commander';
import { parseTargetHost, parseTcpPort } from '../access/address.ts';
import type { ProxyRoute } from '../config/proxy-plan.ts';
import { CONNECTIONS } from '../config/schema/connections.ts';
import { VsockProxyError } from '../platform/errors.ts';
import { quoteBriefly } from '../platform/escape.ts';
import { CID_PARENT } from '../platform/vsock.ts';
import { DEFAULT_CONFIG_PATH, EXAMPLES, listCommands, SUMMARY, USAGE } from './line/help.ts';
import { isVsockPort, parseCid, parseListenAddress } from './line/listen.ts';
import { parseUnsigned } from './line/number.ts';
import { parseArguments } from './line/parse.ts';
import { closestCommand } from './list.ts';
import { versionText } from './version.ts';

export type Invocation =
  | { readonly kind: 'proxy'; readonly arguments: ProxyRoute }
  /** `--help` or `--version`: text for standard output. */
  | { readonly kind: 'text'; readonly text: string };

/**
 * Checks in the order of AWS's proxy: usage, local port, remote port, number of workers; then the remote address.
 * @param argv without the name of the program
 * @throws VsockProxyError `usage` or `argument`
 */
export function parseProxyCommand(argv: readonly string[], version: string): Invocation {
  refuseMisspeltCommand(argv);
  const parsed = parseArguments<RawOptions>(defineProxyCommand(version), argv);
  if (parsed.kind === 'text') return parsed;
  const [localPort = '', remoteAddress = '', remotePort = ''] = parsed.args;
  return { kind: 'proxy', arguments: readArguments({ ...parsed.options, localPort, remoteAddress, remotePort }) };
}

/** A misspelt command cannot be an address to listen on. */
function refuseMisspeltCommand([word]: readonly string[]): void {
  const meant = word === undefined ? undefined : closestCommand(word);
  if (word === undefined || meant === undefined) return;
  throw new VsockProxyError('usage', `unknown command ${quoteBriefly(word)} (Did you mean ${meant}?)`);
}

/** The options as commander returns them. */
interface RawOptions {
  readonly ipv4?: true;
  readonly ipv6?: true;
  readonly num_workers?: string;
  readonly config: string;
  readonly cid?: string;
}

function defineProxyCommand(version: string): Command {
  return new Command('vsock-proxy')
    .usage(USAGE)
    .description(SUMMARY)
    .argument('<local_port>', 'vsock port to listen on; or unix:PATH or tcp:IP:PORT, for tests')
    .argument('<remote_addr>', 'name or IP address of the server')
    .argument('<remote_port>', 'TCP port of the server')
    .addOption(new Option('-4, --ipv4', 'use only IPv4 addresses of the server').conflicts('ipv6'))
    .addOption(new Option('-6, --ipv6', 'use only IPv6 addresses of the server'))
    .option(
      '-w, --num_workers <workers>',
      `most connections at the same time (default: limits.connections of the file, else ${CONNECTIONS.proxyDefault})`,
    )
    .option('--config <config_file>', 'YAML file with the allowlist', DEFAULT_CONFIG_PATH)
    .option('--cid <any|local|N>', `vsock address to listen on (default: ${CID_PARENT}, the parent of Nitro Enclaves)`)
    .helpOption('-h, --help', 'print this help')
    .version(versionText(version).trimEnd(), '-V, --version', 'print the version')
    .addHelpText('after', `${listCommands()}${EXAMPLES}`);
}

function readArguments(
  raw: RawOptions & { readonly localPort: string; readonly remoteAddress: string; readonly remotePort: string },
): ProxyRoute {
  if (raw.cid !== undefined && !isVsockPort(raw.localPort)) {
    throw new VsockProxyError(
      'usage',
      `option '--cid' is for vsock and cannot be used with ${quoteBriefly(raw.localPort)}`,
    );
  }
  const cid = raw.cid === undefined ? CID_PARENT : parseCid(raw.cid);
  const family = raw.ipv4 ? 'ipv4' : raw.ipv6 ? 'ipv6' : 'any';

  const listenOn = parseListenAddress(raw.localPort, cid);
  const port = parseTcpPort(raw.remotePort.replace(/^\+/, ''));
  if (port === undefined) {
    throw new VsockProxyError(
      'argument',
      `Remote port is not valid: ${quoteBriefly(raw.remotePort)} is no whole number in 1–65535`,
      {
        hint: 'the third argument is the TCP port of the server, such as 443',
      },
    );
  }
  const connections = raw.num_workers === undefined ? undefined : parseWorkers(raw.num_workers);
  const host = parseTargetHost(raw.remoteAddress);
  if (host.kind === 'ip' && family !== 'any' && family !== `ipv${host.ip.family}`) {
    throw new VsockProxyError(
      'argument',
      `Remote address is not valid: ${host.ip.text} is an IPv${host.ip.family} address`,
      {
        hint: `leave out --${family}, or give a name or an address of that family`,
      },
    );
  }
  return {
    listenOn,
    target: { host, port },
    written: raw.remoteAddress,
    family,
    configPath: raw.config,
    ...(connections === undefined ? {} : { connections }),
  };
}

function parseWorkers(text: string): number {
  const workers = parseUnsigned(text.replace(/^=/, '')); // `-w=10`, as the parser of AWS's proxy accepts it
  if (workers === 0) {
    throw new VsockProxyError('argument', 'Number of workers must not be 0', {
      hint: 'it is the most connections at the same time; leave --num_workers out for the default',
    });
  }
  if (workers === undefined || workers > CONNECTIONS.max) {
    throw new VsockProxyError(
      'argument',
      `Number of workers is not valid: ${quoteBriefly(text)} is no whole number in 1–${CONNECTIONS.max}`,
      {
        hint: 'it is the most connections at the same time, such as 100',
      },
    );
  }
  return workers;
}

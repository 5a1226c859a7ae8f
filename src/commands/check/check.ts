/** `vsock-proxy check`: finds what is wrong with a configuration file, and what it allows. */

import { parseHost, parseTcpPort } from '../../access/address.ts';
import type { Target } from '../../access/rules.ts';
import { type EnclaveAddresses, planEnclave } from '../../config/enclave-plan.ts';
import { loadLeniently } from '../../config/lenient.ts';
import { inspectFile } from '../../config/load.ts';
import { type Circumstances, complete, partialListeners } from '../../config/partial-plan.ts';
import { formatListen, type TemplateValues } from '../../config/schema/addresses.ts';
import { refuseCredentials } from '../../config/upstream-proxy.ts';
import { VsockProxyError } from '../../platform/errors.ts';
import { quoteBriefly } from '../../platform/escape.ts';
import { CID_ANY, CID_PARENT } from '../../platform/vsock.ts';
import { DEFAULT_CONFIG_PATH } from '../line/help.ts';
import { noSuchListener, parseListener } from '../line/listener.ts';
import { parseEnclaveCid, parseNumberOption } from '../line/number.ts';
import { defineCommand, type Parsed, parseArguments, suggestConfig } from '../line/parse.ts';
import { answerByListeners, answerByRules, type CheckedListener, mayBecome, type TargetQuery } from './answer.ts';
import type { ResolveName } from './judge.ts';
import { type CheckReport, type DropInView, exitStatusOf, formatJson, formatText } from './report.ts';

export interface CheckArguments {
  readonly configPath: string;
  readonly target?: Target;
  /** The CID of the client. */
  readonly cid?: number;
  /** The normalised address of the only listener to check. */
  readonly listener?: string;
  readonly enclaveCid?: number;
  /** Whether the network may be used. */
  readonly resolve: boolean;
  readonly json: boolean;
}

export interface CheckDependencies {
  readonly resolveName: ResolveName;
  readonly readPlacement: () => Promise<TemplateValues>;
}

/** The settings of `vsock-proxy enclave` without options. */
const ON_NITRO: EnclaveAddresses = {
  parentAddress: (port) => ({ family: 'vsock', cid: CID_PARENT, port }),
  ownAddress: (port) => ({ family: 'vsock', cid: CID_ANY, port }),
};

const CIDS = { min: 0, max: CID_ANY - 1 };

const HELP = `
Without a target it prints every problem of the file, with its line, and how
many of them the drop-in form (a port, a host and a port) ignores. With a target
it prints whether a client can reach it, through any listener of the file or
only through --listener. A file without listeners is read as the drop-in form
reads it. At the end it prints what the file means in the enclave.

Without --resolve nothing is sent to the network. With it, names are resolved,
each address gets a verdict, and the metadata service gives \${region} and
\${domain}.

Examples:

  vsock-proxy check --config my.yaml
  vsock-proxy check --config my.yaml kms.eu-west-1.amazonaws.com 443
  vsock-proxy check --config my.yaml --cid 16 --resolve example.com 443

Exit status: 0 if the file is valid and the target allowed; 1 if not, or if only
--resolve could decide; 2 if the command line is wrong.
`;

/**
 * @param argv without the names of the program and the command
 * @throws VsockProxyError `usage`
 */
export function parseCheckCommand(
  argv: readonly string[],
): { readonly kind: 'run'; readonly arguments: CheckArguments } | { readonly kind: 'text'; readonly text: string } {
  const command = defineCommand('check')
    .argument('[host]', 'name or IP address that a client wants to reach')
    .argument('[port]', 'its TCP port')
    .option('--config <config_file>', 'the YAML file', DEFAULT_CONFIG_PATH)
    .option('--cid <N>', 'only for this client; otherwise for each in the rules')
    .option('--listener <address>', 'only through this listener, such as vsock:3:8000')
    .option('--enclave-cid <N>', 'the CID of the enclave of ingress, as for serve')
    .option('--resolve', 'resolve names, and use the metadata service')
    .option('--json', 'print one JSON object')
    .addHelpText('after', HELP);
  const parsed: Parsed<RawOptions> = parseArguments(command, argv);
  return parsed.kind === 'text' ? parsed : { kind: 'run', arguments: readArguments(parsed.options, parsed.args, argv) };
}

/** The options as commander returns them. */
interface RawOptions {
  readonly config: string;
  readonly cid?: string;
  readonly listener?: string;
  readonly enclaveCid?: string;
  readonly resolve?: true;
  readonly json?: true;
}

function readArguments(options: RawOptions, [host, port]: readonly string[], argv: readonly string[]): CheckArguments {
  const { config: configPath, resolve = false, json = false } = options;
  if (host !== undefined && port === undefined)
    throw usage("missing argument 'port' behind the host", suggestConfig(argv));
  const target = host === undefined || port === undefined ? undefined : readTarget(host, port);
  if (target === undefined && (options.cid !== undefined || options.listener !== undefined)) {
    throw usage(`option '--${options.cid === undefined ? 'listener' : 'cid'}' goes with a host and a port`);
  }
  return {
    configPath,
    resolve,
    json,
    ...(target && { target }),
    ...(options.cid !== undefined && { cid: parseNumberOption('--cid', options.cid, CIDS) }),
    ...(options.listener !== undefined && { listener: parseListener(options.listener) }),
    ...(options.enclaveCid !== undefined && {
      enclaveCid: parseEnclaveCid(options.enclaveCid),
    }),
  };
}

function readTarget(hostText: string, portText: string): Target {
  const host = parseHost(hostText);
  if (host.kind === 'malformed') throw usage(`the host is not valid: ${host.problem}`, host.hint);
  const port = parseTcpPort(portText);
  if (port === undefined) throw usage(`the port is not valid: ${quoteBriefly(portText)} is no whole number in 1–65535`);
  return { host, port };
}

function usage(message: string, hint?: string): VsockProxyError {
  return new VsockProxyError('usage', message, hint === undefined ? {} : { hint });
}

/**
 * @returns the text to print, and the exit status
 * @throws VsockProxyError `usage` for a listener that the file does not have; also what `readPlacement` throws
 */
export async function runCheck(
  options: CheckArguments,
  dependencies: CheckDependencies,
): Promise<{ readonly text: string; readonly exitStatus: number }> {
  const report = await check(options, dependencies);
  return { text: (options.json ? formatJson : formatText)(report), exitStatus: exitStatusOf(report) };
}

async function check(options: CheckArguments, { resolveName, readPlacement }: CheckDependencies): Promise<CheckReport> {
  const { configPath: config, target, cid, resolve, listener: only } = options;
  const file = refuseCredentials(inspectFile(config, 'any'));
  if ('problems' in file) {
    const query = target && { target, ...(cid !== undefined && { cid }), ...(resolve && { resolveName }) };
    return { config, ...file, listeners: [], enclave: [], dropIn: await readAsDropIn(config, query) };
  }

  const partials = partialListeners(file);
  const asksPlacement =
    resolve &&
    partials.some(({ route }) => route.kind === 'template' && (target === undefined || mayBecome(route, target)));
  const circumstances: Circumstances = {
    ...(asksPlacement && { placement: await readPlacement() }),
    ...(options.enclaveCid !== undefined && { enclaveCid: options.enclaveCid }),
  };
  const problems: VsockProxyError[] = [];
  const listeners: CheckedListener[] = [];
  for (const partial of partials) {
    const completion = complete(partial, circumstances);
    if (completion.kind === 'problem') problems.push(completion.problem);
    else listeners.push({ partial, route: completion.kind === 'listener' ? completion.listener.route : partial.route });
  }
  const enclave = planEnclave(file, ON_NITRO);
  const report = { config, problems, more: 0, listeners, enclave: enclave.listeners };
  if (problems.length > 0 || target === undefined) return report;

  const query = { target, ...(cid !== undefined && { cid }), ...(resolve && { resolveName }) };
  // A file without listeners is for the drop-in form, unless it has listeners of an enclave.
  const isForProxy = file.settings.allowlist !== undefined || enclave.listeners.length === 0;
  if (listeners.length === 0 && only === undefined && isForProxy) {
    return { ...report, answer: await answerByRules(file, query) };
  }
  const egress = only === undefined ? enclave.egress : undefined;
  return { ...report, answer: await answerByListeners(choose(listeners, only), egress, query) };
}

async function readAsDropIn(config: string, query: TargetQuery | undefined): Promise<DropInView> {
  try {
    const file = refuseCredentials(loadLeniently(config));
    if ('problems' in file) return { kind: 'refused' };
    const { ignored, more } = file;
    return { kind: 'read', ignored, more, ...(query && { answer: await answerByRules(file, query) }) };
  } catch (error) {
    if (error instanceof VsockProxyError && error.code === 'config') return { kind: 'refused' };
    throw error;
  }
}

function choose(listeners: readonly CheckedListener[], only: string | undefined): readonly CheckedListener[] {
  const addresses = listeners.map(({ partial }) => formatListen(partial.on));
  if (only === undefined) return listeners;
  if (addresses.includes(only)) return listeners.filter((_, index) => addresses[index] === only);
  throw noSuchListener(only, 'the file', addresses);
}

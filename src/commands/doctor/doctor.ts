/** `vsock-proxy doctor`: checks everything that the proxy needs, and says how to fix what is wrong. */

import { parseHost, toTcpPort } from '../../access/address.ts';
import type { Target } from '../../access/rules.ts';
import { type LenientFile, loadLeniently } from '../../config/lenient.ts';
import { inspectFile, type LoadedFile, type Refused } from '../../config/load.ts';
import { refuseCredentials } from '../../config/upstream-proxy.ts';
import { VsockProxyError } from '../../platform/errors.ts';
import { escapeControls } from '../../platform/escape.ts';
import { formatTarget } from '../../proxy/report/format.ts';
import { DEFAULT_CONFIG_PATH } from '../line/help.ts';
import { defineCommand, type Parsed, parseArguments } from '../line/parse.ts';
import { parseTextOption } from '../line/text.ts';
import { type Check, type CheckResult, fail, skip } from './check.ts';
import { enclaveChecks } from './enclave.ts';
import { describeConfig } from './file.ts';
import type { Host } from './host.ts';
import { type Network, networkChecks } from './network.ts';
import { nitroChecks } from './nitro.ts';
import { type RequestStatus, runningChecks } from './running.ts';
import { readUnit, SERVICE, serviceChecks } from './service.ts';
import { type Purpose, readPurpose } from './targets.ts';
import { vsockChecks } from './vsock.ts';

export interface DoctorArguments {
  /** Absent: the file of the service, or the default. */
  readonly configPath?: string;
  readonly where: 'parent' | 'enclave';
  /** Whether servers may be contacted. */
  readonly network: boolean;
  readonly json: boolean;
  /** Whether a warning counts as a failure. */
  readonly strict: boolean;
  /** Names of checks to leave out. */
  readonly skip: readonly string[];
  readonly nitroCli: string;
}

export interface DoctorDependencies {
  readonly host: Host;
  readonly network: Network;
  /** The state of the running proxy. */
  readonly requestStatus: RequestStatus;
  /** Whether the rules of the file allow the target for a client, as `vsock-proxy check` decides. */
  readonly judge: (configPath: string, target: Target) => Promise<CheckResult>;
}

const HELP = `
Each check prints one line: ok, warn, fail or skip, its name, what was found,
and how to fix it. Nothing is changed. Without --network it connects to no
server except the metadata service of the instance.

Examples:

  vsock-proxy doctor
  vsock-proxy doctor --network --json
  vsock-proxy doctor --enclave --config /etc/vsock-proxy.yaml     in an enclave

Exit status: 0 if no check fails (with --strict: and none warns), 1 if one does,
2 if the command line is wrong.
`;

/** The options as commander returns them. */
interface RawOptions {
  readonly config?: string;
  readonly enclave?: true;
  readonly network?: true;
  readonly json?: true;
  readonly strict?: true;
  readonly skip?: readonly string[];
  readonly nitroCli: string;
}

/**
 * @param argv without the names of the program and the command
 * @throws VsockProxyError `usage`
 */
export function parseDoctorCommand(
  argv: readonly string[],
): { readonly kind: 'run'; readonly arguments: DoctorArguments } | { readonly kind: 'text'; readonly text: string } {
  const command = defineCommand('doctor')
    .option('--config <config_file>', 'the YAML file (default: that of the service)')
    .option('--enclave', 'check this enclave, not a parent')
    .option('--network', 'resolve the names of servers, connect, and do a TLS handshake')
    .option('--strict', 'a warning counts as a failure')
    .option('--skip <name>', 'leave this check out; may be repeated', (name: string, names: readonly string[] = []) => [
      ...names,
      name,
    ])
    .option('--json', 'print one JSON object')
    .option('--nitro-cli <program>', 'the program that lists running enclaves', 'nitro-cli')
    .addHelpText('after', HELP);
  const parsed: Parsed<RawOptions> = parseArguments(command, argv);
  if (parsed.kind === 'text') return parsed;
  const {
    config,
    enclave,
    network = false,
    json = false,
    strict = false,
    skip: skipped = [],
    nitroCli,
  } = parsed.options;
  const where = enclave ? 'enclave' : 'parent';
  const unknown = skipped.find((name) => !NAMES[where].includes(name));
  if (unknown !== undefined) {
    throw new VsockProxyError('usage', `there is no check ${JSON.stringify(escapeControls(unknown))}`, {
      hint: `the checks are ${NAMES[where].join(', ')}`,
    });
  }
  return {
    kind: 'run',
    arguments: {
      where,
      network,
      json,
      strict,
      skip: skipped,
      nitroCli: parseTextOption('--nitro-cli', nitroCli),
      ...(config !== undefined && { configPath: config }),
    },
  };
}

/**
 * In the order of the output. Checks come after those on which they depend. A test compares this list with the checks.
 */
const NAMES: Readonly<Record<DoctorArguments['where'], readonly string[]>> = {
  parent: [
    ...['vsock', 'cid', 'vsock-namespace', 'vhost', 'port', 'port-9000', 'kernel'],
    ...['nitro-driver', 'allocator', 'enclaves'],
    ...['unit', 'service', 'command', 'descriptors', 'limits', 'dns', 'config', 'endpoint'],
    ...['metadata', 'resolv-conf', 'clock', 'names', 'servers'],
  ],
  enclave: ['vsock', 'loopback', 'config', 'hosts', 'resolv-conf', 'nsm', 'clock', 'dns', 'parent', 'policy'],
};

/** A check that was run. */
export interface Examined extends CheckResult {
  readonly name: string;
}

export async function runDoctor(
  { where, configPath, network, json, strict, skip: skipped, nitroCli }: DoctorArguments,
  dependencies: DoctorDependencies,
): Promise<{ readonly text: string; readonly exitStatus: number }> {
  const checks =
    where === 'parent'
      ? await parentChecks(dependencies, { configPath, network, nitroCli })
      : enclaveChecks(dependencies.host, dependencies.network, configPath ?? DEFAULT_CONFIG_PATH);
  const examined = (await Promise.all(checks.map((check) => examine(check, skipped)))).flat();
  const failed = examined.some(({ status }) => status === 'fail' || (strict && status === 'warn'));
  return { text: json ? formatJson(examined, failed) : formatText(examined), exitStatus: failed ? 1 : 0 };
}

async function examine(check: Check, skipped: readonly string[]): Promise<readonly Examined[]> {
  const { name } = check;
  if (skipped.includes(name)) return [{ name, ...skip('left out by --skip') }];
  try {
    const findings = await check.run();
    return (Array.isArray(findings) ? (findings as readonly CheckResult[]) : [findings as CheckResult]).map((each) => ({
      name,
      ...each,
    }));
  } catch (error) {
    return [{ name, ...fail(`the check itself failed: ${error instanceof Error ? error.message : String(error)}`) }];
  }
}

async function parentChecks(
  { host, network, requestStatus, judge }: DoctorDependencies,
  options: { readonly configPath: string | undefined; readonly network: boolean; readonly nitroCli: string },
): Promise<readonly Check[]> {
  const unit = await readUnit(host);
  const configPath = options.configPath ?? configOf(unit?.words ?? []) ?? DEFAULT_CONFIG_PATH;
  const loaded = refuseCredentials(readFile(configPath, unit?.words ?? []));
  const file = 'problems' in loaded ? undefined : loaded;
  const endpoint = readEndpoint(host);
  const purpose = readPurpose(unit?.words ?? [], file, endpoint, unit !== undefined);
  return [
    ...vsockChecks(host, purpose.ports, unit?.pid),
    ...nitroChecks(host, options.nitroCli),
    ...serviceChecks(host, unit, connectionsOf(file, purpose)),
    ...runningChecks(requestStatus),
    { name: 'config', run: () => describeConfig(configPath, loaded) },
    { name: 'endpoint', run: () => checkEndpoint(configPath, file, purpose, judge) },
    ...networkChecks({
      host,
      network,
      allowed: options.network,
      targets: purpose.targets,
      endpointGiven: isEndpointGiven(host, purpose, file),
    }),
  ];
}

/** Reads the file as the running process does: the drop-in form ignores mistakes that open nothing. */
function readFile(path: string, [, first = '']: readonly string[]): LoadedFile | LenientFile | Refused {
  if (first === 'serve') return inspectFile(path, 'serve');
  const strict = inspectFile(path, 'any');
  if (!('problems' in strict) || first === '') return strict;
  try {
    return loadLeniently(path);
  } catch (error) {
    if (error instanceof VsockProxyError) return strict;
    throw error;
  }
}

/** The value of `--config` of a running process. */
function configOf(words: readonly string[]): string | undefined {
  const at = words.indexOf('--config');
  return at < 0 ? words.find((word) => word.startsWith('--config='))?.slice('--config='.length) : words[at + 1];
}

const SYSCONFIG = `/etc/sysconfig/${SERVICE}`;
const FOUND_ENDPOINT = `/run/${SERVICE}/endpoint`;

/** The KMS endpoint that an administrator set, or that the last start found. */
function readEndpoint(host: Host): Target | undefined {
  const given = valueIn(host.read(SYSCONFIG), 'VSOCK_PROXY_KMS_ENDPOINT');
  const name = given ?? valueIn(host.read(FOUND_ENDPOINT), 'KMS_ENDPOINT');
  const parsed = name === undefined ? undefined : parseHost(name);
  const port = toTcpPort(443);
  return parsed === undefined || parsed.kind === 'malformed' || port === undefined ? undefined : { host: parsed, port };
}

function valueIn(text: string | undefined, key: string): string | undefined {
  const [, value] = new RegExp(`^\\s*${key}="?([^"\\s]+)"?\\s*$`, 'm').exec(text ?? '') ?? [];
  return value;
}

/** The metadata service is not needed if the endpoint is set, or if `serve` has no placeholders. */
function isEndpointGiven(host: Host, { form }: Purpose, file: LoadedFile | undefined): boolean {
  if (form === 'proxy') return valueIn(host.read(SYSCONFIG), 'VSOCK_PROXY_KMS_ENDPOINT') !== undefined;
  return !JSON.stringify(file?.settings.listeners ?? '').includes('${');
}

/** The limit of all listeners together. */
function connectionsOf(file: LoadedFile | undefined, { form, ports }: Purpose): number | undefined {
  if (file === undefined) return undefined;
  const { connections } = file.settings.limits;
  if (form === 'proxy') return connections ?? 4;
  return (connections ?? 1000) * Math.max(1, ports.length);
}

async function checkEndpoint(
  configPath: string,
  file: LoadedFile | undefined,
  { form, targets }: Purpose,
  judge: DoctorDependencies['judge'],
): Promise<CheckResult | readonly CheckResult[]> {
  if (file === undefined) return skip('the configuration is not valid');
  if (targets.length === 0) return skip(form === 'serve' ? 'no listener has a fixed server' : 'no server is known yet');
  return await Promise.all(
    targets.map(async (target) => {
      const finding = await judge(configPath, target);
      return { ...finding, found: `${formatTarget(target)}: ${finding.found}` };
    }),
  );
}

const WIDTH = { ok: 'ok  ', warn: 'warn', fail: 'fail', skip: 'skip' } as const;

function formatText(examined: readonly Examined[]): string {
  const width = Math.max(...examined.map(({ name }) => name.length));
  const lines = examined.flatMap(({ status, name, found, fix }) => [
    `${WIDTH[status]}  ${name.padEnd(width)}  ${escapeControls(found)}`,
    ...(fix === undefined ? [] : [`${' '.repeat(width + 8)}→ ${escapeControls(fix)}`]),
  ]);
  const of = (status: CheckResult['status']) => examined.filter((each) => each.status === status).length;
  const count = (status: CheckResult['status'], word: string) => `${of(status)} ${word}${of(status) === 1 ? '' : 's'}`;
  const summary = `${of('ok')} ok, ${count('warn', 'warning')}, ${count('fail', 'failure')}, ${of('skip')} skipped`;
  return `${lines.join('\n')}\n\n${summary}\n`;
}

/** Prints one object; its keys are an interface. */
function formatJson(examined: readonly Examined[], failed: boolean): string {
  return `${JSON.stringify({ ok: !failed, checks: examined }, undefined, 2)}\n`;
}

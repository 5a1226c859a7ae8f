/** `vsock-proxy kms-endpoint`: prints the name of KMS in this instance's region, or writes it to a file for systemd. */
import { Option } from 'commander';
import { formatHost, parseHost } from '../access/address.ts';
import { domainOf, type EndpointForm, type Placement, parseDomain, parseRegion } from '../aws/partitions.ts';
import type { Environment } from '../platform/environment.ts';
import { VsockProxyError } from '../platform/errors.ts';
import { quoteBriefly } from '../platform/escape.ts';
import { parseUnsigned } from './line/number.ts';
import { defineCommand, type Parsed, parseArguments } from './line/parse.ts';

const DEFAULT_TIMEOUT_SECONDS = 60;
/** A day. For a longer time, 0 means for ever. */
const LONGEST_TIMEOUT_SECONDS = 86_400;

export interface KmsEndpointArguments {
  /** The file to write; absent: print the name. */
  readonly output?: string;
  readonly source: EndpointSource;
}

export type EndpointSource =
  /** This endpoint, whatever the region. */
  | { readonly kind: 'endpoint'; readonly host: string }
  | { readonly kind: 'placement'; readonly placement: Placement; readonly form: EndpointForm }
  /** The endpoint of the region that the instance metadata service gives. A timeout of 0: never. */
  | {
      readonly kind: 'metadata';
      readonly form: EndpointForm;
      readonly timeoutMs: number;
      readonly version: 1 | 2;
    };

/** The variables that replace absent options. The service sets them in its sysconfig file. */
const HELP = `
Without --region, the instance metadata service gives the region. Requests go
to 169.254.169.254 and [fd00:ec2::254], and are repeated while the network comes
up.

These environment variables replace absent options (yes or no):

  VSOCK_PROXY_KMS_ENDPOINT  the endpoint itself; no request is sent
  VSOCK_PROXY_FIPS          as --fips
  VSOCK_PROXY_DUAL_STACK    as --dual-stack
  VSOCK_PROXY_IMDSV1        as --imdsv1

Exit status: 0, or 1 if there is no endpoint, or 2 if the command line is wrong.
`;

/**
 * @param argv without the names of the program and the command
 * @throws VsockProxyError `usage` or `argument`
 */
export function parseKmsEndpointCommand(
  argv: readonly string[],
  env: Environment,
):
  | { readonly kind: 'run'; readonly arguments: KmsEndpointArguments }
  | { readonly kind: 'text'; readonly text: string } {
  const parsed: Parsed<RawOptions> = parseArguments(defineKmsEndpointCommand(), argv);
  if (parsed.kind === 'text') return parsed;
  const { output } = parsed.options;
  const source = readSource(parsed.options, env);
  return { kind: 'run', arguments: output === undefined ? { source } : { output, source } };
}

/** The options as commander returns them. */
interface RawOptions {
  readonly output?: string;
  readonly fips?: true;
  readonly dualStack?: true;
  readonly region?: string;
  readonly domain?: string;
  readonly timeout?: string;
  readonly imdsv1?: true;
}

function defineKmsEndpointCommand() {
  return (
    defineCommand('kms-endpoint')
      // There is no --env-file, because Node.js takes it for itself, anywhere on the command line.
      .option('--output <file>', 'write KMS_ENDPOINT=<name> to the file, for EnvironmentFile= of systemd')
      .option('--fips', 'the endpoint with FIPS 140 validated cryptography: kms-fips.<region>.…')
      .option('--dual-stack', 'the endpoint with IPv4 and IPv6 addresses: kms.<region>.api.aws')
      .option('--region <region>', 'use this region, without the metadata service')
      .option(
        '--domain <domain>',
        'with --region: the domain of its partition, if this program does not know the region',
      )
      .addOption(
        new Option(
          '--timeout <seconds>',
          `how long to wait for the metadata service, 0 for ever (default: ${DEFAULT_TIMEOUT_SECONDS})`,
        ).conflicts('region'),
      )
      .addOption(new Option('--imdsv1', 'send no token, for services without tokens').conflicts('region'))
      .addHelpText('after', HELP)
  );
}

function readSource(options: RawOptions, env: Environment): EndpointSource {
  const form = {
    fips: options.fips ?? isSet(env, 'VSOCK_PROXY_FIPS'),
    dualStack: options.dualStack ?? isSet(env, 'VSOCK_PROXY_DUAL_STACK'),
  };
  const version = (options.imdsv1 ?? isSet(env, 'VSOCK_PROXY_IMDSV1')) ? 1 : 2;
  const timeoutMs = parseTimeout(options.timeout);
  const placement = readPlacementOptions(options);
  const host = readEndpoint(env);
  if (host !== undefined) return { kind: 'endpoint', host: alone(host, form, placement) };
  if (placement !== undefined) return { kind: 'placement', placement, form };
  return { kind: 'metadata', form, timeoutMs, version };
}

const ENDPOINT = 'VSOCK_PROXY_KMS_ENDPOINT';

/**
 * The endpoint of the environment variable. A request for another form at the same time is refused, because it would
 * have no effect.
 */
function alone(host: string, { fips, dualStack }: EndpointForm, placement: Placement | undefined): string {
  const also = fips ? 'FIPS' : dualStack ? 'dual-stack' : placement !== undefined ? '--region' : undefined;
  if (also === undefined) return host;
  throw new VsockProxyError('argument', `${ENDPOINT} is the endpoint itself, and ${also} cannot change it`, {
    hint: `take one of them out; ${ENDPOINT} is ${host}`,
  });
}

function readEndpoint(env: Environment): string | undefined {
  const text = env[ENDPOINT] ?? '';
  if (text === '') return undefined;
  const host = parseHost(text);
  if (host.kind !== 'malformed') return formatHost(host);
  throw new VsockProxyError('argument', `${ENDPOINT} is not valid: ${host.problem}`, { hint: host.hint });
}

function readPlacementOptions(options: RawOptions): Placement | undefined {
  if (options.region === undefined) {
    if (options.domain === undefined) return undefined;
    throw new VsockProxyError('usage', "option '--domain' goes with --region");
  }
  const region = parseRegion(options.region);
  if (region === undefined) {
    throw new VsockProxyError('argument', `Region is not valid: ${quoteBriefly(options.region)}`, {
      hint: 'write it like eu-west-1',
    });
  }
  const domain = options.domain === undefined ? domainOf(region) : parseDomain(options.domain);
  if (domain !== undefined) return { region, domain };
  throw new VsockProxyError(
    'argument',
    options.domain === undefined
      ? `Region is not known: ${quoteBriefly(region)}`
      : `Domain is not valid: ${quoteBriefly(options.domain)}`,
    { hint: 'give the domain of its partition, such as --domain amazonaws.com' },
  );
}

function parseTimeout(text: string | undefined): number {
  if (text === undefined) return DEFAULT_TIMEOUT_SECONDS * 1000;
  const seconds = parseUnsigned(text);
  if (seconds !== undefined && seconds <= LONGEST_TIMEOUT_SECONDS) return seconds * 1000;
  throw new VsockProxyError(
    'usage',
    `option '--timeout' wants whole seconds, 0–${LONGEST_TIMEOUT_SECONDS}, not ${quoteBriefly(text)}`,
  );
}

/** The words that systemd accepts for booleans. An empty value counts as absent. */
const YES = ['1', 'yes', 'true', 'on'];
const NO = ['', '0', 'no', 'false', 'off'];

function isSet(env: Environment, name: string): boolean {
  const text = (env[name] ?? '').toLowerCase();
  if (YES.includes(text)) return true;
  if (NO.includes(text)) return false;
  throw new VsockProxyError('argument', `${name} is not valid: ${quoteBriefly(text)}`, { hint: 'write yes or no' });
}

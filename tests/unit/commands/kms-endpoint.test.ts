import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { type KmsEndpointArguments, parseKmsEndpointCommand } from '../../../src/commands/kms-endpoint.ts';
import type { Environment } from '../../../src/platform/environment.ts';
import { VsockProxyError } from '../../../src/platform/errors.ts';

function parse(argv: readonly string[], env: Environment = {}): KmsEndpointArguments {
  const parsed = parseKmsEndpointCommand(argv, env);
  assert(parsed.kind === 'run');
  return parsed.arguments;
}

/** The error, as `code: line`. */
function refuse(argv: readonly string[], env: Environment = {}): string {
  try {
    parse(argv, env);
  } catch (error) {
    assert(error instanceof VsockProxyError, String(error));
    return `${error.code}: ${error.line}`;
  }
  return assert.fail(`${argv.join(' ')} was accepted`);
}

describe('kms-endpoint refuses', () => {
  const cases: readonly (readonly [argv: readonly string[], env: Environment, says: RegExp])[] = [
    [['more'], {}, /^usage: too many arguments/],
    [['--nope'], {}, /^usage: unknown option '--nope'/],
    [['--fips=yes'], {}, /^usage: unknown option/],
    [['--output'], {}, /^usage: option '--output <file>' argument missing/],
    [['--timeout', '-1'], {}, /^usage: option '--timeout'/],
    [['--timeout', '1.5'], {}, /^usage: option '--timeout' wants whole seconds, 0–86400, not "1\.5"/],
    [['--timeout', '86401'], {}, /^usage: option '--timeout' wants/],
    [['--timeout', ''], {}, /^usage: option '--timeout' wants/],
    [['--domain', 'amazonaws.com'], {}, /^usage: option '--domain' goes with --region/],
    [['--region', 'eu-west-1', '--timeout', '5'], {}, /^usage: .*'--timeout <seconds>' cannot be used with .*--region/],
    [['--region', 'eu-west-1', '--imdsv1'], {}, /^usage: .*'--imdsv1' cannot be used with .*--region/],
    [['--region', 'EU'], {}, /^argument: Region is not valid: "EU"\. Hint: /],
    [['--region', 'xy-new-east-1'], {}, /^argument: Region is not known: "xy-new-east-1"\. Hint: .*--domain/],
    [['--region', 'eu-west-1', '--domain', 'evil'], {}, /^argument: Domain is not valid: "evil"\. Hint: /],
    [[], { VSOCK_PROXY_FIPS: 'maybe' }, /^argument: VSOCK_PROXY_FIPS is not valid: "maybe"\. Hint: write yes or no/],
    [[], { VSOCK_PROXY_DUAL_STACK: ' yes' }, /^argument: VSOCK_PROXY_DUAL_STACK is not valid/],
    [[], { VSOCK_PROXY_IMDSV1: '2' }, /^argument: VSOCK_PROXY_IMDSV1 is not valid/],
    [
      [],
      { VSOCK_PROXY_KMS_ENDPOINT: 'https://kms.example' },
      /^argument: VSOCK_PROXY_KMS_ENDPOINT is not valid: .*URL/,
    ],
    [[], { VSOCK_PROXY_KMS_ENDPOINT: 'a b' }, /^argument: VSOCK_PROXY_KMS_ENDPOINT is not valid/],
    [[], { VSOCK_PROXY_KMS_ENDPOINT: 'x\nRUST_LOG=off' }, /^argument: VSOCK_PROXY_KMS_ENDPOINT is not valid/],
    [
      ['--fips'],
      { VSOCK_PROXY_KMS_ENDPOINT: 'a.example' },
      /^argument: .* FIPS cannot change it\. Hint: .* a\.example/,
    ],
    [[], { VSOCK_PROXY_KMS_ENDPOINT: 'a.example', VSOCK_PROXY_DUAL_STACK: '1' }, /^argument: .* dual-stack cannot/],
    [['--region', 'eu-west-1'], { VSOCK_PROXY_KMS_ENDPOINT: 'a.example' }, /^argument: .* --region cannot change it/],
  ];
  for (const [argv, env, says] of cases) {
    it(JSON.stringify([argv, env]), () => assert.match(refuse(argv, env), says));
  }
});

describe('kms-endpoint', () => {
  const plain = { fips: false, dualStack: false };

  it('asks the metadata service for a minute, with a token, and prints the plain endpoint', () => {
    const source = { kind: 'metadata', form: plain, timeoutMs: 60_000, version: 2 };
    assert.deepEqual(parse([]), { source });
    assert.deepEqual(parse(['--output', '/run/x', '--timeout', '0']), {
      output: '/run/x',
      source: { ...source, timeoutMs: 0 },
    });
  });

  it('takes its options from the environment, too, in the words of systemd', () => {
    for (const yes of ['yes', 'true', 'on', '1', 'YES', 'True']) {
      const env = { VSOCK_PROXY_FIPS: yes, VSOCK_PROXY_DUAL_STACK: yes, VSOCK_PROXY_IMDSV1: yes };
      const { source } = parse([], env);
      assert.deepEqual(source, parse(['--fips', '--dual-stack', '--imdsv1']).source);
    }
    for (const no of ['no', 'false', 'off', '0', '']) {
      const env = { VSOCK_PROXY_FIPS: no, VSOCK_PROXY_DUAL_STACK: no, VSOCK_PROXY_IMDSV1: no };
      assert.deepEqual(parse([], { ...env, VSOCK_PROXY_KMS_ENDPOINT: '' }), parse([]));
      const { source } = parse(['--fips'], env);
      assert(source.kind === 'metadata');
      assert.equal(source.form.fips, true, 'the option counts where both are there');
    }
  });

  it('takes an endpoint as it is, in its one spelling', () => {
    for (const [written, host] of [
      ['KMS.Example.', 'kms.example'],
      ['vpce-1-a.kms.eu-west-1.vpce.amazonaws.com', 'vpce-1-a.kms.eu-west-1.vpce.amazonaws.com'],
      ['10.0.0.7', '10.0.0.7'],
    ] as const) {
      const { source } = parse([], { VSOCK_PROXY_KMS_ENDPOINT: written });
      assert.deepEqual(source, { kind: 'endpoint', host });
    }
  });

  it('knows the domain of a region, and takes it for others', () => {
    const region = (...argv: readonly string[]) => parse(['--region', ...argv]).source;
    assert.deepEqual(region('cn-north-1'), {
      kind: 'placement',
      placement: { region: 'cn-north-1', domain: 'amazonaws.com.cn' },
      form: plain,
    });
    assert.deepEqual(region('xy-new-east-1', '--domain', 'new.example'), {
      kind: 'placement',
      placement: { region: 'xy-new-east-1', domain: 'new.example' },
      form: plain,
    });
  });

  it('has help that names its variables', () => {
    const parsed = parseKmsEndpointCommand(['--help'], {});
    assert(parsed.kind === 'text');
    for (const name of ['KMS_ENDPOINT', 'FIPS', 'DUAL_STACK', 'IMDSV1'])
      assert.match(parsed.text, new RegExp(`VSOCK_PROXY_${name} `));
  });
});

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { formatHost } from '../../../src/access/address.ts';
import { parseProxyCommand } from '../../../src/commands/proxy.ts';
import type { ProxyRoute } from '../../../src/config/proxy-plan.ts';
import { VsockProxyError } from '../../../src/platform/errors.ts';

const VERSION = '1.2.3';
const ROUTE = ['8000', 'kms.eu-west-1.amazonaws.com', '443'];

function parse(...argv: readonly string[]): ProxyRoute {
  const invocation = parseProxyCommand(argv, VERSION);
  assert(invocation.kind === 'proxy');
  return invocation.arguments;
}

function print(...argv: readonly string[]): string {
  const invocation = parseProxyCommand(argv, VERSION);
  assert(invocation.kind === 'text');
  return invocation.text;
}

/** The error, as `code: line`. */
function refuse(...argv: readonly string[]): string {
  try {
    parse(...argv);
  } catch (error) {
    assert(error instanceof VsockProxyError, String(error));
    return `${error.code}: ${error.line}`;
  }
  return assert.fail(`${argv.join(' ')} was accepted`);
}

describe('a command line that cannot be understood is a usage error', () => {
  const cases: readonly (readonly [argv: readonly string[], says: RegExp])[] = [
    [[], /missing required argument 'local_port'/],
    [['8000'], /missing required argument 'remote_addr'/],
    [['8000', 'host'], /missing required argument 'remote_port'/],
    [[...ROUTE, 'more'], /too many arguments. Expected 3/],
    [[...ROUTE, '-4', '-6'], /'-4, --ipv4' cannot be used with option '-6, --ipv6'/],
    [['-64', ...ROUTE], /cannot be used with/],
    [[...ROUTE, '--ipv4', '--ipv6'], /cannot be used with/],
    [[...ROUTE, '--confg', 'x'], /unknown option '--confg' \(Did you mean --config\?\)$/],
    [[...ROUTE, '-x'], /unknown option '-x'/],
    [[...ROUTE, '-1'], /unknown option '-1'/],
    [[...ROUTE, '-w'], /option '-w, --num_workers <workers>' argument missing/],
    [[...ROUTE, '--config'], /option '--config <config_file>' argument missing/],
    [[...ROUTE, '--ipv4=yes'], /unknown option '--ipv4=yes'/],
    [[...ROUTE, '--cid', 'three'], /option '--cid' wants any, local or a number up to 4294967295, not "three"/],
    [[...ROUTE, '--cid', '4294967296'], /option '--cid' wants/],
    [[...ROUTE, '--cid', ''], /option '--cid' wants/],
    [['unix:/tmp/x', 'host', '443', '--cid', '3'], /'--cid' is for vsock and cannot be used with "unix:\/tmp\/x"/],
    [['tcp:127.0.0.1:1', 'host', '443', '--cid', 'any'], /'--cid' is for vsock and cannot be used with "tcp:/],
  ];
  for (const [argv, says] of cases) {
    it(`${argv.join(' ') || 'nothing at all'}`, () => {
      const refusal = refuse(...argv);
      assert.match(refusal, /^usage: /);
      assert.match(refusal, says);
    });
  }
});

describe('a remote port that is none is refused', () => {
  for (const port of [
    '',
    '0',
    '65536',
    '65979',
    '4294967739',
    '-',
    '4.43e2',
    '0x1bb',
    '443 ',
    ' 443',
    '443a',
    '++443',
    '٤٤٣',
  ]) {
    it(`'${port}'`, () => {
      assert.match(
        refuse('8000', 'host', port),
        /^argument: Remote port is not valid: ".*" is no whole number in 1–65535\. Hint: /,
      );
    });
  }
});

describe('a number of workers that is none is refused', () => {
  for (const workers of [
    '',
    'many',
    '-4',
    '1.5',
    '1e3',
    ' 4',
    '4 ',
    '0x4',
    '1000001',
    '18446744073709551616',
    '9'.repeat(400),
  ]) {
    it(`'${workers}'`, () => {
      assert.match(
        refuse(...ROUTE, '-w', workers),
        /^argument: Number of workers is not valid: ".*" is no whole number in 1–1000000\. Hint: /,
      );
    });
  }
  for (const workers of ['0', '00', '+0']) {
    it(`'${workers}', with words of its own`, () => {
      assert.match(refuse(...ROUTE, '-w', workers), /^argument: Number of workers must not be 0\. Hint: /);
    });
  }
});

describe('a remote address that is none is refused', () => {
  it('a CID in its place is recognised', () => {
    assert.match(refuse('8000', '16', '443'), /^argument: Remote address is not valid: .*CID/);
  });
  it('an address of the family that was excluded', () => {
    assert.match(
      refuse('8000', '10.0.0.1', '443', '-6'),
      /^argument: Remote address is not valid: 10\.0\.0\.1 is an IPv4 address\. Hint: leave out --ipv6/,
    );
    assert.match(
      refuse('8000', '::1', '443', '-4'),
      /^argument: Remote address is not valid: ::1 is an IPv6 address\. Hint: leave out --ipv4/,
    );
  });
});

describe('the checks come in the order of the AWS proxy', () => {
  const wrong = { local: 'x', remote: '16', port: 'y', workers: 'z' };
  it('usage before everything', () => {
    assert.match(refuse(wrong.local, wrong.remote, wrong.port, '-w', wrong.workers, '--nope'), /^usage: /);
    assert.match(refuse(wrong.local, wrong.remote, wrong.port, '-w', wrong.workers, '--cid', 'nope'), /^usage: /);
  });
  it('then the local port', () => {
    assert.match(refuse(wrong.local, wrong.remote, wrong.port, '-w', wrong.workers), /Local port is not valid/);
  });
  it('then the remote port', () => {
    assert.match(refuse('8000', wrong.remote, wrong.port, '-w', wrong.workers), /Remote port is not valid/);
  });
  it('then the number of workers', () => {
    assert.match(refuse('8000', wrong.remote, '443', '-w', wrong.workers), /Number of workers is not valid/);
  });
  it('then the remote address', () => {
    assert.match(refuse('8000', wrong.remote, '443', '-w', '5'), /Remote address is not valid/);
  });
});

describe('the command line of the AWS proxy is understood', () => {
  it('with its defaults', () => {
    const { target, ...rest } = parse(...ROUTE);
    assert.deepEqual(rest, {
      listenOn: { family: 'vsock', cid: 3, port: 8000 },
      written: 'kms.eu-west-1.amazonaws.com',
      family: 'any',
      configPath: '/etc/nitro_enclaves/vsock-proxy.yaml',
    });
    assert.equal(formatHost(target.host), 'kms.eu-west-1.amazonaws.com');
    assert.equal(target.port, 443);
  });

  it('with options anywhere, in every spelling', () => {
    const spellings = [
      ['-4', '-w', '10', '--config', 'my.yaml', ...ROUTE],
      ['8000', '-4', 'kms.eu-west-1.amazonaws.com', '-w10', '443', '--config=my.yaml'],
      [...ROUTE, '--ipv4', '--num_workers', '10', '--config', 'my.yaml'],
      [...ROUTE, '--num_workers=10', '-4', '--config=my.yaml'],
      ['-4w10', '--config=my.yaml', '--', ...ROUTE],
      ['-w=10', '-4', '--config=my.yaml', ...ROUTE],
    ];
    for (const argv of spellings) {
      const { connections, family, configPath } = parse(...argv);
      assert.deepEqual({ connections, family, configPath }, { connections: 10, family: 'ipv4', configPath: 'my.yaml' });
    }
  });

  it('with numbers as Rust reads them', () => {
    const { listenOn, target, connections } = parse('+08000', 'host', '+0443', '-w', '+007');
    assert.deepEqual(listenOn, { family: 'vsock', cid: 3, port: 8000 });
    assert.equal(target.port, 443);
    assert.equal(connections, 7);
  });

  it('with only one family', () => {
    assert.equal(parse(...ROUTE, '-6').family, 'ipv6');
    assert.equal(parse('8000', '::1', '443', '--ipv6').family, 'ipv6');
    assert.equal(parse('8000', '127.0.0.1', '443', '--ipv4').family, 'ipv4');
  });

  it('with a CID of choice', () => {
    for (const [text, cid] of [
      ['any', 4294967295],
      ['local', 1],
      ['2', 2],
      ['4294967295', 4294967295],
    ] as const) {
      assert.deepEqual(parse(...ROUTE, '--cid', text).listenOn, { family: 'vsock', cid, port: 8000 });
    }
  });
});

describe('what is printed', () => {
  it('the version, and what it is compatible with', () => {
    const compatible = 'Vsock-TCP proxy 1.0.2 (compatible: vsock-proxy of the AWS Nitro Enclaves CLI 1.5.0)';
    for (const argv of [['--version'], ['-V'], ['8000', '-V']]) {
      assert.equal(print(...argv), `vsock-proxy 1.2.3\n${compatible}\n`);
    }
  });

  it('the help, whatever else is missing, with every argument and an example', () => {
    const help = print('--help');
    assert.equal(print('-h'), help);
    assert.equal(print('8000', '--help'), help);
    for (const word of [
      '<local_port>',
      '--ipv4',
      '--ipv6',
      '--num_workers',
      '--config',
      '--cid',
      '--version',
      'allowlist:',
      'Example',
    ]) {
      assert.ok(help.includes(word), word);
    }
    for (const line of help.split('\n')) assert.ok(line.length <= 110, line);
  });
});

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { describeFailure } from '../../../src/commands/failure.ts';
import { COMMANDS, closestCommand, findCommand } from '../../../src/commands/list.ts';
import { parseProxyCommand } from '../../../src/commands/proxy.ts';
import { runSchema } from '../../../src/commands/schema.ts';
import { VsockProxyError } from '../../../src/platform/errors.ts';

function refuse(action: () => unknown): VsockProxyError {
  try {
    action();
  } catch (error) {
    assert(error instanceof VsockProxyError, String(error));
    return error;
  }
  return assert.fail('it was accepted');
}

describe('the first word selects a command', () => {
  it('no word, a port, an option and what every object inherits select the form of the AWS proxy', () => {
    for (const word of [undefined, '', '8000', 'unix:/x', '--help', 'toString', '__proto__', 'constructor', 'SCHEMA']) {
      assert.equal(findCommand(word), undefined, word);
    }
  });

  it('a word that is nearly a command is a usage error that names it', () => {
    for (const [word, meant] of [
      ['shcema', 'schema'],
      ['Schema', 'schema'],
    ] as const) {
      const { code, message } = refuse(() => parseProxyCommand([word, '--config', 'x'], '1.2.3'));
      assert.deepEqual([code, message], ['usage', `unknown command "${word}" (Did you mean ${meant}?)`]);
    }
  });

  it('what may stand in front of the AWS form is never taken for a misspelt command', () => {
    for (const word of ['8000', '+8000', 'x', 'unix:/x', 'tcp:127.0.0.1:1', '-4', '--ipv4', '--config', '']) {
      assert.equal(closestCommand(word), undefined, word);
    }
  });

  it('each one by its own name', () => {
    for (const name of Object.keys(COMMANDS)) assert.equal(findCommand(name), name);
  });
});

describe('the help of the AWS form', () => {
  it('lists every command', () => {
    const help = parseProxyCommand(['--help'], '1.2.3');
    assert(help.kind === 'text');
    for (const [name, { summary }] of Object.entries(COMMANDS))
      assert(help.text.includes(`  ${name} `), name + summary);
  });
});

describe('a failure of a command', () => {
  it('shows the usage of that command', () => {
    const error = refuse(() => runSchema(['x']));
    assert.deepEqual(describeFailure(error, false, 'schema'), {
      text: 'error: too many arguments. Expected 0 arguments but got 1: x\nUsage: vsock-proxy schema [OPTIONS] (more: vsock-proxy schema --help)\n',
      exitStatus: 2,
    });
  });

  it('speaks of no allowlist where the file says more than that', () => {
    const error = new VsockProxyError('config', 'listeners[0].listen: missing (f.yaml:2)');
    assert.equal(describeFailure(error, false, 'schema').text, 'Error: "listeners[0].listen: missing (f.yaml:2)"\n');
  });
});

describe('vsock-proxy schema', () => {
  it('prints its help, with an example', () => {
    assert.match(runSchema(['--help']), /^Usage: vsock-proxy schema \[OPTIONS\]\n.*\nExample: /s);
  });

  it('prints a JSON Schema of draft 2020-12', () => {
    const schema = JSON.parse(runSchema([]));
    assert.equal(schema.$schema, 'https://json-schema.org/draft/2020-12/schema');
    assert.equal(schema.properties.allowlist.type, 'array');
  });
});

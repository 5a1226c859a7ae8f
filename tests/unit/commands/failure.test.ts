import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { describeFailure } from '../../../src/commands/failure.ts';
import { VsockProxyError } from '../../../src/platform/errors.ts';

describe('the last words of a process', () => {
  it('of a usage error are the reason and the usage, and the status is 2', () => {
    assert.deepEqual(describeFailure(new VsockProxyError('usage', "unknown option '--x\n'"), false), {
      text:
        "error: unknown option '--x\\n'\n" +
        'Usage: vsock-proxy [OPTIONS] <local_port> <remote_addr> <remote_port> (more: vsock-proxy --help)\n',
      exitStatus: 2,
    });
  });

  const cases = [
    ['argument', 'Local port is not valid: "x"', 'Error: "Local port is not valid: \\"x\\". Hint: do this"\n'],
    ['config', 'Bad yaml format: x', 'Error: "Error at checking the allowlist: Bad yaml format: x. Hint: do this"\n'],
    ['denied', 'The given …', 'Error: "Error at checking the allowlist: The given …. Hint: do this"\n'],
    [
      'listen-failed',
      'Could not bind to cid: 3 port: 8000',
      'Error: "Could not listen for connections: Could not bind to cid: 3 port: 8000. Hint: do this"\n',
    ],
    ['internal', 'broken', 'Error: "internal: broken. Hint: do this"\n'],
  ] as const;
  for (const [code, message, text] of cases) {
    it(`of an error of kind ${code} are one quoted line behind the phrase that scripts look for, status 1`, () => {
      const error = new VsockProxyError(code, message, { hint: 'do this' });
      assert.deepEqual(describeFailure(error, false), { text, exitStatus: 1 });
    });
  }

  it('of an error that nobody expected have no stack trace, and no second line', () => {
    const text = 'Error: "internal: first\\nsecond"\n';
    assert.deepEqual(describeFailure(new Error('first\nsecond'), false), { text, exitStatus: 1 });
    assert.equal(describeFailure('thrown text', false).text, 'Error: "internal: thrown text"\n');
    assert.equal(describeFailure(undefined, false).text, 'Error: "internal: undefined"\n');
  });

  it('have the stack trace if it is asked for', () => {
    assert.match(describeFailure(new Error('oops'), true).text, /^Error: "internal: oops"\nError: oops\n +at /);
  });
});

import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { startCommand } from '../../src/enclave/command.ts';
import { withProxy } from '../../src/enclave/environment.ts';
import { takeSignals } from '../../src/enclave/signals.ts';

/** As much of a process as signals need. */
function setUpSignals(hasTerminal = false) {
  const listeners = new Map<string, () => void>();
  const exits: number[] = [];
  const source = {
    on: (signal: string, listener: () => void) => listeners.set(signal, listener),
    exit: (status: number) => exits.push(status),
  };
  const passing = takeSignals(source, hasTerminal);
  const passed: unknown[] = [];
  const command = { kill: (signal: unknown) => passed.push(signal) > 0 };
  const send = (...signals: readonly string[]) => {
    for (const signal of signals) listeners.get(signal)?.();
  };
  return { passing, command, passed, exits, send };
}

suite('signals', () => {
  test('that would end a program end this one, until there is a command; others are waited out', () => {
    const { send, exits, passed } = setUpSignals();
    send('SIGUSR1', 'SIGUSR2', 'SIGWINCH', 'SIGCONT');
    assert.deepEqual(exits, []);
    send('SIGHUP', 'SIGINT', 'SIGQUIT', 'SIGTERM');
    assert.deepEqual(exits, [129, 130, 131, 143]);
    assert.deepEqual(passed, []);
  });

  test('go to the command from then on, and to nobody else', () => {
    const { passing, command, passed, exits, send } = setUpSignals();
    let ended = 0;
    passing.passTo(command, () => {
      ended += 1;
    });
    const all = ['SIGHUP', 'SIGINT', 'SIGQUIT', 'SIGUSR1', 'SIGUSR2', 'SIGTERM', 'SIGCONT', 'SIGWINCH'];
    send(...all, 'SIGCHLD');
    assert.deepEqual([passed, exits, ended], [all, [], 1]);
  });

  test('of a terminal do not, which the command has from the terminal already', () => {
    const { passing, command, passed, send } = setUpSignals(true);
    passing.passTo(command, () => undefined);
    send('SIGINT', 'SIGQUIT', 'SIGWINCH', 'SIGTERM');
    assert.deepEqual(passed, ['SIGTERM']);
  });
});

suite('a command', () => {
  const start = (...argv: [string, ...string[]]) =>
    startCommand(argv, { env: { PATH: '/usr/bin:/bin' }, stdio: 'ignore' });

  test('that cannot be started: the status of a shell, and what to do', async () => {
    for (const [program, status, hint] of [
      ['no-such-program', 127, /ENOENT\. Hint: is its path right/],
      ['/etc/passwd', 126, /EACCES\. Hint: make it executable/],
      ['/etc', 126, /EACCES/],
    ] as const) {
      const started = await start(program);
      assert('error' in started, program);
      assert.equal(started.exitStatus, status);
      assert.match(started.error.line, hint);
    }
  });

  test('that ends: its status, or 128 and its signal', async () => {
    for (const [script, status] of [
      ['exit 3', 3],
      ['kill -TERM $$', 143],
      ['kill -KILL $$', 137],
    ] as const) {
      const started = await start('sh', '-c', script);
      assert('ended' in started);
      assert.equal(await started.ended, status);
    }
  });
});

test('the variables of the proxy replace those that are there, and leave the others', () => {
  const env = withProxy({ HOME: '/', http_proxy: 'http://other', NO_PROXY: '*' }, { ip: '127.0.0.1', port: 1 }, ['db']);
  assert.equal(env.HOME, '/');
  assert.deepEqual([env.http_proxy, env.HTTPS_PROXY], ['http://127.0.0.1:1', 'http://127.0.0.1:1']);
  assert.deepEqual([env.no_proxy, env.NO_PROXY], ['localhost,127.0.0.1,db', 'localhost,127.0.0.1,db']);
});

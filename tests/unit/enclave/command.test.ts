import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { startCommand } from '../../../src/enclave/command.ts';
import { withProxy } from '../../../src/enclave/environment.ts';
import { isForeground, takeSignals } from '../../../src/enclave/signals.ts';

/** As much of a process as signals need. */
function setUpSignals(isInForeground = false) {
  const listeners = new Map<string, () => void>();
  const exits: number[] = [];
  const source = {
    on: (signal: string, listener: () => void) => listeners.set(signal, listener),
    exit: (status: number) => exits.push(status),
  };
  const passing = takeSignals(source, () => isInForeground);
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

  test('come from a terminal to who is in its foreground, and to nobody else', () => {
    const stat = (rest: string) => `7 (a) 1 (2)) S ${rest} 4194304 0 0`;
    assert.equal(isForeground(stat('1 7 1 34816 7')), true);
    assert.equal(isForeground(stat('1 7 1 34816 9')), false); // in the background
    assert.equal(isForeground(stat('1 7 1 0 -1')), false); // without a terminal
    assert.equal(isForeground(stat('0 0 0 0 0')), false); // the same, with the group outside of this PID namespace
    assert.equal(isForeground(''), false);
  });
});

suite('a command', () => {
  const start = (...argv: [string, ...string[]]) =>
    startCommand(argv, { env: { PATH: '/usr/bin:/bin' }, stdio: ['inherit', 'inherit', 'inherit'] });

  test('that cannot be started: the status of a shell, and what to do', async () => {
    for (const [program, status, hint] of [
      ['no-such-program', 127, /ENOENT\. Hint: is its path right/],
      ['/etc/passwd', 126, /EACCES\. Hint: make it executable/],
      ['/etc', 126, /EACCES/],
      ['/etc/passwd/app', 126, /ENOTDIR\. Hint: is its path right/],
      ['x'.repeat(300), 126, /"x{80}…" could not be started: ENAMETOOLONG$/],
    ] as const) {
      const started = await start(program);
      assert('error' in started, program);
      assert.equal(started.exitStatus, status);
      assert.match(started.error.line, hint);
    }
  });

  test('whose arguments are too long: one line, as for any other reason', async () => {
    const started = await start('echo', 'x'.repeat(140_000));
    assert('error' in started);
    assert.match(started.error.line, /"echo" could not be started: E2BIG\. Hint: /);
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
  const env = withProxy({ HOME: '/', http_proxy: 'http://other', NO_PROXY: '*' }, { ip: '127.0.0.1', port: 1 }, [
    'db',
    '127.0.0.1',
    'fd00::1',
  ]);
  assert.equal(env.HOME, '/');
  assert.deepEqual([env.http_proxy, env.HTTPS_PROXY], ['http://127.0.0.1:1', 'http://127.0.0.1:1']);
  const none = 'localhost,127.0.0.1,127.0.0.2,0.0.0.0,::1,[::1],db,fd00::1,[fd00::1]';
  assert.deepEqual([env.no_proxy, env.NO_PROXY], [none, none]);
});

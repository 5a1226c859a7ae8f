/** Programs that are started under QuickJS, on a host of this test. */
import './host.ts';
import assert from 'node:assert/strict';
import { constants } from 'node:os';
import { test } from 'node:test';
import type { Host } from '../../../../src/platform/quickjs/host.ts';

const PID = 1234;
const CHILD_SIGNALS = 7;
let end = { ended: false, status: 0, signal: 0 };
let onSignal = () => undefined as unknown;
let signals = 0;
const sent: (readonly [pid: number, signal: number])[] = [];

const programs: Partial<Host> = {
  openSignals: () => CHILD_SIGNALS,
  watch(_fd, _events, onReady) {
    onSignal = () => onReady(1);
    return 0;
  },
  takeSignal() {
    signals -= 1;
    return signals < 0 ? 0 : constants.signals.SIGCHLD;
  },
  startProgram: () => PID,
  endOf: () => end,
  sendSignal(pid, signal) {
    sent.push([pid, signal]);
    return 0;
  },
};
Object.assign(globalThis, { SYSTEM_ERRORS: [], SYSTEM_SIGNALS: constants.signals });
Object.assign(host, programs);

test('a program gets signals until it has ended, and then nobody with its process id gets any', async () => {
  const { startProgram } = await import('../../../../src/platform/quickjs/programs.ts');
  const program = startProgram('app', [], { env: {}, stdio: ['inherit', 'inherit', 'inherit'] });
  const { promise: ended, resolve } = Promise.withResolvers<number | null>();
  program.once('exit', resolve);
  assert.equal(program.kill('SIGTERM'), true);
  assert.deepEqual(sent, [[PID, constants.signals.SIGTERM]]);

  end = { ended: true, status: 3, signal: 0 };
  signals = 1;
  onSignal();
  assert.equal(await ended, 3);
  assert.equal(program.kill('SIGTERM'), false);
  assert.equal(sent.length, 1);
});

/** A data plane under QuickJS, for a test in another process: a program of its own (`make dataplane-quickjs`). */
import '../../../src/platform/quickjs/globals.ts';
import { openDataPlane } from '../../../src/dataplane/addon.ts';
import type { DataPlane, DataPlaneEvents } from '../../../src/dataplane/contract.ts';
import { VsockProxyError } from '../../../src/platform/errors.ts';
import { writeFileSync } from '../../../src/platform/quickjs/files.ts';
import { onMessage } from '../../quickjs-lines.ts';
import { type Answer, type Call, type EventMessage, encode } from '../../wire.ts';

const TOLD = 1;
const CALLS = 3;
const ANSWERS = 4;

const write = (fd: number, message: Answer | EventMessage) => writeFileSync(fd, encode(message));

const tell = (event: keyof DataPlaneEvents) => (args: readonly unknown[]) => write(TOLD, { event, args });

const dataPlane = openDataPlane(
  {
    onProgress: tell('onProgress'),
    onClose: tell('onClose'),
    onFault: tell('onFault'),
    onDecisionRequest: tell('onDecisionRequest'),
  },
  { threads: Number(host.words[1]) },
);

let called = 0;
onMessage(CALLS, 1, (call) => write(ANSWERS, answer(call as Call)));

function answer({ call, args }: Call): Answer {
  const number = called;
  called += 1;
  try {
    const value: unknown = Reflect.apply(dataPlane[call as keyof DataPlane], undefined, args);
    if (!(value instanceof Promise)) return { value };
    void value.then((settled) => write(TOLD, { settled: number, value: settled }));
    return {};
  } catch (error) {
    if (!(error instanceof VsockProxyError)) throw error;
    const { code, message, errno } = error;
    return { error: { code, message, ...(errno !== undefined && { errno }) } };
  }
}

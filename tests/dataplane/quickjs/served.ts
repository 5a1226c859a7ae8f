/** A data plane under QuickJS, for a test in another process: a program of its own (`make dataplane-quickjs`). */
import '../../../src/platform/quickjs/globals.ts';
import { openDataPlane } from '../../../src/dataplane/addon.ts';
import type { DataPlane, DataPlaneEvents } from '../../../src/dataplane/contract.ts';
import { VsockProxyError } from '../../../src/platform/errors.ts';
import { READABLE } from '../../../src/platform/quickjs/host.ts';
import { type Answer, type Call, decode, encode, type Told } from '../../wire.ts';

const TOLD = 1;
const CALLS = 3;
const ANSWERS = 4;

const write = (fd: number, message: Answer | Told): void => {
  const bytes = host.encode(encode(message));
  for (let at = 0; at < bytes.length; ) at += Math.max(host.writeFile(fd, bytes, at), 0);
};

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
let text = '';
const block = new Uint8Array(64 * 1024);
host.watch(CALLS, READABLE, () => {
  const count = host.readFile(CALLS, block);
  if (count <= 0) host.exit(1);
  const lines = (text + host.decode(block.subarray(0, count))).split('\n');
  text = lines.pop() ?? '';
  for (const line of lines) write(ANSWERS, answer(decode(line) as Call));
});

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

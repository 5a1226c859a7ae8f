/** The test's end of a pipe, for programs under QuickJS: see wire.ts. */
import { READABLE } from '../src/platform/quickjs/host.ts';
import { decode } from './wire.ts';

/** Takes each message that comes on this descriptor; ends the program, with this status, when no more can come. */
export function onMessage(fd: number, exitStatus: number, take: (message: unknown) => void): void {
  let text = '';
  const block = new Uint8Array(64 * 1024);
  host.watch(fd, READABLE, () => {
    const count = host.readFile(fd, block);
    if (count <= 0) host.exit(exitStatus);
    const lines = (text + host.decode(block.subarray(0, count))).split('\n');
    text = lines.pop() ?? '';
    for (const line of lines) take(decode(line));
  });
}

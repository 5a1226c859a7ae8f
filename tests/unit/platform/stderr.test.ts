import assert from 'node:assert/strict';
import { execFileSync, spawn } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, constants, mkdtempSync, openSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { after, describe, it } from 'node:test';
import { lineWriter } from '../../../src/platform/line-writer.ts';

function failing(code: string): Error {
  return Object.assign(new Error(code), { code, errno: -1 });
}

describe('writing lines', () => {
  it('a line goes out whole', () => {
    const written: string[] = [];
    const write = lineWriter((bytes) => written.push(Buffer.from(bytes).toString()) * 0 + bytes.length);
    assert.equal(write('line ü\n'), true);
    assert.deepEqual(written, ['line ü\n']);
  });

  for (const code of ['EAGAIN', 'EPIPE', 'EIO', 'ENOSPC', 'EBADF']) {
    it(`a line that meets ${code} is lost, and the next is tried afresh`, () => {
      let broken = true;
      const written: string[] = [];
      const write = lineWriter((bytes) => {
        if (broken) throw failing(code);
        written.push(Buffer.from(bytes).toString());
        return bytes.length;
      });
      assert.equal(write('one\n'), false);
      broken = false;
      assert.equal(write('two\n'), true);
      assert.deepEqual(written, ['two\n']);
    });
  }

  it('a line that fits in part is finished before the next one: none is torn', () => {
    let room = 5;
    let written = '';
    const write = lineWriter((bytes) => {
      const part = Buffer.from(bytes).subarray(0, room);
      if (part.length === 0) throw failing('EAGAIN');
      room -= part.length;
      written += part.toString();
      return part.length;
    });
    assert.equal(write('first line\n'), true);
    assert.equal(written, 'first');
    assert.equal(write('second line\n'), false);
    room = 3;
    assert.equal(write('third line\n'), false);
    room = 100;
    assert.equal(write('fourth line\n'), true);
    assert.equal(written, 'first line\nfourth line\n');
  });

  it('an error that is not of the system is not swallowed', () => {
    const write = lineWriter(() => {
      throw new TypeError('a mistake');
    });
    assert.throws(() => write('line\n'), /a mistake/);
  });
});

describe('standard error', () => {
  const directory = mkdtempSync(join(tmpdir(), 'vsock-proxy-stderr-'));
  after(() => rmSync(directory, { recursive: true }));

  /** Writes a thousand lines of a kilobyte, and tells on standard output how many were taken. */
  const run = async (stderr: number | 'pipe'): Promise<number> => {
    const source = `
      import { openStderr } from ${JSON.stringify(new URL('../../../src/platform/stderr.ts', import.meta.url).href)};
      const write = openStderr();
      let taken = 0;
      for (let i = 0; i < 1000; i += 1) if (write('x'.repeat(1023) + '\\n')) taken += 1;
      console.log(taken);`;
    const child = spawn(process.execPath, ['--input-type=module', '--eval', source], {
      stdio: ['ignore', 'pipe', stderr],
      timeout: 20_000,
    });
    assert(child.stdout !== null);
    const [output, [status]] = await Promise.all([text(child.stdout), once(child, 'exit')]);
    child.stderr?.destroy();
    assert.equal(status, 0);
    return Number(output);
  };
  const makePipe = (name: string): string => {
    const path = join(directory, name);
    execFileSync('mkfifo', [path]);
    return path;
  };

  it('of a file takes every line', async () => {
    const fd = openSync(join(directory, 'log'), 'w');
    assert.equal(await run(fd), 1000);
    closeSync(fd);
  });

  it('of a pipe that nobody reads takes what fits, and blocks nobody', async () => {
    const fd = openSync(makePipe('full'), constants.O_RDWR);
    const taken = await run(fd);
    assert.ok(taken >= 1 && taken < 1000, `${taken} lines`);
    closeSync(fd);
  });

  it('of a socket that nobody reads takes what fits, and blocks nobody', async () => {
    const taken = await run('pipe'); // which Node makes of a pair of sockets
    assert.ok(taken >= 1 && taken < 1000, `${taken} lines`);
  });

  it('of a pipe whose reader is gone takes nothing, and ends nobody', async () => {
    const path = makePipe('gone');
    const reader = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK);
    const fd = openSync(path, constants.O_WRONLY);
    closeSync(reader);
    assert.equal(await run(fd), 0);
    closeSync(fd);
  });
});

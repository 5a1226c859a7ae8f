import assert from 'node:assert/strict';
import { once } from 'node:events';
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { createConnection, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import type { Reply } from '../../../src/observe/conversation.ts';
import { json, type PageServer, servePages } from '../../../src/observe/http.ts';
import { recordLog } from '../proxy/fixture.ts';

const folder = mkdtempSync(join(tmpdir(), 'observe-'));
after(() => rmSync(folder, { recursive: true }));
const logged = recordLog('error');
const log = logged.logFor('vsock_proxy');
const PAGES = {
  '/ok': () => json({ fine: true }),
  '/fails': () => {
    throw new Error('oops');
  },
};

async function open(name: string): Promise<PageServer & { readonly path: string }> {
  const path = join(folder, name);
  return { ...(await servePages({ family: 'unix', path, mode: 0o660 }, PAGES, log)), path };
}

function ask(
  socketPath: string,
  path: string,
  method = 'GET',
  body = '',
): Promise<{ status: number | undefined; text: string }> {
  const { promise, resolve, reject } = Promise.withResolvers<{ status: number | undefined; text: string }>();
  const headers = body === '' ? {} : { 'content-length': body.length };
  const asking = request({ socketPath, path, method, headers }, (response) => {
    let text = '';
    response.on('data', (chunk) => {
      text += chunk;
    });
    response.on('end', () => resolve({ status: response.statusCode, text }));
  });
  asking.on('error', reject);
  asking.end(body);
  return promise;
}

/** What a client gets that says this, and ends. */
async function converse(path: string, said: string): Promise<string> {
  const client = createConnection(path).on('error', () => undefined);
  let text = '';
  client.on('data', (chunk) => {
    text += chunk;
  });
  client.end(said, 'latin1');
  await once(client, 'close');
  return text;
}

function statusesIn(answer: string): readonly number[] {
  return [...answer.matchAll(/^HTTP\/1\.1 (\d+) [A-Z]/gm)].map(([, status]) => Number(status));
}

describe('pages', () => {
  it('answer GET and HEAD by path, and nothing else', async () => {
    const { path, close } = await open('pages');
    assert.deepEqual(await ask(path, '/ok'), { status: 200, text: '{\n  "fine": true\n}\n' });
    assert.deepEqual(await ask(path, '/ok', 'HEAD'), { status: 200, text: '' });
    assert.equal((await ask(path, '/ok?x=1')).status, 200);
    assert.equal((await ask(path, '/toString')).status, 404);
    assert.equal((await ask(path, '//')).status, 400);
    assert.equal((await ask(path, '/ok', 'POST', 'body')).status, 405);
    assert.equal((await ask(path, '/ok', 'GET', 'body')).status, 413);
    await close();
  });

  it('one that fails is 500 and a line of the log, and the next is answered', async () => {
    const { path, close } = await open('fails');
    assert.equal((await ask(path, '/fails')).status, 500);
    assert.match(logged.take().join('\n'), /\/fails could not be answered: oops/);
    assert.equal((await ask(path, '/ok')).status, 200);
    await close();
  });

  it('one that takes long is answered, also if the request came late', async (context) => {
    context.mock.timers.enable({ apis: ['setTimeout'] });
    const asked = Promise.withResolvers<void>();
    const reply = Promise.withResolvers<Reply>();
    const slow = () => {
      asked.resolve();
      return reply.promise;
    };
    const path = join(folder, 'slow');
    const { close } = await servePages({ family: 'unix', path, mode: 0o660 }, { '/slow': slow }, log);
    context.after(close);
    const answer = converse(path, 'GET /slow HTTP/1.1\r\nConnection: close\r\n\r\n');
    await asked.promise;
    context.mock.timers.tick(5_000); // the time for a request
    reply.resolve(json({ fine: true }));
    assert.deepEqual(statusesIn(await answer), [200]);
  });

  it('a socket is for the group, replaces one that was left behind, and nothing else', async () => {
    const first = await open('left');
    assert.equal(statSync(first.path).mode & 0o777, 0o660);
    await assert.rejects(open('left'), /another process listens there/);
    await first.close();
    const abandoned = createServer().listen(first.path);
    await new Promise((resolve) => abandoned.once('listening', resolve));
    await new Promise((resolve) => abandoned.close(resolve));
    await (await open('left')).close();
    writeFileSync(join(folder, 'file'), 'mine');
    await assert.rejects(open('file'), { errno: 'EADDRINUSE', hint: /exists and is not a socket/ });
  });

  it('an address that cannot be listened on is an error that says why, and what to do', async () => {
    await assert.rejects(open('none/x.sock'), {
      message: `Could not listen on unix:${folder}/none/x.sock: ENOENT: no such file or directory`,
      hint: `the directory of the socket does not exist: mkdir '${folder}/none'`,
    });
    writeFileSync(join(folder, 'a-file'), '');
    await assert.rejects(open('a-file/x.sock'), { errno: 'ENOTDIR', hint: /not a directory/ });
    const tcp = { family: 'tcp', ip: '127.0.0.1', port: 0 } as const;
    const { address, close } = await servePages(tcp, PAGES, log);
    await assert.rejects(servePages(address, PAGES, log), { errno: 'EADDRINUSE', hint: /`ss -tlnp` shows which/ });
    await close();
  });

  for (const [what, head, status] of [
    ['HTTP/1.0, after which the connection ends', 'GET /ok HTTP/1.0\r\n\r\n', 200],
    ['a whole URL', 'GET http://anybody/ok?x HTTP/1.1\r\nConnection: Close\r\n\r\n', 200],
    ['a path of two slashes', 'GET //ok HTTP/1.1\r\nConnection: close\r\n\r\n', 400],
    ['another method', 'POST /ok HTTP/1.1\r\n\r\n', 405],
    ['a body of no length', 'GET /ok HTTP/1.1\r\nContent-Length: 0\r\n\r\n', 413],
    ['a body in chunks', 'GET /ok HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n', 413],
    ['the question for a body', 'GET /ok HTTP/1.1\r\nExpect: 100-continue\r\n\r\n', 413],
    ['no HTTP', '\x16\x03\x01\r\n\r\n', 400],
    ['a line feed alone', 'GET /ok HTTP/1.1\nA: b\r\n\r\n', 400],
    ['a folded line', 'GET /ok HTTP/1.1\r\nA: b\r\n c: d\r\n\r\n', 400],
    ['a head that does not end', `GET /ok HTTP/1.1\r\nA: ${'b'.repeat(9000)}`, 431],
  ] as const) {
    it(`${what} is answered ${status}, and no more comes`, async () => {
      const { path, close } = await open('raw');
      const answer = await converse(path, `${head}${'GET /ok HTTP/1.1\r\n\r\n'.repeat(2)}`);
      assert.deepEqual(statusesIn(answer), [status], answer);
      assert.match(answer, /\r\nConnection: close\r\n/);
      if (status === 405) assert.match(answer, /\r\nAllow: GET, HEAD\r\n/);
      await close();
    });
  }

  it('requests that come together are answered in turn, also those of a client that has ended', async () => {
    const { path, close } = await open('turns');
    const answer = await converse(path, 'GET /ok HTTP/1.1\r\n\r\nGET /no HTTP/1.1\r\n\r\nHEAD /ok HTTP/1.1\r\n\r\n');
    assert.deepEqual(statusesIn(answer), [200, 404, 200]);
    await close();
  });

  it('a request that comes byte by byte is answered', async () => {
    const { path, close } = await open('bytes');
    const client = createConnection({ path, noDelay: true });
    for (const byte of 'GET /ok HTTP/1.1\r\n\r\n') await new Promise((resolve) => client.write(byte, resolve));
    const [answer] = await once(client, 'data');
    assert.deepEqual(statusesIn(String(answer)), [200]);
    await close();
  });

  it('a client that says nothing, and one that does not read, keep nobody from the others', async () => {
    const { path, close } = await open('silent');
    const silent = Array.from({ length: 20 }, () => createConnection(path).on('error', () => undefined));
    for (const socket of silent) socket.write('GET /ok HTTP/1.1\r\n');
    assert.equal((await ask(path, '/ok')).status, 200);
    await close();
  });
});

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { request } from 'node:http';
import { createConnection, createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
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
    await assert.rejects(open('file'), { errno: 'EADDRINUSE' });
  });

  it('a client that says nothing, and one that does not read, keep nobody from the others', async () => {
    const { path, close } = await open('silent');
    const silent = Array.from({ length: 20 }, () => createConnection(path).on('error', () => undefined));
    for (const socket of silent) socket.write('GET /ok HTTP/1.1\r\n');
    assert.equal((await ask(path, '/ok')).status, 200);
    await close();
  });
});

import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, describe, it } from 'node:test';
import {
  formatConnections,
  parseConnectionsCommand,
  runConnections,
} from '../../../../src/commands/observe/connections.ts';
import { runMetrics } from '../../../../src/commands/observe/metrics.ts';
import { formatStatus, runStatus, type Status } from '../../../../src/commands/observe/status.ts';
import { formatBytes, formatDuration, formatTable } from '../../../../src/commands/observe/table.ts';
import type { ConnectionId, ListenerId } from '../../../../src/dataplane/contract.ts';
import { json, servePages } from '../../../../src/observe/http.ts';
import { counters, listener, snapshot } from '../../observe/fixture.ts';
import { recordLog } from '../../proxy/fixture.ts';

const statusOf = (changes = {}): Status =>
  JSON.parse(JSON.stringify({ version: '0.2.0', pid: 77, ...snapshot(changes) }));

describe('status', () => {
  it('is a table that a person can read', () => {
    assert.equal(
      formatStatus(statusOf()),
      `vsock-proxy 0.2.0, process 77, for 2 h 5 min
configuration  proxy.yaml, read 1 min ago

LISTENER       ROUTE            OPEN  LIMIT  ACCEPTED  REFUSED  FAILED  UP       DOWN
vsock:3:8000   kms.example:443     3    100        12        4       3  2.0 KiB  4.8 MiB
vsock:3:10000  kms.example:443     3    100        12        4       3  2.0 KiB  4.8 MiB

ADDRESSES
vsock:3:8000 → kms.example:443: 10.0.0.7:443 (12 s of 60 s old)
vsock:3:10000 → kms.example:443: 10.0.0.7:443 (12 s of 60 s old)

LAST FAILURES
vsock:3:8000: 1 min ago: could not connect to kms.example:443: ECONNREFUSED
vsock:3:10000: 1 min ago: could not connect to kms.example:443: ECONNREFUSED

CLIENT    OPEN  ACCEPTED  REFUSED  UP   DOWN
vsock:16     3        12        4  1 B  2 B
`,
    );
  });

  it('says rates from the second look on, why there is no address, and that a reload failed', () => {
    const before = statusOf();
    const upstream = { addresses: [], absence: 'ETIMEOUT\u001b[2J', stale: false };
    const later = {
      ...statusOf({
        listeners: [listener({ upstream, counters: counters({ accepted: 32 }) })],
        config: { ...snapshot().config, failure: 'Reload failed at x:3: y' },
      }),
      at: '2026-11-27T12:00:10.000Z',
    };
    const text = formatStatus(later, before);
    assert.match(text, /FAILED +\/s +UP/);
    assert.match(text, / 2\.0 /);
    assert.match(text, /vsock:3:8000 → kms\.example:443: ETIMEOUT\\u\{1b\}\[2J/);
    assert.match(text, /; then: Reload failed at x:3: y/);
  });
});

describe('status --watch', () => {
  const folder = mkdtempSync(join(tmpdir(), 'status-'));
  after(() => rmSync(folder, { recursive: true }));
  const control = join(folder, 'control.sock');

  /** What is printed in three looks, of which the last finds no proxy. */
  async function watch(options: { readonly isTerminal: boolean; readonly json: boolean }): Promise<readonly string[]> {
    let looks = 0;
    const page = () => json({ ...statusOf(), at: new Date(1000 * ++looks) });
    const log = recordLog('error').logFor('vsock_proxy');
    const server = await servePages({ family: 'unix', path: control, mode: 0o600 }, { '/status': page }, log);
    const written: string[] = [];
    await runStatus(
      { control, json: options.json, watchSeconds: 1 },
      {
        isTerminal: options.isTerminal,
        write: (text) => written.push(text),
        async wait() {
          if (written.length === 2) await server.close();
          return written.length < 3;
        },
      },
    );
    return written;
  }

  it('redraws a terminal, with rates, and goes on when the proxy does not answer', async () => {
    const [first = '', second = '', third = ''] = await watch({ isTerminal: true, json: false });
    for (const text of [first, second, third]) assert.ok(text.startsWith('\u001b[H\u001b[2J'), text);
    assert.match(first, /FAILED +UP/);
    assert.match(second, /FAILED +\/s +UP/);
    assert.match(third, /control\.sock: there is no control socket/);
  });

  it('moves no cursor where there is no terminal, nor for machines', async () => {
    for (const options of [
      { isTerminal: false, json: false },
      { isTerminal: true, json: true },
    ]) {
      for (const text of await watch(options)) assert.ok(!text.includes('\u001b'), text);
    }
  });

  it('without a proxy from the beginning is an error', async () => {
    const screen = { isTerminal: false, write: () => undefined, wait: () => Promise.resolve(true) };
    await assert.rejects(runStatus({ control: join(folder, 'none'), json: false, watchSeconds: 1 }, screen), {
      code: 'control',
    });
  });
});

describe('a control socket that is none', () => {
  const screen = { isTerminal: false, write: () => undefined, wait: () => Promise.resolve(false) };

  it('but another file is called so', async () => {
    await assert.rejects(runStatus({ control: import.meta.filename, json: false }, screen), {
      message: /: is not a socket$/,
      hint: /--control PATH$/,
    });
  });

  it('and has no name is refused', () => {
    assert.throws(() => parseConnectionsCommand(['--control', ''], {}), { code: 'usage' });
  });
});

describe('metrics that cannot be written', () => {
  it('say what is missing', async () => {
    const folder = mkdtempSync(join(tmpdir(), 'metrics-'));
    after(() => rmSync(folder, { recursive: true }));
    const control = join(folder, 'control.sock');
    const page = () => ({ status: 200, contentType: 'text/plain', body: 'x 1\n' });
    const log = recordLog('error').logFor('vsock_proxy');
    const server = await servePages({ family: 'unix', path: control, mode: 0o600 }, { '/metrics': page }, log);
    for (const [file, errno, hint] of [
      [join(folder, 'none', 'm'), 'ENOENT', /^make its directory first$/],
      [join(control, 'm'), 'ENOTDIR', /^name a file in a directory$/],
    ] as const) {
      await assert.rejects(runMetrics({ control, file }), { errno, hint });
    }
    await server.close();
  });
});

describe('connections of one listener', () => {
  const folder = mkdtempSync(join(tmpdir(), 'connections-'));
  after(() => rmSync(folder, { recursive: true }));
  const control = join(folder, 'control.sock');

  async function list(...argv: readonly string[]): Promise<readonly { readonly address: string }[]> {
    const connections = ['vsock:3:8000', 'tcp:[::1]:18005'].map((address) => ({ address, client: {} }));
    const pages = { '/connections': () => json(connections), '/status': () => json(statusOf()) };
    const log = recordLog('error').logFor('vsock_proxy');
    const server = await servePages({ family: 'unix', path: control, mode: 0o600 }, pages, log);
    try {
      const parsed = parseConnectionsCommand([...argv, '--json', '--control', control], {});
      assert(parsed.kind === 'run');
      return JSON.parse(await runConnections(parsed.arguments));
    } finally {
      await server.close();
    }
  }

  it('are found by every spelling of its address', async () => {
    for (const [written, address] of [
      ['vsock:8000', 'vsock:3:8000'],
      ['vsock:3:8000', 'vsock:3:8000'],
      ['tcp:[0:0:0:0:0:0:0:1]:18005', 'tcp:[::1]:18005'],
    ] as const) {
      assert.deepEqual(
        (await list('--listener', written)).map((each) => each.address),
        [address],
      );
    }
  });

  it('are none if it has none, and an error if it is not there', async () => {
    assert.deepEqual(await list('--listener', 'vsock:10000'), []);
    await assert.rejects(list('--listener', 'foo'), { code: 'usage', message: /"foo" is not an address to listen on/ });
    await assert.rejects(list('--listener', 'vsock:9'), {
      code: 'usage',
      message: 'no listener of the proxy is at vsock:3:9',
      hint: 'it has vsock:3:8000, vsock:3:10000',
    });
  });
});

describe('connections', () => {
  it('are listed from the oldest on', () => {
    const one = {
      listener: 1 as ListenerId,
      address: 'vsock:3:8000',
      phase: 'relaying',
      bytesUp: 100,
      bytesDown: 2048,
      idleMs: 500,
    } as const;
    const text = formatConnections([
      { ...one, connection: 1 as ConnectionId, client: { family: 'vsock', cid: 16, port: 5000 }, ageMs: 1000 },
      {
        ...one,
        connection: 2 as ConnectionId,
        client: { family: 'tcp', ip: '10.0.0.9', port: 1234 },
        ageMs: 65_000,
        target: 'kms.example:443',
        server: { family: 'tcp', ip: '10.0.0.7', port: 443 },
      },
    ]);
    assert.equal(
      text,
      `CLIENT         LISTENER      PHASE     TARGET           SERVER        UP     DOWN     AGE    IDLE
10.0.0.9:1234  vsock:3:8000  relaying  kms.example:443  10.0.0.7:443  100 B  2.0 KiB  1 min  0 s
16:5000        vsock:3:8000  relaying                                 100 B  2.0 KiB  1 s    0 s
`,
    );
  });
});

describe('tables', () => {
  it('numbers are right-aligned, and a table may be empty', () => {
    assert.equal(
      formatTable(
        ['A', 'N'],
        [
          ['x', 1],
          ['yy', 20],
        ],
      ),
      'A    N\nx    1\nyy  20\n',
    );
    assert.equal(formatTable(['A', 'N'], []), 'A  N\n');
  });

  it('bytes and durations have their units', () => {
    assert.deepEqual([0, 1023, 1024, 1.5 * 1024 ** 3].map(formatBytes), ['0 B', '1023 B', '1.0 KiB', '1.5 GiB']);
    assert.deepEqual([-1, 59, 60, 3600, 90_000].map(formatDuration), ['0 s', '59 s', '1 min', '1 h 0 min', '1 d 1 h']);
  });
});

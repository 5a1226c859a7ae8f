import assert from 'node:assert/strict';
import { chmodSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, suite, test } from 'node:test';
import { type Description, describeEnclaves, EnclaveDirectory, parseEnclaves } from '../../../src/enclave/describe.ts';
import { VsockProxyError } from '../../../src/platform/errors.ts';
import { ManualClock, recordLog, settle } from '../proxy/fixture.ts';
import { CLIENT, listener, ON, setUpProxy } from '../proxy/running.ts';

/** As nitro-cli 1.4 prints one. */
function described(EnclaveName: unknown, EnclaveCID: unknown, State: unknown = 'RUNNING') {
  return {
    ...{ EnclaveName, EnclaveID: 'i-0abc-enc018f', ProcessID: 6122, EnclaveCID, NumberOfCPUs: 2, CPUIDs: [1, 3] },
    ...{ MemoryMiB: 1024, State, Flags: 'NONE', Measurements: { HashAlgorithm: 'Sha384 { ... }', PCR0: '00' } },
  };
}

const APP_16 = JSON.stringify([described('app', 16)]);
const APP_18 = JSON.stringify([described('app', 18)]);

suite('what describe-enclaves prints, refused', () => {
  for (const [what, text, expected] of [
    ['nothing', '', /it is not JSON: ""/],
    ['a message', '[ E36 ] Enclave boot failure', /it is not JSON: "\[ E36 \]/],
    ['a map', '{}', /it is not a list/],
    ['a list of texts', '["app"]', /\[0\] is not a map/],
    ['a CID in quotes', JSON.stringify([described('app', '16')]), /\[0\]\.EnclaveCID is not the CID of an enclave/],
    ['the CID of the parent', JSON.stringify([described('app', 3)]), /\[0\]\.EnclaveCID/],
    ['the CID of everybody', JSON.stringify([described('app', 0xffff_ffff)]), /\[0\]\.EnclaveCID/],
    ['half a CID', JSON.stringify([described('other', 16), described('app', 16.5)]), /\[1\]\.EnclaveCID/],
    ['a number for a name', JSON.stringify([described(7, 16)]), /\[0\]\.EnclaveName is not a text/],
  ] as const) {
    test(what, () => {
      assert.throws(
        () => parseEnclaves(text),
        (error) => error instanceof VsockProxyError && expected.test(error.line),
      );
    });
  }
});

test('of what describe-enclaves prints, those that run, with names or, by old ones, without', () => {
  const all = [
    described('app', 16),
    described('old', 17, 'TERMINATING'),
    described(undefined, 18),
    described('db', 19),
  ];
  assert.deepEqual(parseEnclaves(JSON.stringify(all)), [
    { name: 'app', cid: 16 },
    { cid: 18 },
    { name: 'db', cid: 19 },
  ]);
  assert.deepEqual(parseEnclaves('[]'), []);
});

suite('the program that describes enclaves', () => {
  const directory = mkdtempSync(join(tmpdir(), 'vsock-proxy-describe-'));
  after(() => rmSync(directory, { recursive: true }));
  const program = (script: string): string => {
    const path = join(directory, 'nitro-cli');
    writeFileSync(path, `#!/bin/sh\n${script}\n`);
    chmodSync(path, 0o755);
    return path;
  };
  const failure = async (path: string): Promise<string> => {
    const error = await describeEnclaves(path).then(
      () => assert.fail(),
      (reason: unknown) => reason,
    );
    assert(error instanceof VsockProxyError);
    return error.line;
  };

  test('that is not there, or fails: its words and what to do', async () => {
    assert.match(
      await failure('/no/nitro-cli'),
      /^\/no\/nitro-cli describe-enclaves: ENOENT\. Hint: install the package/,
    );
    assert.match(
      await failure(program('echo "[ E19 ] Permission denied" >&2; echo more >&2; exit 3')),
      /describe-enclaves: status 3: \[ E19 \] Permission denied\. Hint: its user must be in the group ne/,
    );
    assert.match(await failure(program('kill -9 $$')), /ended by a signal/);
  });

  test('that prints without end is ended', async () => {
    assert.match(await failure(program('exec yes')), /ERR_CHILD_PROCESS_STDIO_MAXBUFFER/);
  });

  test('that fails after it has printed something: both are told', async () => {
    const { text, failure: why } = await describeEnclaves(program('echo "[]"; echo "[ E39 ] one hangs" >&2; exit 8'));
    assert.equal(text, '[]\n');
    assert.match(why?.line ?? '', /describe-enclaves: status 8: \[ E39 \] one hangs\. Hint: /);
  });

  test('gets one word, and no shell sees its name', async () => {
    assert.deepEqual(await describeEnclaves(program('echo "$# $1"')), { text: '1 describe-enclaves\n' });
    assert.match(await failure('/bin/echo; touch /tmp/never'), /ENOENT/);
  });
});

suite('the CID of a name', () => {
  const HANGS = new VsockProxyError('metadata', 'nitro-cli describe-enclaves: status 8: one hangs');

  function setUp(printed: string | Description | Error) {
    const clock = new ManualClock();
    const logged = recordLog('info');
    const state: { printed: string | Description | Error; calls: number } = { printed, calls: 0 };
    const directory = new EnclaveDirectory({
      clock,
      log: logged.logFor('vsock_proxy'),
      async describe() {
        state.calls += 1;
        await settle();
        if (state.printed instanceof Error) throw state.printed;
        return typeof state.printed === 'string' ? { text: state.printed } : state.printed;
      },
    });
    const cidOf = async (name = 'app') => {
      const cid = await directory.cidOf(name);
      return typeof cid === 'number' ? cid : cid.line;
    };
    return { clock, logged, state, directory, cidOf };
  }

  test('is not known where no enclave has it, several have, or nobody can tell', async () => {
    assert.match(String(await setUp('[]').cidOf()), /no enclave with the name "app" runs\. Hint: none runs at all/);
    assert.match(
      String(await setUp(APP_16).cidOf('ap')),
      /no enclave with the name "ap" runs\. Hint: those that run are "app"/,
    );
    const twice = JSON.stringify([described('app', 16), described('app', 17)]);
    assert.match(String(await setUp(twice).cidOf()), /more than one enclave has the name "app": CIDs 16, 17/);
    assert.match(String(await setUp('oops').cidOf()), /cannot be understood/);
  });

  test('is not known by name where the CLI is too old to tell names, which the hint says', async () => {
    const old = JSON.stringify([described(undefined, 16), described(undefined, 17)]);
    assert.match(
      String(await setUp(old).cidOf()),
      /no enclave with the name "app" runs\. Hint: this nitro-cli is too old .* --enclave-cid: what runs has CIDs 16, 17/,
    );
  });

  test('is what was printed although the command has failed, which is said once', async () => {
    const { cidOf, clock, logged } = setUp({ text: APP_16, failure: HANGS });
    assert.equal(await cidOf(), 16);
    assert.match(String(await cidOf('other')), /status 8: one hangs/);
    await clock.advance(2_000);
    assert.equal(await cidOf(), 16);
    assert.deepEqual(logged.take(), [
      'WARN describe-enclaves has failed, and what it printed is used: nitro-cli describe-enclaves: status 8: one hangs',
      'INFO The enclave "app" has CID 16',
    ]);
  });

  test('is the command’s failure where it failed and printed nothing that makes sense', async () => {
    assert.match(String(await setUp({ text: 'oops', failure: HANGS }).cidOf()), /status 8: one hangs/);
  });

  test('stays for a minute while a failing command leaves it out, unless another enclave has it now', async () => {
    const { cidOf, clock, state } = setUp(JSON.stringify([described('app', 16), described('db', 17)]));
    assert.equal(await cidOf('db'), 17);
    state.printed = { text: APP_16, failure: HANGS };
    for (let times = 0; times < 3; times += 1) {
      await clock.advance(20_000);
      assert.deepEqual([await cidOf(), await cidOf('db')], [16, 17]);
    }
    await clock.advance(2_000);
    assert.match(String(await cidOf('db')), /status 8/);
    state.printed = JSON.stringify([described('app', 16), described('db', 17)]);
    await clock.advance(2_000);
    assert.equal(await cidOf('db'), 17);
    state.printed = { text: JSON.stringify([described('new', 17)]), failure: HANGS };
    await clock.advance(2_000);
    assert.match(String(await cidOf('db')), /status 8/);
    assert.equal(await cidOf('new'), 17);
  });

  test('is asked once by many at the same time, and not again within a second', async () => {
    const { state, cidOf, clock, directory } = setUp(APP_16);
    assert.deepEqual(await Promise.all([cidOf(), cidOf(), cidOf('app')]), [16, 16, 16]);
    await clock.advance(999);
    assert.equal(directory.cidOf('app'), 16);
    assert.equal(state.calls, 1);
  });

  test('is another one when the enclave has been started again: known at most 1.5 s later', async () => {
    const { state, cidOf, clock, directory, logged } = setUp(APP_16);
    assert.equal(await cidOf(), 16);
    state.printed = APP_18;
    await clock.advance(1200);
    assert.equal(directory.cidOf('app'), 16); // at once, while it is asked anew
    await settle();
    await settle();
    assert.equal(directory.cidOf('app'), 18);
    state.printed = APP_16;
    await clock.advance(1500);
    assert.equal(await cidOf(), 16);
    assert.deepEqual(
      logged.take().map((line) => line.replace(/^.*has /, '')),
      ['CID 16', 'CID 18', 'CID 16'],
    );
  });

  test('is forgotten when nobody could tell for a minute, for it may be that of another enclave', async () => {
    const { state, cidOf, clock } = setUp(APP_16);
    assert.equal(await cidOf(), 16);
    state.printed = new Error('no memory');
    await clock.advance(60_000);
    assert.equal(await cidOf(), 16);
    await clock.advance(2_000);
    assert.match(String(await cidOf()), /no memory/);
  });

  test('is the last one while nobody can tell, which is said once, and none when it is told that it has ended', async () => {
    const { state, cidOf, clock, logged } = setUp(APP_16);
    assert.equal(await cidOf(), 16);
    logged.take();
    state.printed = new Error('no memory');
    for (let times = 0; times < 3; times += 1) {
      await clock.advance(10_000);
      assert.equal(await cidOf(), 16);
    }
    assert.match(logged.take().join(), /^[^,]*The CIDs of enclaves stay as they were for now: [^,]*no memory$/);
    state.printed = '[]';
    await clock.advance(10_000);
    assert.match(String(await cidOf()), /no enclave with the name/);
  });
});

test('clients of ingress go to the CID of now, and are refused with the reason while there is none', async () => {
  let cid: number | VsockProxyError = new VsockProxyError('metadata', 'no enclave runs', { hint: 'start it' });
  const route = { kind: 'enclave', name: 'app', port: 3000 } as const;
  const { net, logged, start } = setUpProxy([listener({ route })], { level: 'warn', support: { cidOf: () => cid } });
  await start();
  const refused = await net.connect(ON, CLIENT);
  await settle();
  assert.notEqual(refused.ending, undefined);
  assert.match(logged.take().join(), /no address for port 3000 of the enclave "app": no enclave runs.*Hint: start it/);
  for (cid of [16, 18]) {
    const enclave = net.serveAt({ family: 'vsock', cid, port: 3000 });
    const client = await net.connect(ON, CLIENT);
    client.write('hello');
    await (await enclave.accept()).receives('hello');
  }
});

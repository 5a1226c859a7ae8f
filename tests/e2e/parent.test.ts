/**
 * The executable on a parent: listening on the real vsock of CID 3, its clients connecting to CID 3 on the same machine.
 *
 * Platforms: bookworm linux-5.10 trixie sid
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Machine, PROJECT, type RemoteProgram } from './machine.ts';

const EXECUTABLE = `${PROJECT}/build/vsock-proxy`;
const GUEST = `${PROJECT}/tests/e2e/guest`;
/** The name that /etc/hosts of the machine has, and the port that the allowlist has. */
const SERVER = 'server.test 9000';
const KMS = 'kms.us-east-1.amazonaws.com';
const LOG_LINE_MS = 60_000;
const PROGRAM_MS = 120_000;

let parent: Machine;

describe('the executable on a parent', () => {
  before(async () => {
    parent = await Machine.start({
      memoryMib: 1024,
      files: [
        'build/vsock-proxy',
        'build/vsock-forwarder',
        'scripts',
        'tests/e2e/guest',
        'tests/integration/refuse.py',
      ],
    });
    await parent.check(`install -D -m 644 ${GUEST}/allowlist.yaml /etc/nitro_enclaves/vsock-proxy.yaml`);
  });

  after(() => parent?.[Symbol.asyncDispose]());

  test('start: a port in use is refused with EADDRINUSE, also for every CID together', async () => {
    await using _first = await proxy(`8000 ${SERVER}`);
    const again = await refusal(`8000 ${SERVER}`);
    assert.match(again, /^Error: "Could not listen for connections: Could not bind to cid: 3 port: 8000: EADDRINUSE/);
    assert.match(await refusal(`--cid any 8000 ${SERVER}`), /Could not bind to cid: \S+ port: 8000: EADDRINUSE/);
  });

  test('start: a CID that the machine does not have is refused with EADDRNOTAVAIL', async () => {
    assert.match(await refusal(`--cid 77 8000 ${SERVER}`), /Could not bind to cid: 77 port: 8000: EADDRNOTAVAIL/);
  });

  test('start: a port below 1024 is refused with EACCES to a user without privileges', async () => {
    const nobody = 'setpriv --reuid nobody --regid nogroup --clear-groups';
    assert.match(await refusal(`1023 ${SERVER}`, nobody), /Could not bind to cid: 3 port: 1023: EACCES/);
  });

  for (const [container, ...front] of [
    ['an ordinary container'],
    ['a container that has nothing to write to', 'READ_ONLY=1'],
    [
      'a container without memfd_create, on a file system without unnamed files',
      `python3 ${PROJECT}/tests/integration/refuse.py memfd_create=EPERM --`,
    ],
  ]) {
    test(`start: ${container} is enough`, async () => {
      const command = ['env', 'RUST_LOG=info', ...front, `sh ${GUEST}/container.sh ${EXECUTABLE} 8000 ${SERVER}`];
      await using running = await parent.spawn(command.join(' '));
      await running.stderr.match(/Proxy is now in listening state/, LOG_LINE_MS);
      await play('refused_then_served');
    });
  }

  test('start: a container of runc is enough, with its restrictions', async () => {
    await using running = await parent.spawn(`sh ${GUEST}/runc.sh ${EXECUTABLE} 8000 ${SERVER}`);
    try {
      await running.stderr.match(/Proxy is now in listening state/, LOG_LINE_MS);
      await play('refused_then_served');
    } finally {
      await parent.check('runc delete --force vsock-proxy'); // it outlives the runc that has started it
    }
  });

  test('start: a port is free again as soon as its proxy has ended', async () => {
    for (let round = 0; round < 3; round++) {
      await using _proxy = await proxy(`8000 ${SERVER}`);
    }
  });

  test('refused: the client of a dead server is closed, the next one on the same proxy is served', async () => {
    await using running = await proxy(`8000 ${SERVER}`);
    await play('refused_then_served');
    await running.stderr.match(
      /WARN .* could not connect to server\.test:9000 at 10\.77\.0\.1:9000: ECONNREFUSED/,
      LOG_LINE_MS,
    );
  });

  test('tls: a request reaches the server, whose certificate the client can verify', async () => {
    await using _proxy = await proxy(`8000 ${KMS} 443`);
    await using _server = await tlsServer();
    const answer = await parent.check(`python3 ${GUEST}/tls_client.py 3 8000 ${KMS} /run/e2e/ca.pem`);
    assert.equal(answer, `TLSv1.3, certificate of ${KMS} issued by test authority\n200 hello from ${KMS}\n`);
  });

  test('enclave: a program without any network reaches the server', async () => {
    await using _proxy = await proxy(`8000 ${KMS} 443`);
    await using _server = await tlsServer();
    const client = `python3 ${GUEST}/tls_client.py 3 8000 ${KMS} /run/e2e/ca.pem`;
    const answer = await parent.check(`unshare --net sh -c 'ip -brief link && ${client}'`);
    assert.match(
      answer,
      new RegExp(`^lo +DOWN [^\\n]*\\nTLSv1.3, certificate of ${KMS} issued by test authority\\n200 `),
    );
  });

  test('log: has the CID and the port of the client', async () => {
    await using running = await proxy(`8000 ${SERVER}`);
    const port = /client port (\d+)/.exec(await play('says_its_port'))?.[1];
    await running.stderr.match(new RegExp(`Accepted connection on cid: 1 port: ${port}\n`), LOG_LINE_MS);
    await running.stderr.match(
      new RegExp(`Connected client from cid: 1 port: ${port} to 10.77.0.1:9000\n`),
      LOG_LINE_MS,
    );
    await running.stderr.match(new RegExp(`Client on cid: 1 port: ${port} disconnected\n`), LOG_LINE_MS);
  });

  test('data: 16 MiB arrive unchanged in both directions at once', async () => {
    await using _proxy = await proxy(`8000 ${SERVER}`);
    await play('both_directions_at_once');
  });

  test("half-close: the server's reply still arrives after the client's EOF", async () => {
    await using _proxy = await proxy(`8000 ${SERVER}`);
    await play('client_ends_first');
  });

  test("half-close: the client's bytes still arrive after the server's EOF", async () => {
    await using _proxy = await proxy(`8000 ${SERVER}`);
    await play('server_ends_first');
  });

  test("reset: the server's reset ends the client's connection in both directions", async () => {
    await using running = await proxy(`8000 ${SERVER}`);
    await play('server_resets');
    await running.stderr.match(/disconnected: reset by the server \(ECONNRESET\)/, LOG_LINE_MS);
  });

  test('reset: the server of a client that closes without reading is reset', async () => {
    await using _proxy = await proxy(`8000 ${SERVER}`);
    await play('client_leaves');
  });

  test('many: 200 connections that are open at once are all served', async () => {
    await using _proxy = await proxy(`-w 200 8000 ${SERVER}`);
    await play('two_hundred_at_once');
  });

  test('limit: the client beyond -w waits, with a line in the log, and is served when a place is free', async () => {
    await using running = await proxy(`-w 4 8000 ${SERVER}`);
    const scenario = await parent.spawn(`python3 ${GUEST}/scenarios.py fifth_waits 8000 9000`);
    await scenario.stdout.match(/the fifth waits\n/, LOG_LINE_MS);
    await running.stderr.match(/WARN .* Limit of 4 simultaneous connections reached: a client waits/, LOG_LINE_MS);
    scenario.stdin.end('go on\n');
    await succeeded(scenario);
  });

  test('drain: after SIGTERM no client is accepted, the running transfer completes, and the status is 0', async () => {
    await using running = await proxy(`8000 ${SERVER}`);
    const scenario = await parent.spawn(`python3 ${GUEST}/scenarios.py transfer_survives_drain 8000 9000`);
    await scenario.stdout.match(/the transfer runs\n/, LOG_LINE_MS);
    await running.signal('TERM');
    await running.stderr.match(/No new clients are accepted/, LOG_LINE_MS);
    await play('nobody_listens');
    scenario.stdin.end('go on\n');
    await succeeded(scenario);
    await succeeded(running);
  });

  test('service: a unit with its own user serves, and warns in the journal', async () => {
    const properties = '--property DynamicUser=yes --property SyslogIdentifier=vsock-proxy --setenv RUST_LOG=warn';
    await parent.check(`systemd-run --unit proxy-test ${properties} ${EXECUTABLE} 8000 ${SERVER}`);
    await parent.check("until ss --vsock --listening --no-header | grep -q ' 3:8000 '; do sleep 0.1; done");
    const main = '$(systemctl show --property MainPID --value proxy-test)';
    assert.notEqual(Number(await parent.check(`ps -o uid= -p ${main}`)), 0);
    await play('refused_then_served');
    await parent.check('systemctl stop proxy-test');
    const journal = await parent.check(
      'journalctl --sync; journalctl --unit proxy-test --identifier vsock-proxy --output cat',
    );
    assert.match(journal, /^\[\S+ WARN {2}vsock_proxy::proxy\] .*could not connect to server\.test:9000/);
    assert.doesNotMatch(journal, /INFO/);
  });

  test('vhost_vsock: a CID that is no guest of this machine is tried through the hypervisor, or the hint names the module', async () => {
    // The hypervisor of this machine has no such enclave and says nothing, where vhost_vsock says ENODEV at once.
    const inVain = /^within 1000 ms *\([^(]*$/;
    const kernel = await parent.check('uname -r');
    const alike = kernel.startsWith('5.10.') ? /^: ENODEV: .*Hint: .*before Linux 5\.11: `rmmod vhost_vsock`/ : inVain;
    const port = `${PROJECT}/build/vsock-forwarder --connect-timeout 1s unix:/run/beside.sock 16 9999`;
    const failure = async () => {
      await using running = await parent.spawn(`env RUST_LOG=info ${port}`);
      await running.stderr.match(/Proxy is now in listening state/, LOG_LINE_MS);
      await parent.check(`python3 ${GUEST}/connect_errno.py /run/beside.sock`);
      const [, how = ''] = await running.stderr.match(/could not connect to cid: 16 port: 9999([^\n]*)\n/, LOG_LINE_MS);
      return how.trim();
    };
    assert.match(await failure(), inVain);
    await parent.check('modprobe vhost_vsock');
    try {
      // Linux 7.1 and later go on by themselves.
      const goesOn = (await parent.run('test -e /proc/sys/net/vsock/g2h_fallback')).status === 0;
      const direct = await parent.check(`python3 ${GUEST}/connect_errno.py 16 9999`);
      assert.equal(direct, goesOn ? 'ETIMEDOUT\n' : 'ENODEV\n');
      assert.match(await failure(), alike);
    } finally {
      await parent.check('rmmod vhost_vsock');
    }
  });

  test('demo: runs on the vsock of a machine that can connect to itself', async () => {
    const story = await parent.check(`${PROJECT}/scripts/demo.sh`);
    assert.match(
      story,
      /^On this machine, whose own CID is 1.*200 hello from .*not allowed.*The demo has succeeded\.\n$/s,
    );
  });
});

/** Starts a proxy that listens, with `RUST_LOG=info`. */
async function proxy(args: string): Promise<RemoteProgram> {
  const program = await parent.spawn(`env RUST_LOG=info ${EXECUTABLE} ${args}`);
  await program.stderr.match(/Proxy is now in listening state/, LOG_LINE_MS);
  return program;
}

/** What a proxy that cannot start says. */
async function refusal(args: string, user = ''): Promise<string> {
  const { status, stderr } = await parent.run(`${user} ${EXECUTABLE} ${args}`);
  assert.equal(status, 1, stderr);
  assert.match(stderr, /^Error: "[^\n]+"\n$/);
  return stderr;
}

/** Runs a scenario of guest/scenarios.py to its end, and gives what it printed. */
function play(scenario: string): Promise<string> {
  return parent.check(`python3 ${GUEST}/scenarios.py ${scenario} 8000 9000`);
}

async function tlsServer(): Promise<RemoteProgram> {
  await parent.check(`sh ${GUEST}/certificates.sh /run/e2e ${KMS}`);
  const server = await parent.spawn(`python3 ${GUEST}/tls_server.py 10.77.0.1 443 /run/e2e/server.pem`);
  await server.stdout.match(/listening\n/, LOG_LINE_MS);
  return server;
}

async function succeeded(program: RemoteProgram): Promise<void> {
  const { status, stderr } = await program.outcome(PROGRAM_MS);
  assert.equal(status, 0, stderr);
}

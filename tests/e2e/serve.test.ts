/**
 * `vsock-proxy serve` on a parent: many listeners in one process, its clients connecting to CID 3 on the same machine, by
 * which their CID is 1; under the real systemd, which may listen in its place.
 *
 * Platforms: bookworm linux-5.10 trixie sid
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Machine, PROJECT, type RemoteProgram } from './machine.ts';

const EXECUTABLE = `${PROJECT}/build/vsock-proxy`;
const GUEST = `${PROJECT}/tests/e2e/guest`;
const KMS = 'kms.us-east-1.amazonaws.com';
const CERTIFICATE = '/run/e2e/ca.pem';
const CONFIG = '/etc/serve.yaml';
const SOON_MS = 120_000;

/** The listeners of the file as programs find them that know nothing of vsock: through a relay in front. */
const RELAYED = [10_000, 10_001, 8017, 8443];
const PROXY = 'http://127.0.0.1:10001';
const EGRESS = 'http://127.0.0.1:10000';
const BY_CID = 'http://127.0.0.1:8017';
const SNI = '127.0.0.1:8443';

let parent: Machine;
let serve: RemoteProgram;

/** 56 in curl 7.88, 7 in curl 8.23. */
const CURL_STATUS = /(?<=^curl: )\((?:56|7)\) /gm;

describe('serve on a parent', () => {
  before(async () => {
    parent = await Machine.start({ memoryMib: 1024, files: ['build/vsock-proxy', 'tests/e2e/guest'] });
    await parent.check(`
      echo '10.77.0.1 denied.test only1.test only16.test not1.test' >>/etc/hosts
      echo '169.254.169.254 metadata.test' >>/etc/hosts
      cp ${GUEST}/serve.yaml ${CONFIG}
      mkdir -p /run/e2e/www && cd /run/e2e/www && echo hello >hello && head -c 4M /dev/urandom >data
      sh ${GUEST}/certificates.sh /run/e2e ${KMS}`);
    const servers = [
      `python3 ${GUEST}/tls_server.py 10.77.0.1 443 /run/e2e/server.pem`,
      `python3 ${GUEST}/file_server.py 10.77.0.1 8088 /run/e2e/www`,
      `python3 ${GUEST}/serve.py echo 5000`,
    ];
    const programs = await Promise.all(servers.map((server) => parent.spawn(server)));
    serve = await parent.spawn(`env RUST_LOG=info ${EXECUTABLE} serve --config ${CONFIG} --enclave-cid 1`);
    const relays = RELAYED.map((port) => `TCP-LISTEN:${port},bind=127.0.0.1,fork,reuseaddr VSOCK-CONNECT:3:${port}`);
    // The application of an enclave.
    relays.push('VSOCK-LISTEN:5001,fork TCP:10.77.0.1:8088');
    await Promise.all(relays.map((relay) => parent.spawn(`socat ${relay}`)));
    await Promise.all(programs.map(({ stdout }) => stdout.match(/listening\n/, SOON_MS)));
    await serve.stderr.match(/Proxy is now in listening state/, SOON_MS);
    await parent.check(`
      until [ "$(ss -Hltn 'src 127.0.0.1' | wc -l)" = ${RELAYED.length} ]; do sleep 0.1; done
      until ss -Hl --vsock | grep -q ':5001 '; do sleep 0.1; done`);
  });

  after(() => parent?.[Symbol.asyncDispose]());

  test('http: a denied target gets 403, in a tunnel and in clear', async () => {
    const denied = ['denied.test:8088', 'unlisted.test:8088', 'server.test:8089', 'metadata.test:8088'];
    const tunnels = await curl(denied.map((target) => `https://${target}/`).join(' '));
    assert.equal(
      tunnels.replaceAll(CURL_STATUS, ''),
      'curl: CONNECT tunnel failed, response 403\n'.repeat(denied.length),
    );
    const urls = denied.map((target) => `http://${target}/hello`);
    const subjects = ['denied.test:8088 is', 'unlisted.test:8088 is', 'server.test:8089 is'];
    assert.equal(
      await curl(`--write-out '%{http_code}\\n' ${urls.join(' ')}`),
      [...subjects, 'the addresses of metadata.test:8088 are']
        .map((subject) => `${subject} not allowed by the policy of this proxy\n403\n`)
        .join(''),
    );
    await serve.stderr.match(/WARN .*Client on cid: 1 port: \d+: .*denied\.test.*serve\.yaml:7\)/, SOON_MS);
  });

  test('http: a request that would be sent in clear gets 400, and a server that refuses gives 502', async () => {
    const told = await curl('--include --request-target https://server.test:8088/hello http://server.test:8088/');
    assert.match(told, /^HTTP\/1\.1 400 [\s\S]*would go on unencrypted/);
    assert.match(await curl('https://server.test:9000/'), /CONNECT tunnel failed, response 502/);
    assert.equal(await curl('http://server.test:9000/'), 'could not connect to server.test:9000: ECONNREFUSED\n');
  });

  test('http: a tunnel for TLS, and two requests in clear over one connection', async () => {
    assert.equal(await curl(`https://${KMS}/`), `hello from ${KMS}\n`);
    const url = 'http://server.test:8088/hello';
    assert.equal(await curl(`--write-out '%{num_connects}\\n' ${url} ${url}`), 'hello\n1\nhello\n0\n');
    await serve.stderr.match(
      /Connected client from cid: 1 port: \d+ to 10\.77\.0\.1:8088 \(server\.test:8088\)/,
      SOON_MS,
    );
  });

  test('http: 4 MiB up and down, every byte is the same', async () => {
    const data = '/run/e2e/www/data';
    for (const option of ['', '--proxytunnel']) {
      assert.equal(await curl(`${option} --output /run/e2e/down http://server.test:8088/data`), '');
      assert.equal(await curl(`${option} --upload-file ${data} http://server.test:8088/up`), '');
      await parent.check(
        `cmp ${data} /run/e2e/down && cmp ${data} /run/e2e/www/up && rm /run/e2e/down /run/e2e/www/up`,
      );
    }
  });

  test('sni: a denied name, no name, and bytes that are not TLS end without a byte to the server', async () => {
    for (const name of ['-servername denied.test', '-servername server.test', '-noservername']) {
      assert.match(await openssl(name), /no peer certificate available/);
    }
    await serve.stderr.match(/WARN .*Client on cid: 1 port: \d+: .*denied\.test.*serve\.yaml:7\)/, SOON_MS);
    assert.match(await curl(`http://${SNI}/`, "''"), /^curl: \((7|52|55|56)\) /);
    await serve.stderr.match(/WARN .*that is HTTP or another protocol in clear, not TLS/, SOON_MS);
  });

  test('sni: an allowed name shows its own certificate, in TLS 1.2 and 1.3', async () => {
    for (const version of ['1.2', '1.3']) {
      const told = await openssl(`-servername ${KMS} -tls${version.replace('.', '_')}`);
      assert.match(told, new RegExp(`New, TLSv${version}, .*[\\s\\S]*Verify return code: 0 \\(ok\\)`));
    }
    assert.equal(await curl(`--connect-to ::${SNI} https://${KMS}/`, "''"), `hello from ${KMS}\n`);
  });

  test('cids: a listener serves only the CIDs that it names', async () => {
    await play('refused 8016');
    await serve.stderr.match(
      /WARN .*Client on cid: 1 port: \d+ refused: CID 1 may not connect\. Hint: .*cids/,
      SOON_MS,
    );
    await exchange(8001);
  });

  test('cids: a rule is for the CIDs that it names, in the allowlist and in the denylist', async () => {
    const urls = ['only16.test', 'not1.test', 'only1.test', 'server.test'].map((name) => `http://${name}:8088/hello`);
    const told = await curl(
      `--output /dev/null --write-out '%{http_code} ' ${urls.join(' --output /dev/null ')}`,
      BY_CID,
    );
    assert.equal(told, '403 403 200 200 ');
  });

  test('limits: the third connection of one CID is refused, and another one is served when one has ended', async () => {
    await play('third_is_refused 8002');
    await serve.stderr.match(/WARN .*refused: CID 1 has 2 connections open already/, SOON_MS);
  });

  test('ingress: a client that is not listed, or comes while the enclave does not listen, ends without a byte', async () => {
    assert.match(await curl('--interface 127.0.0.1 http://10.77.0.1:8080/', "''"), /^curl: \((7|52|55|56)\) /);
    await serve.stderr.match(/WARN .* refused: 127\.0\.0\.1 may not connect\. Hint: .*sources/, SOON_MS);
    assert.match(await curl('http://10.77.0.1:8082/', "''"), /^curl: \((7|52|55|56)\) /);
    await serve.stderr.match(/WARN .*could not connect to .*cid: 1 port: 5009.*ECONNRESET/, SOON_MS);
  });

  test('ingress: TCP reaches vsock in the enclave, with the PROXY protocol if the file has it', async () => {
    const signature = '0d0a0d0a000d0a515549540a';
    await play("through 10.77.0.1 8080 ''");
    await play(`through 10.77.0.1 8081 ${signature}2111000c0a4d00010a4d0001PORT1f91`);
  });

  test('a manifest of Enclaver: its egress and ingress work as there', async () => {
    const denied = await curl('https://denied.test/ https://kms.eu-west-1.amazonaws.com/', EGRESS);
    assert.equal(denied.replaceAll(CURL_STATUS, ''), 'curl: CONNECT tunnel failed, response 403\n'.repeat(2));
    assert.equal(await curl(`https://${KMS}/`, EGRESS), `hello from ${KMS}\n`);
    assert.equal(await curl('http://10.77.0.1:5001/hello', "''"), 'hello\n');
  });

  test('reload: a connection stays open; listeners come and go', async () => {
    await using transfer = await parent.spawn(`python3 ${GUEST}/scenarios.py transfer_survives_drain 8000 9000`);
    await transfer.stdout.match(/the transfer runs\n/, SOON_MS);
    await parent.check(`sed -i 's/vsock:8000/vsock:8004/' ${CONFIG}`);
    await serve.signal('HUP');
    await serve.stderr.match(
      /Reloaded: added cid: 3 port: 8004; removed cid: 3 port: 8000; 11 listeners unchanged/,
      SOON_MS,
    );
    transfer.stdin.end('go on\n');
    await succeeded(transfer);
    await parent.check(`python3 ${GUEST}/scenarios.py nobody_listens 8000 9000`);
    await exchange(8004);
  });

  test('reload: a file with a mistake changes nothing', async () => {
    const listeners = 'ss --listening --vsock --tcp --numeric --no-header';
    const before = await parent.check(listeners);
    await parent.check(`sed -i -e 's/route: sni/route: sin/' -e 's/vsock:8001/vsock:8005/' ${CONFIG}`);
    await serve.signal('HUP');
    await serve.stderr.match(/ERROR .*Reload failed, and everything goes on as before: .*serve\.yaml:11\)/, SOON_MS);
    assert.equal(await parent.check(listeners), before);
    await exchange(8001);
    assert.equal(await curl('http://server.test:8088/hello'), 'hello\n');
  });

  test('socket activation: the first client starts it; clients that wait while it is stopped or killed are served', async () => {
    await parent.check(`
      cp ${GUEST}/activated.socket ${GUEST}/activated.service /etc/systemd/system && cp ${GUEST}/activated.yaml /etc
      systemctl daemon-reload
      systemctl start activated.socket`);
    assert.equal(await active(), 'inactive\n');
    await play('crowd 8100');
    assert.equal(await active(), 'active\n');
    await parent.check('systemctl stop activated.service');
    assert.equal(await active(), 'inactive\n');
    await play('crowd 8100');
    await parent.check('systemctl kill --signal KILL activated.service');
    await parent.check('until [ $(systemctl is-active activated.service) = failed ]; do sleep 0.1; done');
    await play('crowd 8100');
    const log = await parent.check('journalctl --sync; journalctl --unit activated.service --output cat');
    assert.match(log, /Bound to cid: 4294967295 port: 8100\n/);
  });

  test('socket activation: restarts and reloads while clients come and go: all are served', async () => {
    await using clients = await parent.spawn(`python3 ${GUEST}/serve.py stream 8100`);
    for (const step of ['restart', 'reload', 'restart']) {
      await clients.stdout.match(/served\n/, SOON_MS, clients.stdout.text.length);
      await parent.check(`systemctl ${step} activated.service`);
    }
    await clients.stdout.match(/served\n/, SOON_MS, clients.stdout.text.length);
    clients.stdin.end('\n');
    await succeeded(clients);
  });

  test('systemctl reload: a wrong file is shown in the status, and changes nothing', async () => {
    await parent.check("sed -i 's/route: http/route: htp/' /etc/activated.yaml && systemctl reload activated.service");
    await statusHas('Reload failed');
    const status = await parent.check('systemctl show --property StatusText --property ActiveState activated.service');
    assert.match(
      status,
      /StatusText=Reload failed at \/etc\/activated\.yaml:2: .*route.*; running with the configuration of /,
    );
    assert.match(status, /ActiveState=active/);
    await play('crowd 8100');
    await parent.check("sed -i 's/route: htp/route: http/' /etc/activated.yaml && systemctl reload activated.service");
    await statusHas('Listening on 1 address');
  });
});

async function active(): Promise<string> {
  return (await parent.run('systemctl is-active activated.service')).stdout;
}

/** Waits until systemd has the status. */
function statusHas(text: string): Promise<string> {
  return parent.check(
    `until systemctl show --property StatusText activated.service | grep -q '${text}'; do sleep 0.1; done`,
  );
}

/** What curl prints through this proxy, and in case it fails, why. */
async function curl(args: string, proxy = PROXY): Promise<string> {
  const options = `--silent --show-error --max-time 100 --cacert ${CERTIFICATE} --proxy ${proxy}`;
  const { status, stdout, stderr } = await parent.run(`curl ${options} ${args}`);
  return status === 0 ? stdout : `${stdout}${stderr}`;
}

/** What openssl says of a handshake by server name. */
async function openssl(args: string): Promise<string> {
  const { stdout } = await parent.run(`openssl s_client -connect ${SNI} -CAfile ${CERTIFICATE} ${args}`);
  return stdout;
}

/** Plays a scenario of guest/serve.py to its end. */
function play(scenario: string): Promise<string> {
  return parent.check(`python3 ${GUEST}/serve.py ${scenario}`);
}

/** A client of this fixed route and its server exchange some bytes. */
function exchange(port: number): Promise<string> {
  return parent.check(`python3 ${GUEST}/scenarios.py client_ends_first ${port} 9000`);
}

async function succeeded(program: RemoteProgram): Promise<void> {
  const { status, stdout, stderr } = await program.outcome(SOON_MS);
  assert.equal(status, 0, stdout + stderr);
}

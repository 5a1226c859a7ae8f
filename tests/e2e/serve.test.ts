/**
 * `vsock-proxy serve` on a parent: many listeners in one process, its clients connecting to CID 3 on the same machine, by
 * which their CID is 1; under the real systemd, which may listen in its place.
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { Machine, PROJECT, type RemoteProgram } from './machine.ts';

const EXECUTABLE = `${PROJECT}/build/vsock-proxy`;
const GUEST = `${PROJECT}/tests/e2e/guest`;
const KMS = 'kms.us-east-1.amazonaws.com';
const CONFIG = '/etc/serve.yaml';
const SOON_MS = 120_000;

/** The HTTP proxies of the file, as programs find them that know nothing of vsock: through a relay in front. */
const PROXY = 'http://127.0.0.1:10001';
const EGRESS = 'http://127.0.0.1:10000';
const BY_CID = 'http://127.0.0.1:8017';

let parent: Machine;
let serve: RemoteProgram;

describe('serve on a parent', () => {
  before(async () => {
    parent = await Machine.start({ memoryMib: 1024, files: ['build/vsock-proxy', 'tests/e2e/guest'] });
    await parent.check(`
      echo '10.77.0.1 denied.test only16.test not1.test' >>/etc/hosts
      cp ${GUEST}/serve.yaml ${CONFIG}
      mkdir -p /run/e2e/www && cd /run/e2e/www && echo hello >hello && head -c 4M /dev/urandom >data
      sh ${GUEST}/certificates.sh /run/e2e ${KMS}`);
    const programs = [
      `python3 ${GUEST}/tls_server.py 10.77.0.1 443 /run/e2e/server.pem`,
      `python3 ${GUEST}/file_server.py 10.77.0.1 8088 /run/e2e/www`,
      `python3 ${GUEST}/serve.py echo 5000 5001`,
    ];
    for (const program of programs) await (await parent.spawn(program)).stdout.match(/listening\n/, SOON_MS);
    serve = await parent.spawn(`env RUST_LOG=info ${EXECUTABLE} serve --config ${CONFIG} --enclave-cid 1`);
    await serve.stderr.match(/Proxy is now in listening state/, SOON_MS);
    for (const port of [10_000, 10_001, 8017]) {
      await parent.spawn(`socat TCP-LISTEN:${port},bind=127.0.0.1,fork,reuseaddr VSOCK-CONNECT:3:${port}`);
    }
    await parent.check('until [ $(ss -Hltn "src 127.0.0.1" | wc -l) -ge 3 ]; do sleep 0.1; done');
  });

  after(() => parent?.[Symbol.asyncDispose]());

  test('http: what is not allowed is answered 403, in a tunnel and in clear', async () => {
    assert.match(await curl('https://denied.test/'), /CONNECT tunnel failed, response 403/);
    assert.match(await curl('https://server.test/'), /response 403/);
    const told = await curl('--include http://denied.test:8088/hello');
    assert.match(told, /^HTTP\/1\.1 403 Forbidden\r\n[\s\S]*\r\nProxy-Status: vsock-proxy; error=http_request_denied;/);
    assert.match(told, /\r\n\r\ndenied\.test:8088 is not allowed by the policy of this proxy\n$/);
    await serve.stderr.match(/WARN .*Client on cid: 1 port: \d+: .*denied\.test.*serve\.yaml:5\)/, SOON_MS);
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
      await parent.check(
        `curl -sS -m 100 -x ${PROXY} ${option} -o /run/e2e/down http://server.test:8088/data && cmp ${data} /run/e2e/down
         curl -sS -m 100 -x ${PROXY} ${option} -T ${data} http://server.test:8088/up && cmp ${data} /run/e2e/www/up`,
      );
    }
  });

  test('sni: a name that is not allowed is refused; an allowed one shows its own certificate', async () => {
    const hello = (name: string) => parent.run(`python3 ${GUEST}/tls_client.py 3 8443 ${name} /run/e2e/ca.pem`);
    assert.notEqual((await hello('denied.test')).status, 0);
    await serve.stderr.match(/WARN .*Client on cid: 1 port: \d+: .*denied\.test on port 443/, SOON_MS);
    const { stdout, stderr } = await hello(KMS);
    assert.equal(stdout, `TLSv1.3, certificate of ${KMS} issued by test authority\n200 hello from ${KMS}\n`, stderr);
  });

  test('cids: a listener, an allow and a deny are for those whom they name', async () => {
    await play('refused 8016');
    await serve.stderr.match(
      /WARN .*Client on cid: 1 port: \d+ refused: CID 1 may not connect\. Hint: .*cids/,
      SOON_MS,
    );
    for (const name of ['only16.test', 'not1.test']) {
      assert.match(await curl(`--include http://${name}:8088/hello`, BY_CID), /^HTTP\/1\.1 403 /);
    }
    assert.equal(await curl('http://server.test:8088/hello', BY_CID), 'hello\n');
  });

  test('limits: the third connection of one CID is refused, and one more comes when one has gone', async () => {
    await play('third_is_refused 8002');
    await serve.stderr.match(/WARN .*refused: CID 1 has 2 connections open already/, SOON_MS);
  });

  test('ingress: TCP reaches vsock in the enclave, with the client told first where that is wanted', async () => {
    const signature = '0d0a0d0a000d0a515549540a';
    await play("through 10.77.0.1 8080 ''");
    await play(`through 10.77.0.1 8081 ${signature}2111000c0a4d00010a4d0001PORT1f91`);
  });

  test('a manifest of Enclaver: its egress and ingress do what they do there', async () => {
    assert.match(await curl('https://denied.test/', EGRESS), /response 403/);
    assert.match(await curl('https://kms.eu-west-1.amazonaws.com/', EGRESS), /response 403/);
    assert.equal(await curl(`https://${KMS}/`, EGRESS), `hello from ${KMS}\n`);
    await play("through 10.77.0.1 5001 ''");
  });

  test('reload: a connection stands through it; listeners come and go', async () => {
    await using connection = await parent.spawn(`python3 ${GUEST}/serve.py stays 8000`);
    await connection.stdout.match(/it stands\n/, SOON_MS);
    await parent.check(`sed -i 's/vsock:8000/vsock:8004/' ${CONFIG}`);
    await serve.signal('HUP');
    await serve.stderr.match(
      /Reloaded: added cid: 3 port: 8004; removed cid: 3 port: 8000; 9 listeners unchanged/,
      SOON_MS,
    );
    connection.stdin.write('go on\n');
    await connection.stdout.match(/it still stands\n/, SOON_MS);
    await parent.check("! ss --vsock --listening --no-header | grep -q ':8000 '");
    await parent.check(`cp ${GUEST}/serve.yaml ${CONFIG} && sed -i 's/route: sni/route: sin/' ${CONFIG}`);
    await serve.signal('HUP');
    await serve.stderr.match(/ERROR .*Reload failed, and everything goes on as before: .*serve\.yaml:9\)/, SOON_MS);
    assert.equal(await curl('http://server.test:8088/hello'), 'hello\n');
  });

  test('socket activation: the first client starts it; whoever waits while it is stopped or killed is served', async () => {
    await parent.check(`
cat >/etc/systemd/system/activated.socket <<END
[Socket]
ListenStream=vsock::8100
FileDescriptorName=web
END
cat >/etc/systemd/system/activated.service <<END
[Service]
Type=notify
ExecStart=${EXECUTABLE} serve --config /etc/activated.yaml
ExecReload=/bin/kill -HUP \\$MAINPID
Environment=RUST_LOG=info
SyslogIdentifier=vsock-proxy
DynamicUser=yes
CapabilityBoundingSet=
RestrictAddressFamilies=AF_VSOCK AF_INET AF_INET6 AF_UNIX
END
cat >/etc/activated.yaml <<END
allowlist: [{address: server.test, port: 8088}]
listeners: [{listen: "systemd:web", route: http}]
END
systemctl daemon-reload
systemctl start activated.socket`);
    assert.equal(await active(), 'inactive\n');
    await play('crowd 8100');
    assert.equal(await active(), 'active\n');
    await parent.check('systemctl stop activated.service 2>&1');
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
    await clients.stdout.match(/the stream runs\n/, SOON_MS);
    await parent.check(
      'systemctl restart activated.service; systemctl reload activated.service; systemctl restart activated.service',
    );
    clients.stdin.end('\n');
    const { status, stdout, stderr } = await clients.outcome(SOON_MS);
    assert.equal(status, 0, stderr);
    assert.match(stdout, /\d\d served\n$/);
  });

  test('systemctl reload: what cannot be used is told in the status, and changes nothing', async () => {
    await parent.check("sed -i 's/route: http/route: htp/' /etc/activated.yaml && systemctl reload activated.service");
    await parent.check(
      "until systemctl show --property StatusText activated.service | grep -q 'Reload failed'; do sleep 0.1; done",
    );
    const status = await parent.check('systemctl show --property StatusText --property ActiveState activated.service');
    assert.match(
      status,
      /StatusText=Reload failed at \/etc\/activated\.yaml:2: .*route.*; running with the configuration of /,
    );
    assert.match(status, /ActiveState=active/);
    await play('crowd 8100');
    await parent.check("sed -i 's/route: htp/route: http/' /etc/activated.yaml && systemctl reload activated.service");
    await parent.check(
      "until systemctl show --property StatusText activated.service | grep -q 'Listening on 1 address'; do sleep 0.1; done",
    );
  });
});

function active(): Promise<string> {
  return parent.run('systemctl is-active activated.service').then(({ stdout }) => stdout);
}

/** What curl prints through this proxy, and in case it fails, why. */
async function curl(args: string, proxy = PROXY): Promise<string> {
  const options = `--silent --show-error --max-time 100 --cacert /run/e2e/ca.pem --proxy ${proxy}`;
  const { status, stdout, stderr } = await parent.run(`curl ${options} ${args}`);
  return status === 0 ? stdout : `${stdout}${stderr}`;
}

/** Plays a scenario of guest/serve.py to its end. */
function play(scenario: string): Promise<string> {
  return parent.check(`python3 ${GUEST}/serve.py ${scenario}`);
}

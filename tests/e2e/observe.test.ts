/**
 * The installed service as its own commands show it, where all is well and in each state that docs/service.md helps out of:
 * status, connections, metrics, probe, and a doctor who names the right check each time, and no other.
 *
 * One machine serves all tests, and each says itself in which state the service is.
 *
 * Platforms: bookworm
 */
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { after, before, describe, type TestContext, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { Machine, PROJECT, type RemoteProgram } from './machine.ts';

const NAME = 'nitro-enclaves-vsock-proxy';
const ALLOWLIST = '/etc/nitro_enclaves/vsock-proxy.yaml';
const SYSCONFIG = `/etc/sysconfig/${NAME}`;
const METRICS = `/run/${NAME}/metrics.sock`;
const GUEST = `${PROJECT}/tests/e2e/guest`;
const PACKAGES = 'build/e2e-packages';
const KMS = 'kms.us-east-1.amazonaws.com';
/** Which no /etc/hosts has, and no name server tells. */
const UNKNOWN_KMS = 'kms.eu-west-1.amazonaws.com';
const SERVER = '10.77.0.1:443';
const SOON_MS = 120_000;

let parent: Machine;

describe('the service, seen and diagnosed', () => {
  before(async () => {
    if (!existsSync(fileURLToPath(new URL(`../../${PACKAGES}`, import.meta.url)))) {
      throw new Error(`${PACKAGES} is not there. Hint: run 'make e2e-packages'`);
    }
    parent = await Machine.start({ memoryMib: 1024, files: [PACKAGES, 'tests/e2e/guest'] });
    const packages = `${PROJECT}/${PACKAGES}/amazon-linux-1.rpm ${PROJECT}/${PACKAGES}/${NAME}-[0-9]*-1.x86_64.rpm`;
    await parent.check(`rpm --install --nodigest --nofiledigest ${packages}`);
    // It stays as it is when it could not start or hangs, until it is looked at.
    const dropIns = `/run/systemd/system/${NAME}.service.d`;
    await parent.check(
      `mkdir -p ${dropIns} && printf '[Service]\\nRestartSec=1h\\nWatchdogSec=0\\n' >${dropIns}/calm.conf`,
    );
    await parent.check(`sed -i 's/connections: .*/connections: 4/' ${ALLOWLIST} && cp ${ALLOWLIST} /root/good.yaml`);
    await parent.check(`systemctl daemon-reload && sh ${GUEST}/certificates.sh /var/lib/e2e ${KMS}`);
  });

  after(() => parent?.[Symbol.asyncDispose]());

  test('an instance without enclaves, with a silent metadata service', async (t) => {
    await parent.check(`printf '#!/bin/sh\\necho "[]"\\n' >/root/nitro-cli && chmod +x /root/nitro-cli`);
    await parent.check(`systemctl enable --now --no-block ${NAME}`);
    await parent.check(`until [ "$(systemctl show -P SubState ${NAME})" = start-pre ]; do sleep 0.1; done`);
    const findings = await doctor(t, '--nitro-cli /root/nitro-cli');
    assert.deepEqual(namesOf(findings, 'fail'), ['nitro-driver', 'service', 'metadata']);
    assert.match(foundBy(findings, 'nitro-driver'), /^the module nitro_enclaves is not loaded/);
    assert.match(foundBy(findings, 'service'), /^the service is activating \(start-pre/);
    assert.match(foundBy(findings, 'metadata'), /169\.254\.169\.254/);
    assert.equal(foundBy(findings, 'enclaves'), 'no enclave runs');
    const { status, stderr } = await parent.run('vsock-proxy status');
    assert.equal(status, 1);
    assert.match(stderr, /control\.sock: there is no control socket: no proxy runs/);
  });

  test('no fault: the doctor finds no failure, and probe reaches the server like an enclave', async (t) => {
    await parent.check('touch /dev/nitro_enclaves');
    await restartWith(KMS);
    await using _server = await start(
      `python3 ${GUEST}/tls_server.py ${SERVER.replace(':', ' ')} /var/lib/e2e/server.pem`,
    );
    const findings = await doctor(t, '--network');
    assert.deepEqual(namesOf(findings, 'fail'), []);
    assert.match(
      foundBy(findings, 'port'),
      /^vsock port 8000 is held by vsock-proxy \(process \d+, \S+proxy\.service\)$/,
    );
    assert.match(foundBy(findings, 'endpoint'), /^kms\.us-east-1\.amazonaws\.com:443: allowed: /);
    assert.match(foundBy(findings, 'servers'), /^kms\S+:443 \(10\.77\.0\.1\): connected in \d+ ms, TLSv1\.3 in \d+ ms/);
    const probe = await parent.check(`vsock-proxy probe vsock:3:8000; vsock-proxy probe vsock:3:8000 --tls ${KMS}`);
    t.diagnostic(probe);
    assert.match(probe, /^ok {2}vsock:3:8000: connected in \d+ ms\n/);
    assert.match(
      probe,
      /\n\w+ {2}vsock:3:8000: connected in \d+ ms, TLSv1\.3 in \d+ ms, certificate by test authority/,
    );
  });

  test('the limit is reached: doctor, status, connections and metrics show it, and the journal by CID', async (t) => {
    await using scenario = await parent.spawn(`python3 ${GUEST}/scenarios.py fifth_waits 8000 443`);
    await scenario.stdout.match(/the fifth waits\n/, SOON_MS);

    const findings = await doctor(t);
    assert.deepEqual(namesOf(findings, 'fail'), ['limits']);
    assert.match(
      foundBy(findings, 'limits'),
      /^vsock:3:8000: 4 of 4 places are taken, and a client has waited for [\d.]+ s$/,
    );

    const status = await parent.check('vsock-proxy status');
    t.diagnostic(status);
    assert.match(status, /^vsock:3:8000 +kms\.us-east-1\.amazonaws\.com:443 +4 +4 +\d+ /m);
    assert.match(status, /^vsock:3:8000 → kms\S+:443: 10\.77\.0\.1:443/m);
    assert.match(status, /^vsock:1 +4 /m);

    const connections = await parent.check('vsock-proxy connections --cid 1; vsock-proxy connections --cid 16 --json');
    t.diagnostic(connections);
    assert.equal(
      [...connections.matchAll(/^1:\d+ +vsock:3:8000 +relaying +kms\S+:443 +10\.77\.0\.1:443 /gm)].length,
      4,
      connections,
    );
    assert.match(connections, /\[\]\n$/);

    const file = '/run/vsock_proxy.prom';
    const metrics = await parent.check(`vsock-proxy metrics && vsock-proxy metrics write ${file} && cat ${file}`);
    const open = /^vsock_proxy_connections_open\{listener="vsock:3:8000"\} 4$/gm;
    assert.equal(metrics.match(open)?.length, 2, 'as printed, and as written');
    assert.match(metrics, /^vsock_proxy_client_connections_open\{client="vsock:1"\} 4$/m);
    assert.match(metrics, /^vsock_proxy_limit_waiting_seconds\{listener="vsock:3:8000"\} [\d.]+$/m);
    const scraped = await parent.check(
      `curl --silent --unix-socket ${METRICS} http://x/metrics; stat --format %a ${METRICS}`,
    );
    assert.match(scraped, open);
    assert.match(scraped, /^660$/m);

    const journal = await parent.check('journalctl --sync; journalctl VSOCK_CID=1 VSOCK_EVENT=accepted --output json');
    const [line = ''] = journal.split('\n');
    assert.partialDeepStrictEqual(JSON.parse(line), {
      VSOCK_LISTENER: 'vsock:3:8000',
      _SYSTEMD_UNIT: `${NAME}.service`,
    });
    assert.match(JSON.parse(line).MESSAGE, /^Accepted connection on cid: 1 port: \d+$/);

    scenario.stdin.end('go on\n');
    const { status: ended, stderr } = await scenario.outcome(SOON_MS);
    assert.equal(ended, 0, stderr);
  });

  test('a server that accepts connections and never answers', async (t) => {
    await using _server = await start(`socat -u TCP-LISTEN:443,bind=10.77.0.1,reuseaddr,fork OPEN:/dev/null`);
    const findings = await doctor(t, '--network');
    assert.deepEqual(namesOf(findings, 'fail'), ['servers']);
    assert.match(foundBy(findings, 'servers'), /^kms\S+:443 \(10\.77\.0\.1\): connected in \d+ ms, and no TLS: /);
    const probe = await parent.run(`vsock-proxy probe vsock:3:8000 --tls ${KMS} --timeout 2`);
    t.diagnostic(probe.stdout);
    assert.equal(probe.status, 1);
    assert.match(probe.stdout, /^fail {2}vsock:3:8000: connected in \d+ ms, and no TLS: /);
  });

  test('the process hangs', async (t) => {
    const signal = (name: string) => parent.check(`systemctl kill --signal ${name} ${NAME}`);
    await signal('STOP');
    try {
      const findings = await doctor(t);
      assert.deepEqual(namesOf(findings, 'fail'), ['limits', 'dns']);
      assert.match(foundBy(findings, 'limits'), /control\.sock: no answer within 5 s$/);
    } finally {
      await signal('CONT');
    }
  });

  test('no name server answers', async (t) => {
    await restartWith(UNKNOWN_KMS);
    const findings = await doctor(t, '--network');
    assert.deepEqual(namesOf(findings, 'fail'), ['dns', 'names']);
    assert.match(foundBy(findings, 'dns'), /^vsock:3:8000: clients are refused: .*kms\.eu-west-1\.amazonaws\.com/);
    const ready = await parent.check(`curl --silent --unix-socket ${METRICS} http://x/readyz`);
    assert.partialDeepStrictEqual(JSON.parse(ready), { status: 'not ready', reasons: [{ listener: 'vsock:3:8000' }] });
  });

  test('a wrong file', async (t) => {
    await parent.check(`echo 'denylist: [' >>${ALLOWLIST}`);
    try {
      await assert.rejects(restartWith(KMS));
      const findings = await doctor(t);
      assert.deepEqual(namesOf(findings, 'fail'), ['service', 'config']);
      assert.match(foundBy(findings, 'service'), /^the service is activating \(auto-restart, last result: exit-code\)/);
      assert.match(foundBy(findings, 'config'), /\(\/etc\/nitro_enclaves\/vsock-proxy\.yaml:\d+\)$/);
    } finally {
      await parent.check(`cp /root/good.yaml ${ALLOWLIST}`);
    }
  });

  test('another program has the port', async (t) => {
    await parent.check('systemd-run --unit other socat VSOCK-LISTEN:8000,fork PIPE');
    try {
      await assert.rejects(restartWith(KMS));
      const findings = await doctor(t);
      assert.deepEqual(namesOf(findings, 'fail'), ['port', 'service']);
      assert.match(
        foundBy(findings, 'port'),
        /^vsock port 8000 is held by socat \(process \d+, other\.service\), and the service cannot have it$/,
      );
    } finally {
      await parent.check('systemctl stop other');
    }
  });
});

interface Finding {
  readonly status: string;
  readonly name: string;
  readonly found: string;
}

/** What it prints for people, whose failures and warnings are shown; its status is 1 where anything fails. */
async function doctor(t: TestContext, options = ''): Promise<readonly Finding[]> {
  const { status, stdout, stderr } = await parent.run(`vsock-proxy doctor ${options}`);
  assert.equal(stderr, '');
  const lines = [...stdout.matchAll(/^(ok|warn|fail|skip) +(\S+) +(.*)$/gm)];
  t.diagnostic(stdout);
  const findings = lines.map(([, kind = '', name = '', found = '']) => ({ status: kind, name, found }));
  assert.equal(status, namesOf(findings, 'fail').length > 0 ? 1 : 0, stdout);
  return findings;
}

function namesOf(findings: readonly Finding[], status: string): readonly string[] {
  return findings.filter((each) => each.status === status).map(({ name }) => name);
}

function foundBy(findings: readonly Finding[], name: string): string {
  return findings.find((each) => each.name === name)?.found ?? `no check ${name}`;
}

/** Restarts the service for this server. @throws Error if it does not start */
async function restartWith(endpoint: string): Promise<void> {
  const settings = ['RUST_LOG=info', 'VSOCK_PROXY_LOG_FORMAT=journald', `VSOCK_PROXY_KMS_ENDPOINT=${endpoint}`];
  await parent.check(`printf '%s\\n' ${settings.join(' ')} >${SYSCONFIG}`);
  await parent.check(`systemctl restart ${NAME}`);
}

/** Starts a server, which says so when it listens; else it does when it can be connected to. */
async function start(command: string): Promise<RemoteProgram> {
  const server = await parent.spawn(command);
  const [ip, port] = SERVER.split(':');
  await parent.check(`until (: </dev/tcp/${ip}/${port}) 2>&-; do sleep 0.1; done`);
  return server;
}

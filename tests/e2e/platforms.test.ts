/**
 * A short story of the package on each kind of machine: installed, served through, reloaded, killed, drained, upgraded and
 * removed, and nothing denied where SELinux is in force. What it ran on, and that it ran, goes to build/platforms/, from
 * which `make platform-docs` writes docs/platforms.md.
 *
 * Without a platform it runs on the one that stands for Amazon Linux 2027.
 *
 * Platforms: all
 */
import assert from 'node:assert/strict';
import { mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { type Machine, type RemoteProgram, ROOT } from './machine.ts';
import { platformOf } from './platforms.ts';
import {
  ALLOWLIST,
  ANSWER,
  COMMAND,
  EXECUTABLE,
  GUEST,
  INSTALL_MS,
  KMS,
  NAME,
  Service,
  SOON_MS,
  succeeded,
  UNIT,
} from './service.ts';

const PLATFORM = process.env.E2E_PLATFORM ?? 'sid-selinux';
const { selinux = false } = platformOf(PLATFORM);
/** What the policy of the system knows nothing of, and what our part of the package adds. */
const DOMAIN = 'vsock_proxy_t';
const NAMESPACE_MODE = '/proc/sys/net/vsock/child_ns_mode';

let service: Service;
let parent: Machine;
let facts: Readonly<Record<string, string>>;

describe(`the package on ${PLATFORM}`, () => {
  let passed = 0;
  const step = (name: string, run: () => Promise<void>) =>
    test(name, async () => {
      await run();
      passed += 1;
    });
  let steps = 0;

  before(async () => {
    service = await Service.start({ platform: PLATFORM });
    parent = service.machine;
    facts = await lookAround();
  });
  after(async () => {
    if (steps === passed) record();
    await parent?.[Symbol.asyncDispose]();
  });
  const story: readonly (readonly [string, () => Promise<void>])[] = [
    ['install: nothing is said, nothing starts, and every file is as the package has it', install],
    ['service: it is active under all restrictions, and systemd finds no fault in the unit', start],
    ...(selinux ? ([['SELinux: with our policy, the service runs in a domain of its own', confine]] as const) : []),
    ...(selinux
      ? ([
          ['SELinux: a target on another port waits for a boolean, and a TCP listener for another one', openPorts],
        ] as const)
      : []),
    ['TLS: an enclave reaches KMS at CID 3, port 8000', askKms],
    ['data: 16 MB go each way at once, unchanged', () => service.play('both_directions_at_once').then(() => undefined)],
    ['reload: a wrong file fails and changes nothing; a good one is in force when systemctl returns', reload],
    ['kill -9: it is back by itself', kill],
    ['drain: a transfer outlives the restart', drain],
    ['enclave: a program that knows nothing of vsock reaches KMS, and so does one through the forwarder', enclave],
    ['look: status, metrics and doctor tell of it', look],
    [
      'namespaces: where vsock of new ones is their own, the service goes on, and a proxy in one says what is wrong',
      namespaces,
    ],
    ['upgrade: the service runs, and an edited allowlist stays', upgrade],
    ...(selinux ? ([['SELinux: without our policy again, the service runs on', unconfine]] as const) : []),
    ['remove: nothing is left', remove],
    ...(selinux ? ([['SELinux: nothing else was denied', nothingDenied]] as const) : []),
  ];
  for (const [name, run] of story) {
    steps += 1;
    step(name, run);
  }

  function record(): void {
    const directory = join(ROOT, 'build/platforms');
    mkdirSync(directory, { recursive: true });
    writeFileSync(
      join(directory, `${PLATFORM}.json`),
      `${JSON.stringify({ platform: PLATFORM, ...facts, steps }, null, 2)}\n`,
    );
  }
});

/** The versions of what the package depends on. */
async function lookAround(): Promise<Readonly<Record<string, string>>> {
  const ask = async (command: string) => (await parent.check(command)).trim();
  return {
    machine: await ask('uname -m'),
    kernel: await ask('uname -r'),
    pageSize: await ask('getconf PAGE_SIZE'),
    debian: await ask('. /etc/os-release; echo "$PRETTY_NAME"'),
    systemd: await ask("systemctl --version | sed -n '1s/^systemd \\([^ ]*\\).*/\\1/p'"),
    glibc: await ask("ldd --version | sed -n '1s/.* //p'"),
    rpm: await ask("rpm --version | sed 's/.* //'"),
    dnf: await ask(
      "dnf5 --version 2>/dev/null | sed -n '1s/.* //p' || true; dnf --version 2>/dev/null | sed -n 1p || true",
    ),
    selinux: await ask('if selinuxenabled 2>/dev/null; then getenforce; else echo off; fi'),
  };
}

/** The domain that a process runs in. */
async function domainOf(pid: number): Promise<string> {
  return (await parent.check(`cat /proc/${pid}/attr/current`)).replace('\0', '').split(':')[2] ?? '';
}

/** No file of the package has another label than the policy has for it. */
async function isLabelled(): Promise<void> {
  if (!selinux) return;
  const files = `$(rpm --query --list ${NAME}) ${COMMAND} ${ALLOWLIST} /run/${NAME} /run/private/${NAME}/*`;
  // All at once: each start of matchpathcon reads all the labels of the policy.
  const lines = (await parent.check(`ls -d ${files} 2>&- | xargs matchpathcon -V || true`)).trimEnd().split('\n');
  assert.deepEqual(
    lines.filter((line) => !/ verified\.$|<<none>>$/.test(line)),
    [],
  );
  assert(lines.includes(`${EXECUTABLE} verified.`), lines.join('\n'));
}

/** What the stand-ins for Amazon Linux lead dnf, rpm and semodule to say. */
const OF_STAND_INS = /^.*(skipped OpenPGP checks|shutdown inhibition lock).*$/gm;

/** No scriptlet says anything: dnf 5 prints what one does under its name, and dnf 4 as it is. */
async function silently(command: string): Promise<void> {
  const { status, stdout, stderr } = await parent.run(command, INSTALL_MS);
  const said = `${stdout}${stderr}`;
  assert.equal(status, 0, said);
  // The name of a scriptlet alone is nothing.
  const rest = said.replace(OF_STAND_INS, '').replace(/^>>> (Running|Finished|\[RPM\] *$|$).*$/gm, '');
  assert.doesNotMatch(rest, />>>|denied|warning|fail|error/i);
}

async function install(): Promise<void> {
  await silently(`${service.dnfCommand} install ${service.ours(1)}`);
  assert.deepEqual(await service.state(), { enabled: 'disabled', active: 'inactive', unit: UNIT });
  assert.equal(await parent.check(`rpm --verify ${NAME}`), '');
  assert.equal(await parent.check(`readlink ${COMMAND}`), `${EXECUTABLE}\n`);
  await isLabelled();
}

async function start(): Promise<void> {
  await using _metadata = await service.startMetadata();
  await parent.check(`systemctl enable --now ${NAME}`);
  assert.equal((await service.state()).active, 'active');
  await service.isConfined();
  await service.exposure();
  await service.verifyUnit();
  await isLabelled();
  const limits = await parent.check(`cat /proc/${await service.mainPid()}/limits`);
  assert.match(limits, /^Max open files +131072 +131072 /m);
}

async function confine(): Promise<void> {
  assert.notEqual(await domainOf(await service.mainPid()), DOMAIN);
  await askKms();
  await using _metadata = await service.startMetadata();
  await silently(`${service.dnfCommand} install ${service.ours(1, '-selinux')}`);
  assert.equal((await service.state()).active, 'active');
  assert.equal(await domainOf(await service.mainPid()), DOMAIN);
  const limits = await parent.check(`cat /proc/${await service.mainPid()}/limits`);
  assert.match(limits, /^Max open files +131072 +131072 /m);
  await isLabelled();
}

async function askKms(): Promise<void> {
  await using _server = await service.kms();
  assert.equal(await service.askKms(), ANSWER);
}

async function reload(): Promise<void> {
  const before = await service.mainPid();
  const log = await service.follow();
  await parent.check(`cp ${ALLOWLIST} /var/lib/e2e/good.yaml && echo 'limit: {}' >>${ALLOWLIST}`);
  assert.notEqual((await parent.run(`systemctl reload ${NAME}`)).status, 0);
  await log.match(/vsock-proxy\.yaml:\d+.*limit/, SOON_MS);
  assert.equal((await service.state()).active, 'active');
  await service.play('client_ends_first');
  await parent.check(
    `cp /var/lib/e2e/good.yaml ${ALLOWLIST} && sed -i 's/connections: .*/connections: 4/' ${ALLOWLIST}`,
  );
  await parent.check(`systemctl reload ${NAME}`);
  const shows = "vsock-proxy status | grep -qE '^vsock:3:8000 .* 4 '";
  if (Number.parseInt(facts.systemd ?? '', 10) >= 253) {
    await parent.check(shows);
    assert.equal(await parent.check(`systemctl show -P Type ${NAME}`), 'notify-reload\n');
  } else {
    await parent.check(`until ${shows}; do sleep 0.1; done`);
    assert.equal(await parent.check(`systemctl show -P Type ${NAME}`), 'notify\n');
  }
  await using scenario = await parent.spawn(`python3 ${GUEST}/scenarios.py fifth_waits 8000 443`);
  await log.match(/Limit of 4 simultaneous connections .*reached: a client waits/, SOON_MS);
  scenario.stdin.end('go on\n');
  await succeeded(scenario);
  assert.equal(await service.mainPid(), before);
  await isLabelled();
}

async function kill(): Promise<void> {
  await using _metadata = await service.startMetadata();
  const killed = await service.mainPid();
  await parent.check(`kill -KILL ${killed}`);
  await parent.check(`until [ "$(systemctl show -P NRestarts ${NAME})" -gt 0 ]; do sleep 0.1; done`);
  await service.becomesActive();
  assert.notEqual(await service.mainPid(), killed);
  await service.play('client_ends_first');
}

async function drain(): Promise<void> {
  await using _metadata = await service.startMetadata();
  await using scenario = await parent.spawn(`python3 ${GUEST}/scenarios.py transfer_survives_drain 8000 443`);
  await scenario.stdout.match(/the transfer runs\n/, SOON_MS);
  await using restart = await parent.spawn(`systemctl restart ${NAME}`);
  await parent.check(`until systemctl show -P StatusText ${NAME} | grep -q Stopping; do sleep 0.1; done`);
  scenario.stdin.end('go on\n');
  await succeeded(scenario);
  await succeeded(restart);
  await service.play('client_ends_first');
}

async function enclave(): Promise<void> {
  await using _server = await service.kms();
  const curl = 'curl --silent --show-error --fail --max-time 100 --cacert /var/lib/e2e/ca.pem';
  const listener = `{listen: "127.0.0.1:443", connect: "vsock:3:8000", names: [${KMS}]}`;
  await parent.check(`printf 'forward:\n- ${listener}\n' >/var/lib/e2e/enclave.yaml`);
  const entry = `${EXECUTABLE} enclave --config /var/lib/e2e/enclave.yaml -- ${curl} https://${KMS}/`;
  const outcome = await parent.run(`sh ${GUEST}/enclave.sh entry ${entry}`);
  assert.deepEqual([outcome.status, outcome.stdout], [0, `hello from ${KMS}\n`], outcome.stderr);

  await using forwarder = await parent.spawn(
    `env RUST_LOG=info sh ${GUEST}/enclave.sh forward ${EXECUTABLE} forward 127.0.0.1:443 3 8000`,
  );
  await forwarder.stderr.match(/Proxy is now in listening state/, SOON_MS);
  const inside = 'nsenter --net --target $(pgrep --newest --full "[f]orward 127.0.0.1:443 3 8000")';
  const through = `${curl} --resolve ${KMS}:443:127.0.0.1 https://${KMS}/`;
  assert.equal(await parent.check(`${inside} sh -c 'ip link set lo up; ${through}'`), `hello from ${KMS}\n`);
}

async function look(): Promise<void> {
  // There is no device of Nitro Enclaves here, and an emulated machine has not always an answer in three seconds.
  const skipped = '--skip nitro-driver --skip allocator --skip metadata';
  const [status, metrics, doctor] = await Promise.all([
    parent.check('vsock-proxy status'),
    parent.check('vsock-proxy metrics'),
    parent.run(`vsock-proxy doctor ${skipped}`),
    parent.check('vsock-proxy connections'),
  ]);
  assert.match(status, new RegExp(`^vsock:3:8000 +${KMS}:443 `, 'm'));
  assert.match(metrics, /^vsock_proxy_build_info\{/m);
  assert.equal(doctor.status, 0, doctor.stdout + doctor.stderr);
  assert.match(doctor.stdout, /^ok +service /m);
}

async function namespaces(): Promise<void> {
  if ((await parent.run(`[ -e ${NAMESPACE_MODE} ]`)).status !== 0) {
    assert(Number.parseInt(facts.kernel ?? '', 10) < 7, `${facts.kernel} has no ${NAMESPACE_MODE}`);
    return;
  }
  await using _metadata = await service.startMetadata();
  await parent.check(`echo local >${NAMESPACE_MODE} && systemctl restart ${NAME}`);
  await service.play('client_ends_first');
  const proxy = `unshare --net sh -c 'ip link set lo up; exec env RUST_LOG=info ${EXECUTABLE} 8000 ${KMS} 443'`;
  await using own = await parent.spawn(proxy);
  await own.stderr.match(/WARN .*No enclave can reach .*net\.vsock\.ns_mode is local/, SOON_MS);
  const doctor = 'vsock-proxy doctor --skip metadata';
  const [inside, outside] = await Promise.all([parent.run(`unshare --net ${doctor}`), parent.run(doctor)]);
  assert.match(inside.stdout, /^fail +vsock-namespace /m);
  assert.match(outside.stdout, /^ok +vsock-namespace +vsock of this network namespace is global/m);
}

async function upgrade(): Promise<void> {
  await using _metadata = await service.startMetadata();
  const parts = `${service.ours(2)}${selinux ? ` ${service.ours(2, '-selinux')}` : ''}`;
  await silently(`${service.dnfCommand} upgrade ${parts}`);
  assert.match(await parent.check(`rpm --query ${NAME}`), /-2\./);
  assert.equal((await service.state()).active, 'active');
  assert.match(await parent.check(`cat ${ALLOWLIST}`), /connections: 4/);
  if (selinux) assert.equal(await domainOf(await service.mainPid()), DOMAIN);
  await isLabelled();
  await service.play('client_ends_first');
}

async function unconfine(): Promise<void> {
  await using _metadata = await service.startMetadata();
  await silently(`${service.dnfCommand} remove ${NAME}-selinux`);
  assert.equal((await service.state()).active, 'active');
  assert.notEqual(await domainOf(await service.mainPid()), DOMAIN);
  assert.doesNotMatch(await parent.check('semodule --list'), /vsock_proxy/);
  await isLabelled();
  await service.play('client_ends_first');
}

async function remove(): Promise<void> {
  await parent.check(`cp /usr/share/${NAME}/vsock-proxy.yaml ${ALLOWLIST}`);
  await silently(`${service.dnfCommand} remove ${NAME}`);
  assert.equal(await parent.check(`systemctl show -P LoadState ${NAME}`), 'not-found\n');
  assert.equal(
    await parent.check(
      `find /etc /usr /run -xdev -path '*nitro*enclaves*' ! -path '/run/e2e/*' ! -path '/usr/lib/modules/*'`,
    ),
    '',
  );
  await parent.check(`[ ! -e ${COMMAND} ] && [ ! -L ${COMMAND} ]`);
}

/** Ports other than those of HTTP and DNS need the boolean. */
async function openPorts(): Promise<void> {
  await using _metadata = await service.startMetadata();
  const dropIn = `/etc/systemd/system/${NAME}.service.d/serve.conf`;
  await parent.check(`install -D -m 644 ${GUEST}/serve.conf ${dropIn} && cat ${GUEST}/listeners.yaml >>${ALLOWLIST}`);
  await parent.check(`restorecon -RF /etc/systemd/system && systemctl daemon-reload && systemctl restart ${NAME}`);
  const log = await service.follow();
  const scenario = `python3 ${GUEST}/scenarios.py client_ends_first 8001 9000`;
  await using refused = await parent.spawn(scenario);
  await log.match(/WARN .*could not connect to .*:9000 .*EACCES/, SOON_MS);
  await refused[Symbol.asyncDispose]();
  assert.deepEqual((await denials()).map(actionOf), ['name_connect']);
  await parent.check(`setsebool vsock_proxy_connect_any on && ${scenario} && setsebool vsock_proxy_connect_any off`);
  await listenOnTcp(log);
  await parent.check(
    `rm -r /etc/systemd/system/${NAME}.service.d && cp /usr/share/${NAME}/vsock-proxy.yaml ${ALLOWLIST}`,
  );
  await parent.check(`systemctl daemon-reload && systemctl restart ${NAME}`);
}

/** Where the boolean is off, a reload that wants a TCP listener changes nothing, and the log says which boolean allows it. */
async function listenOnTcp(log: RemoteProgram['stdout']): Promise<void> {
  await parent.check(`echo '  - {listen: "tcp:127.0.0.1:18443", connect: "${KMS}:443"}' >>${ALLOWLIST}`);
  await parent.check(`systemctl reload ${NAME}`); // the file is right, and systemd asks for no more
  await log.match(/18443.*EACCES.*vsock_proxy_listen_any/, SOON_MS);
  assert.deepEqual((await denials()).map(actionOf), ['name_connect', 'name_bind']);
  await using _server = await service.kms();
  await parent.check(`setsebool vsock_proxy_listen_any on && systemctl reload ${NAME}`);
  const curl = 'curl --silent --show-error --fail --retry 20 --retry-connrefused --cacert /var/lib/e2e/ca.pem';
  const answer = await parent.check(`${curl} --connect-to ${KMS}:443:127.0.0.1:18443 https://${KMS}/`);
  assert.equal(answer, `hello from ${KMS}\n`);
  await parent.check('setsebool vsock_proxy_listen_any off');
}

/** What was denied, of a line of {@link denials}. */
function actionOf(denial: string): string | undefined {
  return /denied {2}\{ (\w+) \}/.exec(denial)?.[1];
}

/** What SELinux has denied to the service, or to anybody with its files or units: by the kernel, and by systemd itself. */
async function denials(): Promise<readonly string[]> {
  const denied = await parent.check(
    'journalctl --sync; journalctl --output cat _TRANSPORT=kernel --grep denied || true',
  );
  return denied.split('\n').filter((line) => /context=[^ ]*:vsock_proxy_|nitro-enclaves/.test(line));
}

async function nothingDenied(): Promise<void> {
  const denied = await denials();
  assert.equal(denied.length, 2, denied.join('\n')); // what was to be denied
}

/**
 * The package and its service on a parent: installed by dnf, beside and without AWS's package, run by the real systemd with
 * all of its restrictions, and used by clients at CID 3.
 *
 * One machine serves all tests, since each installation takes seconds under emulation: they tell one story, in order.
 *
 * Platforms: bookworm linux-5.10 trixie sid
 */
import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import type { Machine } from './machine.ts';
import {
  ALLOWLIST,
  ANSWER,
  COMMAND,
  DEFAULT_LIST,
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

const AWS_UNIT = `/usr/lib/systemd/system/${NAME}.service`;
const SYSCONFIG = `/etc/sysconfig/${NAME}`;

let service: Service;
let parent: Machine;

describe('the service', () => {
  before(async () => {
    service = await Service.start({ reboots: true });
    parent = service.machine;
  });

  after(() => parent?.[Symbol.asyncDispose]());

  test('install: dnf needs nothing but the package, and starts nothing', async () => {
    await service.dnf(`install ${service.ours(1)}`);
    assert.deepEqual(await service.state(), { enabled: 'disabled', active: 'inactive', unit: UNIT });
    assert.equal(await parent.check(`readlink ${COMMAND}`), `${EXECUTABLE}\n`);
    await parent.check(`cmp ${ALLOWLIST} ${DEFAULT_LIST}`);
    await parent.check(`rpm --verify ${NAME}`);
  });

  test('no metadata: it is not up, logs the reason, and tries until the metadata is there', async () => {
    const log = await service.follow();
    await parent.check(`systemctl enable --now --no-block ${NAME}`);
    await log.match(/WARN .*169\.254\.169\.254/, SOON_MS);
    assert.equal((await service.state()).active, 'activating');
    assert.match(await service.status(), /Active: activating \(start-pre\)/);
    await using _metadata = await service.startMetadata();
    await service.becomesActive();
  });

  test('enable: an enclave reaches KMS of the region at CID 3, port 8000', async () => {
    await using _server = await service.kms();
    assert.equal(await service.askKms(), ANSWER);
  });

  test('process: the main process is the proxy, and the third argument of its command line is the endpoint', async () => {
    const words = (await parent.check(`cat /proc/${await service.mainPid()}/cmdline`)).split('\0');
    assert.deepEqual(words, [EXECUTABLE, '8000', KMS, '443', '--config', ALLOWLIST, '']);
    assert.equal(await parent.check(`cat /proc/${await service.mainPid()}/comm`), 'vsock-proxy\n');
    assert.equal(await parent.check('pgrep --exact vsock-proxy'), `${await service.mainPid()}\n`);
  });

  test('privileges: a user of its own without capabilities, no JIT, an exposure of at most 1.5', async (t) => {
    await service.isConfined();
    t.diagnostic(`systemd-analyze security: ${await service.exposure()}`);
  });

  test('unit: systemd finds no fault in it', async () => {
    await service.verifyUnit();
  });

  test('log: at warn, the journal has a server that refuses, and no success', async () => {
    const log = await service.follow();
    await service.play('refused_then_served');
    await log.match(/WARN .* could not connect to kms\.us-east-1\.amazonaws\.com:443 .*ECONNREFUSED/, SOON_MS);
    assert.doesNotMatch(await service.journal(), / (INFO|DEBUG|TRACE) /);
  });

  test('log: with RUST_LOG in the sysconfig file, the journal has each connection', async () => {
    await parent.check(`echo RUST_LOG=trace >>${SYSCONFIG}`);
    await using _metadata = await service.startMetadata();
    const log = await service.follow();
    await parent.check(`systemctl restart ${NAME}`);
    await service.play('client_ends_first');
    await log.match(/INFO .* Accepted connection on cid: 1 port: \d+/, SOON_MS);
    await log.match(/INFO .* Connected client from cid: 1 port: \d+ to 10\.77\.0\.1:443/, SOON_MS);
    await log.match(/INFO .* Client on cid: 1 port: \d+ disconnected/, SOON_MS);
    assert.match(await parent.check(`journalctl --identifier vsock-proxy --unit ${NAME}`), /Accepted connection/);
  });

  test('kill -9: systemd starts it again a second later', async (t) => {
    assert.equal(await parent.check(`systemctl show -P RestartUSec ${NAME}`), '1s\n');
    await using _metadata = await service.startMetadata();
    const killed = await service.mainPid();
    const restarts = `"$(systemctl show -P NRestarts ${NAME})"`;
    const before = (await parent.check(`echo ${restarts}`)).trimEnd();
    await parent.check(`kill -KILL ${killed}`);
    await parent.check(`until [ ${restarts} -gt ${before} ]; do sleep 0.1; done`);
    await service.becomesActive();
    assert.notEqual(await service.mainPid(), killed);
    const waited = (await service.microsOf('scheduled restart job')) - (await service.microsOf('Main process exited'));
    t.diagnostic(`${(waited / 1e6).toFixed(2)} s between its end and its new start`);
    await service.play('client_ends_first');
  });

  test('reload: a wrong file fails, the status says so, and the old rules stay', async () => {
    const log = await service.follow();
    await parent.check(`cp ${ALLOWLIST} /var/lib/e2e/good.yaml && echo 'limit: {}' >>${ALLOWLIST}`);
    const { status: code, stderr } = await parent.run(`systemctl reload ${NAME}`);
    assert.notEqual(code, 0);
    assert.match(stderr, /^Job for .* failed/);
    await log.match(/vsock-proxy\.yaml:\d+.*limit/, SOON_MS);
    assert.match(await service.status(), /Active: active \(running\)[\s\S]*ExecReload=.*status=1/);
    await service.play('client_ends_first');
    await parent.check(`cp /var/lib/e2e/good.yaml ${ALLOWLIST}`);
  });

  test('reload: a file that forbids KMS is refused, and the status says so', async () => {
    const log = await service.follow();
    await parent.check(`echo 'allowlist: [{address: example.com, port: 443}]' >${ALLOWLIST}`);
    await parent.check(`systemctl reload ${NAME}`);
    await log.match(/ERROR .*Reload failed, and everything goes on as before: .*not allowed/, SOON_MS);
    assert.match(await service.status(), /Status: "Reload failed.* not allowed.*; running with the configuration of /);
    await service.play('client_ends_first');
    await parent.check(`cp /var/lib/e2e/good.yaml ${ALLOWLIST}`);
  });

  test('reload: a good file is in force afterwards, in the same process', async () => {
    const before = await service.mainPid();
    const log = await service.follow();
    await parent.check(`sed -i 's/connections: .*/connections: 4/' ${ALLOWLIST} && systemctl reload ${NAME}`);
    await log.match(/INFO .* Reloaded: /, SOON_MS);
    await using scenario = await parent.spawn(`python3 ${GUEST}/scenarios.py fifth_waits 8000 443`);
    await log.match(/Limit of 4 simultaneous connections .*reached: a client waits/, SOON_MS);
    scenario.stdin.end('go on\n');
    await succeeded(scenario);
    assert.equal(await service.mainPid(), before);
    await parent.check(`cp /var/lib/e2e/good.yaml ${ALLOWLIST} && systemctl reload ${NAME}`);
  });

  test('hang: the watchdog, here with a shorter time, replaces a process that does not answer', async () => {
    assert.equal(await parent.check(`systemctl show -P WatchdogUSec ${NAME}`), '30s\n');
    const dropIns = `/run/systemd/system/${NAME}.service.d`;
    await parent.check(`mkdir -p ${dropIns} && printf '[Service]\\nWatchdogSec=10s\\n' >${dropIns}/hang.conf`);
    await using _metadata = await service.startMetadata();
    await parent.check(`systemctl daemon-reload && systemctl restart ${NAME}`);
    const log = await service.follow();
    const hung = await service.mainPid();
    await parent.check(`kill -STOP ${hung}`);
    await log.match(/Watchdog timeout \(limit 10s\)/, SOON_MS);
    await log.match(/Failed with result 'watchdog'/, SOON_MS);
    await service.becomesActive();
    assert.notEqual(await service.mainPid(), hung);
    await parent.check(`rm -r ${dropIns} && systemctl daemon-reload`);
  });

  test('serve: by a drop-in, the unit runs all listeners of the file', async () => {
    const dropIn = `/etc/systemd/system/${NAME}.service.d/serve.conf`;
    await parent.check(`install -D -m 644 ${GUEST}/serve.conf ${dropIn} && cat ${GUEST}/listeners.yaml >>${ALLOWLIST}`);
    await using _metadata = await service.startMetadata();
    await parent.check(`systemctl daemon-reload && systemctl restart ${NAME}`);
    assert.match(await service.status(), /Status: "Listening on 2 addresses; 0 connections"/);
    await service.play('client_ends_first');
    await parent.check(`python3 ${GUEST}/scenarios.py client_ends_first 8001 9000`);
    await parent.check(`rm -r /etc/systemd/system/${NAME}.service.d && systemctl daemon-reload`);
    await parent.check(`cp /var/lib/e2e/good.yaml ${ALLOWLIST}`);
  });

  test('upgrade: a transfer that ends within the drain is complete, and the next client reaches the new process', async () => {
    await using _metadata = await service.startMetadata();
    // As if the package had come with another list, without edits.
    await parent.check(`echo '# older' >>${DEFAULT_LIST} && cp ${DEFAULT_LIST} ${ALLOWLIST}`);
    const before = await service.mainPid();
    const log = await service.follow();
    await using scenario = await parent.spawn(`python3 ${GUEST}/scenarios.py transfer_survives_drain 8000 443`);
    await scenario.stdout.match(/the transfer runs\n/, SOON_MS);
    await using upgrade = await parent.spawn(`${service.dnfCommand} upgrade ${service.ours(2)}`);
    await log.match(/No new clients are accepted/, INSTALL_MS);
    scenario.stdin.end('go on\n');
    await succeeded(scenario);
    await succeeded(upgrade, INSTALL_MS);
    assert.deepEqual(await service.state(), { enabled: 'enabled', active: 'active', unit: UNIT });
    assert.notEqual(await service.mainPid(), before);
    await service.play('client_ends_first');
  });

  test('upgrade: an allowlist without edits is replaced by that of the package', async () => {
    await parent.check(`cmp ${ALLOWLIST} ${DEFAULT_LIST}`);
    assert.doesNotMatch(await parent.check(`cat ${ALLOWLIST}`), /older/);
    assert.equal(await parent.check(`stat --format %F ${ALLOWLIST}`), 'regular file\n');
  });

  test('downgrade: a transfer longer than the drain is visibly cut at both ends, and logged', async () => {
    await using _metadata = await service.startMetadata();
    const log = await service.follow();
    await parent.check(`echo 'timeouts: {drain: 1s}' >>${ALLOWLIST} && systemctl reload ${NAME}`);
    await log.match(/INFO .* Reloaded: /, SOON_MS);
    await using scenario = await parent.spawn(`python3 ${GUEST}/scenarios.py transfer_is_cut_by_drain 8000 443`);
    await scenario.stdout.match(/the transfer runs\n/, SOON_MS);
    await service.rpm(`--upgrade --oldpackage ${service.ours(1)}`);
    scenario.stdin.end('go on\n');
    await succeeded(scenario);
    await log.match(/WARN .* 1 connection/, SOON_MS);
  });

  test('downgrade: an edited allowlist is kept', async () => {
    assert.match(await parent.check(`tail -n 1 ${ALLOWLIST}`), /drain: 1s/);
  });

  test("AWS's package after ours: ours serves on, and the command is AWS's", async () => {
    const before = await service.mainPid();
    await parent.check(`echo '# edited' >>${ALLOWLIST}`);
    await service.rpm(`--install ${service.aws(1)}`);
    assert.deepEqual(await service.state(), { enabled: 'enabled', active: 'active', unit: UNIT });
    assert.match(await parent.check(`cat ${COMMAND}`), /the other vsock-proxy, release 1/);
    assert.match(await parent.check(`tail -n 1 ${ALLOWLIST}`), /edited/);
    await service.rpm(`--upgrade ${service.aws(2)}`);
    assert.equal(await service.mainPid(), before);
  });

  test("AWS's package removed: not one connection of ours is lost, and the command is ours", async () => {
    const before = await service.mainPid();
    await using scenario = await parent.spawn(`python3 ${GUEST}/scenarios.py transfer_survives_drain 8000 443`);
    await scenario.stdout.match(/the transfer runs\n/, SOON_MS);
    await service.rpm('--erase aws-nitro-enclaves-cli');
    scenario.stdin.end('go on\n');
    await succeeded(scenario);
    assert.deepEqual(await service.state(), { enabled: 'enabled', active: 'active', unit: UNIT });
    assert.equal(await service.mainPid(), before);
    assert.equal(await parent.check(`readlink ${COMMAND}`), `${EXECUTABLE}\n`);
    assert.match(await parent.check(`tail -n 1 ${ALLOWLIST}`), /edited/);
    await parent.check(`[ ! -e /run/systemd/system/${NAME}.service.d ]`);
  });

  test('reboot: it comes up by itself, also when the network comes later', async () => {
    await parent.reboot();
    assert.match(await service.status(), /Active: activating \(start-pre\)/);
    await using _metadata = await service.startMetadata();
    await service.becomesActive();
    await using _server = await service.kms();
    const answer = await parent.check(`python3 ${GUEST}/tls_client.py 3 8000 ${KMS} /var/lib/e2e/ca.pem`);
    assert.match(answer, /^TLSv1\.3, .*\n200 /);
  });

  test("ours removed where AWS's is: AWS's serves under the name, with its files untouched", async () => {
    await service.rpm(`--install ${service.aws(1)}`);
    await service.rpm(`--erase ${NAME}`);
    assert.deepEqual(await service.state(), { enabled: 'enabled', active: 'active', unit: AWS_UNIT });
    assert.match(await service.journal(), /the other vsock-proxy/);
    const { stdout } = await parent.run('rpm --verify aws-nitro-enclaves-cli');
    assert.match(stdout, /^\S+ {2}c \/etc\/nitro_enclaves\/vsock-proxy\.yaml\n$/); // edited, and nothing else is
    assert.match(await parent.check(`tail -n 1 ${ALLOWLIST}`), /edited/);
  });

  test("ours after AWS's, which runs: ours serves, by the allowlist that is there", async () => {
    await using _metadata = await service.startMetadata();
    await service.rpm(`--install ${service.ours(2)}`);
    await parent.check(`systemctl enable --now ${NAME}`);
    assert.deepEqual(await service.state(), { enabled: 'enabled', active: 'active', unit: UNIT });
    assert.match(await parent.check(`tail -n 1 ${ALLOWLIST}`), /edited/);
    assert.match(await parent.check(`cat ${COMMAND}`), /the other vsock-proxy, release 1/);
    await service.play('client_ends_first');
  });

  test('reinstall: ours serves again, and nothing else differs', async () => {
    await using _metadata = await service.startMetadata();
    await service.rpm(`--reinstall ${service.ours(2)}`);
    assert.deepEqual(await service.state(), { enabled: 'enabled', active: 'active', unit: UNIT });
    assert.match(await parent.check(`cat ${COMMAND}`), /the other vsock-proxy, release 1/);
    assert.match(await parent.check(`tail -n 1 ${ALLOWLIST}`), /edited/);
    await service.play('client_ends_first');
  });

  test('both removed at once: only the edited allowlist is left', async () => {
    await service.dnf(`remove ${NAME} aws-nitro-enclaves-cli`);
    assert.equal(await parent.check(`systemctl show -P LoadState ${NAME}`), 'not-found\n');
    // Kernels have a module of the name.
    const left = await parent.check(
      `find /etc /usr /run -xdev -path /usr/lib/modules -prune -o -path '*nitro*' -print | sort`,
    );
    assert.match(left, /^\/etc\/nitro_enclaves\n\/etc\/nitro_enclaves\/vsock-proxy\.yaml[\s\S]*$/);
    assert.doesNotMatch(left, /\/usr\/|\/run\//);
    await parent.check(`[ ! -e ${COMMAND} ] && [ ! -L ${COMMAND} ]`);
  });
});

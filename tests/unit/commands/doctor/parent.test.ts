import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseDoctorCommand } from '../../../../src/commands/doctor/doctor.ts';
import { VsockProxyError } from '../../../../src/platform/errors.ts';
import { diagnose, refused, type Situation, show, UNIT } from './fixture.ts';

const STOPPED = show({ ...UNIT, ActiveState: 'inactive', SubState: 'dead', StatusText: '', MainPID: '0' });

/** Each fault, and the one line that reports it. */
const FAULTS: readonly (readonly [what: string, situation: Situation, line: RegExp])[] = [
  ['no AF_VSOCK', { vsock: { errno: 'EAFNOSUPPORT' } }, /^fail vsock: .*module vsock.* → modprobe vsock$/],
  [
    'seccomp',
    { vsock: { errno: 'EPERM' }, files: { '/proc/self/status': 'Seccomp:\t2\n' } },
    /^fail vsock: .*EPERM.*seccomp filter.* → .*seccomp profile/,
  ],
  [
    'AppArmor',
    { vsock: { errno: 'EACCES' }, files: { '/proc/self/attr/current': 'docker-default (enforce)\n' } },
    /^fail vsock: .*AppArmor profile docker-default.* → add "network vsock,"/,
  ],
  [
    'SELinux',
    {
      vsock: { errno: 'EACCES' },
      files: { '/sys/fs/selinux/enforce': '1', '/proc/self/attr/current': 'system_u:system_r:container_t:s0\0' },
    },
    /^fail vsock: .*SELinux is enforcing.*container_t.* → ausearch /,
  ],
  [
    'credentials that are not there',
    { config: 'upstream_proxy: http://p.example:1\nupstream_proxy_credentials: /none\nallowlist: []\n' },
    /^fail config: upstream_proxy_credentials: \/none: could not be read: ENOENT \(.*:2\) → create it/,
  ],
  ['another CID', { vsock: { cid: 16 } }, /^fail cid: .*CID 16.* → .*Enabled=true/],
  [
    'a namespace of its own',
    { files: { '/proc/sys/net/vsock/ns_mode': 'local\n' } },
    /^fail vsock-namespace: .*local.* → .*hostNetwork/,
  ],
  [
    'vhost_vsock on an old kernel',
    { files: { '/sys/module/vhost_vsock': '' }, kernel: '5.11.0' },
    /^warn vhost: .*This proxy asks for it → rmmod vhost_vsock/,
  ],
  [
    'vhost_vsock on a kernel that cannot be asked to look elsewhere',
    { files: { '/sys/module/vhost_vsock': '' }, kernel: '5.10.0-32-cloud-amd64' },
    /^warn vhost: .*: no program finds an enclave by its CID → rmmod vhost_vsock/,
  ],
  [
    'vhost_vsock without fallback',
    { files: { '/sys/module/vhost_vsock': '', '/proc/sys/net/vsock/g2h_fallback': '0\n' } },
    /^warn vhost: .* → sysctl -w net\.vsock\.g2h_fallback=1$/,
  ],
  [
    'the port is taken',
    { holders: { 500: { pid: 5, command: 'socat', unit: 'other.service' } } },
    /^fail port: vsock port 8000 is held by socat \(process 5, other\.service\).* → systemctl disable --now other\.service$/,
  ],
  [
    'the port is taken while the service is stopped, and no server is known',
    {
      programs: { systemctl: STOPPED },
      config: 'nonsense: 1\n',
      holders: { 500: { pid: 5, command: 'socat' } },
    },
    /^fail port: vsock port 8000 is held by socat \(process 5\).* → kill 5$/,
  ],
  [
    'a service that does not listen',
    { listeners: [] },
    /^fail port: the service runs, and nobody listens on vsock port 8000/,
  ],
  [
    'port 9000 is taken',
    { listeners: [{ cid: 3, port: 9000, inode: 7 }], holders: { 7: { pid: 8, command: 'python3' } } },
    /^fail port-9000: .*python3.* → kill 8$/,
  ],
  [
    'an old kernel',
    { kernel: '6.1.0-28-cloud-amd64' },
    /^warn kernel: Linux 6\.1\.0-28-cloud-amd64 may have CVE-2026-46214/,
  ],
  ['no driver', { files: { '/dev/nitro_enclaves': undefined } }, /^fail nitro-driver: .*launched without enclaves/],
  [
    'too little memory',
    { files: { '/sys/kernel/mm/hugepages/hugepages-2048kB/nr_hugepages': '100\n' } },
    /^fail allocator: .*wants 1024 MiB.* 200 MiB of huge pages .* → systemctl enable --now nitro-enclaves-allocator/,
  ],
  [
    'no CPUs',
    { files: { '/sys/module/nitro_enclaves/parameters/ne_cpus': '\n' } },
    /^fail allocator: .*none is set aside/,
  ],
  [
    'half an allocator file',
    { files: { '/etc/nitro_enclaves/allocator.yaml': 'memory_mib: 5\n' } },
    /^fail allocator: .*neither cpu_count nor cpu_pool/,
  ],
  ['no enclaves', { programs: { 'nitro-cli': { stdout: '[]' } } }, /^warn enclaves: no enclave runs/],
  [
    'a describe that fails',
    { programs: { 'nitro-cli': { status: 1, stderr: '[ E39 ] Enclave process connection failure' } } },
    /^fail enclaves: .*status 1.*E39/,
  ],
  [
    'another unit in force',
    {
      programs: {
        systemctl: show({ ...UNIT, FragmentPath: '/etc/systemd/system/nitro-enclaves-vsock-proxy.service' }),
      },
    },
    /^warn unit: \/etc\/systemd\/system\/.* goes before that of the package/,
  ],
  [
    'a service that cannot start',
    {
      programs: {
        systemctl: show({ ...UNIT, ActiveState: 'activating', SubState: 'auto-restart', Result: 'exit-code' }),
      },
    },
    /^fail service: .*activating \(auto-restart, last result: exit-code\).* → journalctl /,
  ],
  [
    'a reload that failed',
    { programs: { systemctl: show({ ...UNIT, StatusText: 'Reload failed at x:3: y' }) } },
    /^fail service: .*Reload failed at x:3: y/,
  ],
  [
    'a service that is not enabled',
    { programs: { systemctl: show({ ...UNIT, UnitFileState: 'disabled' }) } },
    /^warn service: .* → systemctl enable /,
  ],
  [
    'a service that is stopped',
    { programs: { systemctl: STOPPED } },
    /^warn service: .*inactive.* → systemctl enable --now /,
  ],
  [
    'too few descriptors',
    { programs: { systemctl: show({ ...UNIT, LimitNOFILE: '1024' }) } },
    /^fail descriptors: .*beyond 480 clients.* → .*LimitNOFILE=2064$/,
  ],
  [
    'a client that waits for a place',
    { running: { counters: { active: 4, limitHits: 1, waitingMs: 2100 } } },
    /^fail limits: vsock:3:8000: 4 of 4 places are taken, and a client has waited for 2\.1 s → raise limits\.connections/,
  ],
  [
    'clients that had to wait',
    { running: { counters: { active: 0, limitHits: 3, waitingMs: 0 } } },
    /^warn limits: .*3 times a client has waited/,
  ],
  [
    'a name without an address',
    { running: { upstream: { addresses: [], absence: 'Could not resolve x: ETIMEOUT', stale: false } } },
    /^fail dns: vsock:3:8000: clients are refused: Could not resolve x: ETIMEOUT → .*resolv\.conf/,
  ],
  [
    'an old answer',
    { running: { upstream: { addresses: ['10.0.0.7:443'], ageSeconds: 900, ttlSeconds: 60, stale: true } } },
    /^warn dns: .* is 10\.0\.0\.7:443, by an answer that could not be renewed/,
  ],
  [
    'a proxy that hangs',
    { running: new VsockProxyError('control', '/run/x: no answer within 5 s', { errno: 'ABORT_ERR' }) },
    /^fail limits: \/run\/x: no answer within 5 s → systemctl restart/,
  ],
  [
    'mistakes that the running proxy passes over',
    { config: 'allowlist:\n- {address: kms.eu-west-1.amazonaws.com, port: 443}\n- {address: a.test}\n' },
    /^warn config: passed over: .*\(.*vsock-proxy\.yaml:3\)/,
  ],
  [
    'a wrong file',
    { config: 'allowlist: []\nlimits: {connections: many}\n' },
    /^fail config: .*\(.*vsock-proxy\.yaml:2\)/,
  ],
  [
    'metadata that is silent',
    { network: { readPlacement: () => Promise.reject(refused('169.254.169.254: no answer in time')) } },
    /^fail metadata: 169\.254\.169\.254: no answer in time → .*VSOCK_PROXY_KMS_ENDPOINT/,
  ],
  [
    'metadata that is silent in a container',
    {
      files: { '/.dockerenv': '' },
      network: { readPlacement: () => Promise.reject(refused('169.254.169.254: no answer in time')) },
    },
    /^fail metadata: .* → .*hop-limit 2/,
  ],
  ['no name server', { files: { '/etc/resolv.conf': 'search x\n' } }, /^fail resolv-conf: .*names no server/],
  [
    'a clock that nobody sets',
    { programs: { timedatectl: { stdout: 'no\n' } } },
    /^warn clock: .* → systemctl enable --now chronyd$/,
  ],
  [
    'a name that does not resolve',
    {
      arguments: { network: true },
      network: {
        resolve: () => Promise.reject(new VsockProxyError('resolve-failed', 'Could not resolve kms: ESERVFAIL')),
      },
    },
    /^fail names: Could not resolve kms: ESERVFAIL → dig kms/,
  ],
  [
    'a server that accepts and is silent',
    {
      arguments: { network: true },
      network: {
        handshake: () => Promise.resolve({ kind: 'failed', connectMs: 2, ms: 5000, reason: 'no answer in time' }),
      },
    },
    /^fail servers: kms\.eu-west-1\.amazonaws\.com:443 \(10\.0\.0\.7\): connected in 2 ms, and no TLS: no answer in time/,
  ],
];

describe('doctor on a parent', () => {
  it('of a healthy one says nothing but ok and skip, in the order of the list, with status 0', async () => {
    const { lines, exitStatus } = await diagnose({ arguments: { strict: true } });
    assert.deepEqual(
      lines.filter((line) => !/^(ok|skip) /.test(line)),
      [],
    );
    assert.equal(exitStatus, 0);
  });

  for (const [what, situation, line] of FAULTS) {
    it(`finds ${what}`, async () => {
      const { lines, exitStatus } = await diagnose(situation);
      assert(
        lines.some((each) => line.test(each)),
        lines.join('\n'),
      );
      assert.equal(exitStatus, lines.some((each) => each.startsWith('fail ')) ? 1 : 0);
    });
  }

  it('warnings count with --strict only', async () => {
    const situation = { programs: { 'nitro-cli': { stdout: '[]' } } };
    assert.equal((await diagnose(situation)).exitStatus, 0);
    assert.equal((await diagnose({ ...situation, arguments: { strict: true } })).exitStatus, 1);
  });

  it('leaves out what --skip names, and says so', async () => {
    const { of, exitStatus } = await diagnose({ vsock: { cid: 16 }, arguments: { skip: ['cid'] } });
    assert.deepEqual(of('cid'), ['skip cid: left out by --skip']);
    assert.equal(exitStatus, 0);
  });

  it('asks no server without --network', async () => {
    const asked: string[] = [];
    const note = (what: string) => () => {
      asked.push(what);
      return Promise.reject(new Error(what));
    };
    const { of } = await diagnose({
      network: { resolve: note('resolve'), handshake: note('handshake'), dial: note('dial') },
    });
    assert.deepEqual(asked, []);
    assert.match(of('servers')[0] ?? '', /^skip servers: .*--network/);
  });

  it('a check that fails in itself is one failed line, and the others are made', async () => {
    const { of, lines } = await diagnose({ network: { readPlacement: () => Promise.reject(new Error('oops')) } });
    assert.deepEqual(of('metadata'), ['fail metadata: the check itself failed: oops']);
    assert(lines.length > 15);
  });

  it('the checks are those that --skip knows', async () => {
    const { checks } = await diagnose();
    const names = [...new Set(checks.map(({ name }) => name))];
    for (const name of names) parseDoctorCommand(['--skip', name]);
    assert.throws(
      () => parseDoctorCommand(['--skip', 'nothing']),
      (error) => {
        assert(error instanceof VsockProxyError && error.code === 'usage');
        assert.deepEqual(error.hint?.replace('the checks are ', '').split(', '), names);
        return true;
      },
    );
  });

  it('prints a line for each check, and below it what mends it; nothing of the machine moves the cursor', async () => {
    const { text } = await diagnose({ vsock: { cid: 16 }, kernel: '7.9-\u001b[31m', arguments: { json: false } });
    assert.match(
      text,
      /^ok {4}vsock {12}AF_VSOCK sockets can be made\nfail {2}cid {14}this machine has CID 16.*\n {23}→ launch/,
    );
    assert(!text.includes('\u001b'));
    assert.match(text, /\n\n\d+ ok, \d+ warnings, 1 failure, \d+ skipped\n$/);
  });
});

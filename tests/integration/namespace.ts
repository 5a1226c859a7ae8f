/**
 * A test file in network and mount namespaces of its own: port 53, the ports of a proxy and of its servers, /etc/hosts and
 * /etc/resolv.conf are all its own there. Addresses that a policy refuses as such, loopback above all, are none for
 * servers, so these stand on other addresses of the namespace's only interface.
 */
import { spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

export interface Surroundings {
  /** The addresses of servers, and the names that /etc/hosts has for each. */
  readonly servers: Readonly<Record<string, readonly string[]>>;
  /** Further shell commands, as root in the namespace. */
  readonly commands?: readonly string[];
}

const INSIDE = 'VSOCK_PROXY_TEST_NAMESPACE';

/**
 * Outside: runs the calling test file again, inside, and ends as that does.
 * @returns inside: a directory for files, which is removed afterwards. `resolv.conf` there is the namespace's, and names 127.0.0.1
 */
export function enterNamespace(testFile: string, { servers, commands = [] }: Surroundings): string {
  const directory = process.env[INSIDE];
  if (directory !== undefined) return directory;
  const files = mkdtempSync(join(tmpdir(), 'vsock-proxy-test-'));
  writeFileSync(join(files, 'resolv.conf'), 'nameserver 127.0.0.1\n');
  const hosts = Object.entries(servers).filter(([, names]) => names.length > 0);
  const lines = ['127.0.0.1 localhost', ...hosts.map(([ip, names]) => `${ip} ${names.join(' ')}`)];
  writeFileSync(join(files, 'hosts'), `${lines.join('\n')}\n`);
  const enter = [
    'mount --make-rprivate /',
    `mount --bind ${files}/resolv.conf /etc/resolv.conf`,
    `mount --bind ${files}/hosts /etc/hosts`,
    'ip link set lo up',
    ...Object.keys(servers).map((ip) => `ip address add ${ip}${ip.includes(':') ? '/128 nodad' : '/32'} dev lo`),
    ...commands,
    'exec "$@"',
  ];
  const argv = ['unshare', '--net', '--mount', 'bash', '-ec', enter.join('\n'), 'bash'];
  const test = [process.execPath, ...process.execArgv, testFile];
  // The runner of the tests, if there is one, reads what this process prints: so it does of the one inside.
  const { status } = spawnSync('setpriv', ['--pdeathsig', 'KILL', '--', ...argv, ...test], {
    env: { ...process.env, [INSIDE]: files },
    stdio: 'inherit',
  });
  rmSync(files, { recursive: true });
  if (status !== 0) console.error(`${testFile}: see above; it needs root, unshare(1) and ip(8)`);
  process.exit(status ?? 1);
}

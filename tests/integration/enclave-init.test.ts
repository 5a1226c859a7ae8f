/** The built executable as the first process of an enclave, and what it finds and leaves there. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { suite, test } from 'node:test';
import type { Program } from '../program.ts';
import { onParent, PATIENCE_MS, pidOf, Stage, TESTED } from './enclave-stage.ts';

const FORWARD = 'forward: [{listen: "127.0.0.1:443", connect: "unix:DIRECTORY/parent-8001", names: [ranges.test]}]\n';
const EGRESS = 'egress: {allow: ["**.test"]}\n';

onParent(import.meta.filename, '', () => {
  suite('an enclave that cannot be set up', { concurrency: 1 }, refusals);
  suite('the first process', { concurrency: 1 }, firstProcess);
  suite('the command finds', { concurrency: 1 }, surroundings);
});

function refusals(): void {
  const shows = async (what: Parameters<Stage['enclave']>[0], expected: RegExp, status = 1): Promise<void> => {
    const outcome = await new Stage().enclave(what).outcome(PATIENCE_MS);
    assert.match(outcome.stderr, expected);
    assert.deepEqual([outcome.status, outcome.stdout], [status, '']);
  };
  const command = ['echo', 'started'];

  test('reports the problem of the file, and does not start the command', async () => {
    await shows(
      { config: 'egress: {allow: [a.test], denied: []}', command },
      /egress\.denied: unknown key .*Hint: the keys here are allow, deny, /,
    );
    await shows({ config: 'ingress: []', command }, /nothing to listen on: ingress without an entry/);
  });

  test('names the file that it may not write', async () => {
    const prepare = ['mount --bind /etc /etc', 'mount -o remount,ro,bind /etc'];
    await shows({ config: FORWARD, command, prepare }, /\/etc\/hosts could not be written: EROFS, .*Hint: /);
  });

  test('reports that it may not bring up the loopback', async () => {
    const prepare = ['set -- setpriv --bounding-set -net_admin --inh-caps -net_admin "$@"'];
    await shows(
      { config: FORWARD, command, prepare },
      /loopback interface could not be brought up: SIOCSIFFLAGS: EPERM/,
    );
  });

  test('reports that port 53 is in use or forbidden', async () => {
    const taken = `python3 -c "
import socket, subprocess, sys
server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(('127.0.0.1', 53))
sys.exit(subprocess.call(sys.argv[1:]))" "$@"; exit $?`;
    await shows(
      { config: EGRESS, command, prepare: ['ip link set lo up', taken] },
      /DNS server to 127\.0\.0\.1:53: bind: EADDRINUSE\. Hint: another DNS server/,
    );
    const prepare = [
      'ip link set lo up',
      'set -- setpriv --bounding-set -net_bind_service --inh-caps -net_bind_service "$@"',
    ];
    await shows(
      { config: EGRESS, command, prepare },
      /DNS server to 127\.0\.0\.1:53: .*EACCES\. Hint: ports below 1024 take root/,
    );
  });

  test('names the port of the file that is in use', async () => {
    const prepare = [
      'ip link set lo up',
      'python3 -m http.server 443 --bind 127.0.0.1 >/dev/null 2>&1 &',
      'until curl -s -o /dev/null http://127.0.0.1:443/; do :; done',
    ];
    await shows(
      { config: EGRESS, command, prepare, isFirst: true },
      /Could not bind to tcp: 0\.0\.0\.0:443: EADDRINUSE/,
    );
  });

  test('reports it if neither the directory nor the mounted file can be written', async () => {
    const prepare = ['mount --bind -o ro /etc/hosts /etc/hosts'];
    await shows({ config: FORWARD, command, prepare }, /\/etc\/hosts could not be written: EROFS, .*Hint: /);
  });

  test('exits with 127 if the command does not exist, with 126 if it cannot be executed, and logs one line', async () => {
    await shows(
      { config: FORWARD, command: ['/no/such'] },
      /ERROR vsock_proxy\] The command "\/no\/such" could not be started: ENOENT\. Hint: .*\n/,
      127,
    );
    await shows(
      { config: FORWARD, command: ['/etc/passwd'] },
      /ERROR vsock_proxy\] The command .* could not be started: EACCES/,
      126,
    );
  });
}

function firstProcess(): void {
  const run = (script: string, isFirst = true): Program =>
    new Stage().enclave({ config: FORWARD, command: ['sh', '-c', script], isFirst });

  for (const isFirst of [true, false]) {
    const who = isFirst ? 'as process 1' : 'as any process';
    test(`${who} exits as the command does: 0, another status, or 128 and the signal that ended it`, async () => {
      for (const [script, expected] of [
        ['exit 0', 0],
        ['exit 7', 7],
        ['kill -KILL $$', 137],
        ['kill -TERM $$', 143],
      ] as const) {
        const { status, stderr } = await run(script, isFirst).outcome(PATIENCE_MS);
        assert.equal(status, expected, stderr);
      }
    });

    test(`${who} passes signals on to the command`, async () => {
      const names = ['HUP', 'INT', 'QUIT', 'USR1', 'USR2', 'WINCH', 'CONT', 'TERM'] as const;
      // `wait` ends at each signal; TERM is the last one.
      const traps = names.map((name) => `trap 'echo ${name}' ${name}`).join('; ');
      const program = run(
        `${traps}; trap 'echo TERM; exit 3' TERM; echo ready; while :; do sleep 60 & wait $!; done`,
        isFirst,
      );
      await program.stdout.match(/ready\n/, PATIENCE_MS);
      for (const name of names) {
        process.kill(pidOf(program), `SIG${name}`);
        await program.stdout.match(new RegExp(`${name}\n`), PATIENCE_MS);
      }
      const { status, stdout } = await program.outcome(PATIENCE_MS);
      assert.deepEqual([status, stdout], [3, `ready\n${names.map((name) => `${name}\n`).join('')}`]);
    });
  }

  test('reaps 200 orphans, but not the children of the command, which goes on', async () => {
    const { status, stdout, stderr } = await run(`
test $PPID = 1 || exit 9
i=0; while [ $i -lt 200 ]; do (sh -c 'exit 5' & ) ; i=$((i+1)); done
until [ "$(cat /proc/[0-9]*/stat 2>/dev/null | grep -c ') [RSDZ] 1 ')" = 1 ]; do :; done
sh -c 'exit 6'
echo "own child: $?"`).outcome(PATIENCE_MS);
    assert.deepEqual([status, stdout], [0, 'own child: 6\n'], stderr);
  });

  test('the command gets an interrupt from the keyboard once, whatever standard input is', async () => {
    const stage = new Stage();
    // What a terminal does: its own session, and Ctrl-C to all of the foreground.
    const terminal = `import os, pty, signal, sys
pid, fd = pty.fork()
if pid == 0: os.execvp("sh", ["sh", "-c", 'exec "$@" </dev/null', "sh", *sys.argv[1:]])
seen = b""
while True:
    try: seen += os.read(fd, 4096)
    except OSError: break
    if seen.endswith(b"ready\\r\\n"): os.write(fd, b"\\x03")
    # Passed on behind whatever else is passed on.
    if seen.endswith(b"heard\\r\\n"): os.kill(pid, signal.SIGTERM)
print(seen.decode())
sys.exit(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]))
`;
    const script =
      'trap "echo heard" INT; trap "exit 3" TERM; echo ready; while :; do sleep 60 >/dev/null 2>&1 & wait $!; done';
    const prepare = [`set -- python3 ${stage.file(terminal)} "$@"`];
    const program = stage.enclave({ config: FORWARD, command: ['sh', '-c', script], prepare });
    const { status, stdout, stderr } = await program.outcome(PATIENCE_MS);
    assert.equal(status, 3, stdout + stderr);
    assert.equal(stdout.split('heard').length, 2, stdout);
  });

  test('ends with the command, even if the command leaves processes behind', async () => {
    const { status } = await run('sleep 1000 & exit 4').outcome(PATIENCE_MS);
    assert.equal(status, 4);
  });
}

function surroundings(): void {
  test('a pipe as standard error, which it may fill without stopping this process', async () => {
    const script = `
      for fd in /proc/$PPID/fd/*; do
        [ "$(readlink $fd)" != "$(readlink /proc/$PPID/fd/2)" ] || sed -n 's/^flags:.*\\(.\\)...$/\\1/p' /proc/$PPID/fdinfo/\${fd##*/}
      done | sort`;
    const prepare = [`set -- bash -c 'exec "$@" 2> >(cat >&2)' bash "$@"`];
    const { stdout } = await new Stage()
      .enclave({ config: FORWARD, command: ['sh', '-c', script], prepare })
      .outcome(PATIENCE_MS);
    assert.equal(stdout, '0\n4\n'); // O_NONBLOCK for this process alone
  });

  test('standard streams, whatever of them is closed', async () => {
    const stage = new Stage();
    const seen = join(stage.directory, 'seen');
    const script = `streams=$(readlink /proc/$$/fd/0 /proc/$$/fd/1 /proc/$$/fd/2); echo "$streams" >${seen}`;
    const prepare = ['exec <&- >&- 2>&-'];
    await stage.enclave({ config: FORWARD, command: ['sh', '-c', script], prepare }).outcome(PATIENCE_MS);
    assert.equal(readFileSync(seen, 'utf8'), '/dev/null\n/dev/null\n/dev/null\n');
  });

  test('a loopback with both families, and names that lead to it', async () => {
    const stage = new Stage();
    const script = 'ip -brief address show lo; getent ahostsv4 localhost; getent hosts ranges.test';
    const { stdout, stderr } = await stage
      .enclave({ config: FORWARD, command: ['sh', '-c', script] })
      .outcome(PATIENCE_MS);
    assert.match(stdout, /^lo +UNKNOWN +127\.0\.0\.1\/8 198\.18\.0\.1\/15 ::1\/128/, stderr);
    assert.match(stdout, /^127\.0\.0\.1 +STREAM localhost$/m);
    assert.match(stdout, /127\.0\.0\.1 +ranges\.test\n$/);
    assert.equal(
      stage.readEtc('hosts'),
      '127.0.0.1\tbox\n127.0.0.1\tlocalhost\n::1\tlocalhost\n127.0.0.1\tranges.test\n127.0.0.1 old-name\n',
    );
    assert.match(stage.readEtc('resolv.conf'), /^nameserver 192\.0\.2\.1\n/);
  });

  test('a loopback with the whole range, also if it had a single address', async () => {
    const prepare = ['ip address add 127.0.0.1/32 dev lo', 'ip link set lo up'];
    const script = 'getent hosts a.test; ip route get 127.0.0.2';
    const { stdout, stderr } = await new Stage()
      .enclave({ config: EGRESS, command: ['sh', '-c', script], prepare })
      .outcome(PATIENCE_MS);
    assert.match(stdout, /^198\.18\.0\.2 +a\.test\nlocal 127\.0\.0\.2 /, stderr);
  });

  test('names for look-ups with AI_ADDRCONFIG, with IPv4 addresses only', async () => {
    const script =
      "import socket as s; print(s.getaddrinfo('a.test', 1, s.AF_INET, s.SOCK_STREAM, 0, s.AI_ADDRCONFIG)[0][4][0])";
    const { stdout, stderr } = await new Stage()
      .enclave({ config: EGRESS, command: ['python3', '-c', script] })
      .outcome(PATIENCE_MS);
    assert.equal(stdout, '198.18.0.2\n', stderr);
  });

  test('names with loopback addresses, and a line in the log, if the link may have no other addresses', async () => {
    const prepare = ['ip link set lo up', 'set -- setpriv --bounding-set -net_admin --inh-caps -net_admin "$@"'];
    const { stdout, stderr } = await new Stage()
      .enclave({ config: EGRESS, command: ['getent', 'hosts', 'a.test'], prepare })
      .outcome(PATIENCE_MS);
    assert.match(stdout, /^127\.64\.0\.1 +a\.test\n$/, stderr);
    assert.match(
      stderr,
      /WARN .*Names get addresses of 127\.64\.0\.0\/10, .* 198\.18\.0\.1\/15: EPERM\. Hint: .*CAP_NET_ADMIN/,
    );
  });

  test('its own name, also by the look-up of Java, whatever the name in the kernel is', async () => {
    const stage = new Stage();
    const source = stage.file(`
class Own {
  public static void main(String[] arguments) throws Exception {
    System.out.println(java.net.InetAddress.getLocalHost());
  }
}`);
    const command = ['sh', '-c', `cp ${source} ${source}.java && exec java ${source}.java`];
    for (const hostName of ['box.mycorp.example', '(none)']) {
      const { stdout, stderr } = await stage.enclave({ config: FORWARD, command, hostName }).outcome(PATIENCE_MS);
      assert.equal(stdout, `${hostName}/127.0.0.1\n`, stderr);
    }
  });

  test('itself without the proxy, by each of its names: curl, urllib, requests', async () => {
    const stage = new Stage();
    const python = stage.file(`
import requests, sys, urllib.request
for url in sys.argv[1:]:
    print(urllib.request.urlopen(url, timeout=20).status, requests.get(url, timeout=20).status_code)
`);
    const own = ['localhost', '127.0.0.1', '127.0.0.2', '0.0.0.0', '[::1]', 'box'].map(
      (host) => `http://${host}:3000/`,
    );
    const script = `
python3 -m http.server 3000 --bind :: --directory ${stage.sockets} >/dev/null 2>&1 &
until curl -s -o /dev/null http://127.0.0.1:3000/; do :; done
curl -sS --globoff --write-out '%{http_code}\\n' ${own.map((url) => `-o /dev/null ${url}`).join(' ')}
python3 ${python} ${own.join(' ')}`;
    const { stdout, stderr } = await stage
      .enclave({ config: EGRESS, command: ['sh', '-c', script] })
      .outcome(PATIENCE_MS);
    assert.equal(stdout, '200\n'.repeat(own.length) + '200 200\n'.repeat(own.length), stderr);
  });

  test('only the search list of the file: that of the image would change every name', async () => {
    const resolvConf = 'search mycorp.test\nnameserver 192.0.2.1\noptions ndots:5\n';
    const names = async (config: string, hostName = 'box') => {
      const command = ['sh', '-c', 'getent ahostsv4 kms.eu.aws.test; getent hosts wiki'];
      const { stdout } = await new Stage().enclave({ config, command, resolvConf, hostName }).outcome(PATIENCE_MS);
      return [...stdout.matchAll(/(?:STREAM|^\S+) +(\S*\.test)$/gm)].map(([, name]) => name);
    };
    assert.deepEqual(await names(EGRESS), ['kms.eu.aws.test']);
    assert.deepEqual(await names(EGRESS, 'box.mycorp.test'), ['kms.eu.aws.test']);
    const search = 'egress: {allow: ["kms.eu.aws.test", "*.mycorp.test"], search: [mycorp.test]}\n';
    assert.deepEqual(await names(search), ['kms.eu.aws.test', 'wiki.mycorp.test']);
  });

  test('a second start finds everything done, and changes nothing', async () => {
    const stage = new Stage();
    const script = `before=$(cat /etc/hosts /etc/resolv.conf); ${resolve(TESTED)} enclave --config ${stage.file('ingress: [{listen_port: 3000}]')} --parent unix:${stage.directory} -- sh -c 'cat /etc/hosts /etc/resolv.conf' >${stage.directory}/after && test "$before" = "$(cat ${stage.directory}/after)" && echo same`;
    const { stdout, stderr } = await stage
      .enclave({ config: EGRESS, command: ['sh', '-c', script] })
      .outcome(PATIENCE_MS);
    assert.equal(stdout, 'same\n', stderr);
  });

  test('/etc/hosts and /etc/resolv.conf that are mounted, as in containers, are written in place', async () => {
    const prepare = [
      'for f in hosts resolv.conf; do cp /etc/$f /etc/mounted-$f; mount --bind /etc/mounted-$f /etc/$f; done',
    ];
    const script = 'cat /etc/mounted-resolv.conf; grep -c localhost /etc/mounted-hosts';
    const { stdout, stderr } = await new Stage()
      .enclave({ config: EGRESS, command: ['sh', '-c', script], prepare })
      .outcome(PATIENCE_MS);
    assert.equal(stdout, 'nameserver 127.0.0.1\noptions timeout:2\n2\n', stderr);
  });

  test('/etc/hosts and /etc/resolv.conf that are mounted into a root that is read-only are written as well', async () => {
    const prepare = [
      'for f in hosts resolv.conf; do cp /etc/$f /etc/mounted-$f; mount --bind /etc/mounted-$f /etc/$f; done',
      'mount -o remount,ro,bind /etc',
    ];
    const script = 'cat /etc/resolv.conf; grep -c localhost /etc/hosts';
    const { stdout, stderr } = await new Stage()
      .enclave({ config: EGRESS, command: ['sh', '-c', script], prepare })
      .outcome(PATIENCE_MS);
    assert.equal(stdout, 'nameserver 127.0.0.1\noptions timeout:2\n2\n', stderr);
  });

  test('a DNS server that survives a datagram without a source port', async () => {
    const stage = new Stage();
    const script = stage.file(`import socket, struct
query = bytes.fromhex("123401000001000000000000") + b"\\1a\\4test\\0\\0\\1\\0\\1"
raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_UDP)
raw.sendto(struct.pack("!HHHH", 0, 53, 8 + len(query), 0) + query, ("127.0.0.1", 0))
print(socket.gethostbyname("a.test"))
`);
    const { status, stdout, stderr } = await stage
      .enclave({ config: EGRESS, command: ['python3', script] })
      .outcome(PATIENCE_MS);
    assert.deepEqual([status, stdout], [0, '198.18.0.2\n'], stderr);
  });

  test('its standard streams as they were', async () => {
    const program = new Stage().enclave({
      config: FORWARD,
      command: ['sh', '-c', 'read line; echo "out $line"; echo "err $line" >&2'],
    });
    program.stdin.end('hello\n');
    const { stdout, stderr } = await program.outcome(PATIENCE_MS);
    assert.equal(stdout, 'out hello\n');
    assert.match(stderr, /^err hello$/m);
  });
}

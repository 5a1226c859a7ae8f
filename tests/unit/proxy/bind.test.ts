import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import type { ListenSpec, SocketAddress } from '../../../src/dataplane/contract.ts';
import { VsockProxyError } from '../../../src/platform/errors.ts';
import { bind } from '../../../src/proxy/bind.ts';
import { FakeDataPlane } from '../../dataplane/fake.ts';
import { FakeNetwork } from '../../dataplane/network.ts';
import { RecordedEvents } from '../../dataplane/recorded-events.ts';

const vsock = (port: number, cid = 3): SocketAddress => ({ family: 'vsock', cid, port });
const tcp = (port: number): SocketAddress => ({ family: 'tcp', ip: '10.0.0.1', port });
const unix: SocketAddress = { family: 'unix', path: '/run/x.sock' };

const SPEC: Omit<ListenSpec, 'on'> = {
  kind: 'fixed',
  limits: { connections: 1, connectionsPerClient: 0, ratePerClient: 0 },
  admission: {},
  timeouts: { connectMs: 1000, idleMs: 0, headMs: 1000, reuseMs: 0 },
  report: 'failures',
};

describe('a listener that cannot be bound: the address, the errno, and what to do', () => {
  const cases: readonly (readonly [on: SocketAddress, errno: string, line: RegExp])[] = [
    [
      vsock(8000),
      'EADDRINUSE',
      /^Could not bind to cid: 3 port: 8000: EADDRINUSE: address already in use\. Hint: .*ss --vsock -lnp/,
    ],
    [
      vsock(8000),
      'EADDRNOTAVAIL',
      /^Could not bind to cid: 3 port: 8000: EADDRNOTAVAIL: .*Nitro Enclaves is not enabled on this instance.*--cid any or --cid local/,
    ],
    [vsock(8000, 42), 'EADDRNOTAVAIL', /cid: 42 port: 8000: .*does not have CID 42/],
    [vsock(1023), 'EACCES', /port: 1023: EACCES: permission denied\. Hint: .*below 1024.*CAP_NET_BIND_SERVICE/],
    [vsock(8000), 'EACCES', /EACCES: permission denied\. Hint: .*seccomp/],
    [vsock(8000), 'EPERM', /EPERM: operation not permitted\. Hint: .*seccomp/],
    [vsock(8000), 'EAFNOSUPPORT', /EAFNOSUPPORT: .*Hint: .*modprobe vsock.*seccomp.*RestrictAddressFamilies/],
    [vsock(8000), 'ENODEV', /ENODEV: .*Hint: .*modprobe vsock/],
    [vsock(8000, 1), 'ENODEV', /ENODEV: .*Hint: .*modprobe vsock_loopback/],
    [vsock(8000, 4294967295), 'EADDRINUSE', /^Could not bind to cid: 4294967295 port: 8000: EADDRINUSE/],
    [vsock(8000), 'ENOMEM', /^Could not bind to cid: 3 port: 8000: ENOMEM: not enough memory$/],
    [tcp(8000), 'EADDRINUSE', /^Could not bind to tcp: 10\.0\.0\.1:8000: EADDRINUSE: .*ss -tlnp/],
    [tcp(8000), 'EADDRNOTAVAIL', /no network interface of this machine/],
    [tcp(80), 'EACCES', /below 1024/],
    [tcp(8000), 'EACCES', /Hint: SELinux forbids it, perhaps: .*vsock_proxy_listen_any/],
    [{ family: 'tcp', ip: '::1', port: 1 }, 'EADDRINUSE', /^Could not bind to tcp: \[::1\]:1: /],
    [unix, 'EADDRINUSE', /^Could not bind to unix: \/run\/x\.sock: EADDRINUSE: .*rm '\/run\/x\.sock'/],
    [
      { family: 'unix', path: import.meta.filename },
      'EADDRINUSE',
      /Hint: the file exists and is not a socket; listen at another path$/,
    ],
    [unix, 'ENOENT', /directory of the socket does not exist: mkdir '\/run'$/],
    [unix, 'ENOTDIR', /not a directory/],
    [unix, 'EACCES', /must be writable/],
    [unix, 'EROFS', /must be writable/],
  ];
  for (const [on, errno, line] of cases) {
    it(`${errno} on ${JSON.stringify(on)}`, () => {
      const dataPlane = new FakeDataPlane(new FakeNetwork({ bindErrno: () => errno }), new RecordedEvents());
      assert.throws(
        () => bind(dataPlane, { ...SPEC, on }, on),
        (error) => {
          assert(error instanceof VsockProxyError);
          assert.equal(error.code, 'listen-failed');
          assert.equal(error.errno, errno);
          assert.match(error.line, line);
          return true;
        },
      );
    });
  }

  it('an error of another kind stays what it is', () => {
    const broken = new FakeDataPlane(new FakeNetwork(), new RecordedEvents());
    broken.listen = () => {
      throw new TypeError('a mistake');
    };
    assert.throws(() => bind(broken, { ...SPEC, on: unix }, unix), TypeError);
  });
});

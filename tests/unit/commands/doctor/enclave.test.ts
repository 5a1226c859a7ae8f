import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { VsockProxyError } from '../../../../src/platform/errors.ts';
import { diagnose, type Situation } from './fixture.ts';

const CONFIG =
  'egress: {allow: [api.example.com]}\nforward: [{listen: "127.0.0.1:5432", connect: "vsock:3:8001", names: [db.example.com]}]\n';

const HEALTHY: Situation = {
  config: CONFIG,
  arguments: { where: 'enclave' },
  files: {
    '/sys/class/net/lo/flags': '0x9\n',
    '/etc/hosts': '127.0.0.1 localhost db.example.com\n',
    '/etc/resolv.conf': 'nameserver 127.0.0.1\n',
    '/dev/nsm': '',
  },
};

const without = (path: string, text?: string): Situation => ({ ...HEALTHY, files: { ...HEALTHY.files, [path]: text } });

const FAULTS: readonly (readonly [what: string, situation: Situation, line: RegExp])[] = [
  [
    'a loopback interface that is down',
    without('/sys/class/net/lo/flags', '0x8\n'),
    /^fail loopback: .* → ip link set lo up/,
  ],
  [
    'a name that /etc/hosts lacks',
    without('/etc/hosts', '127.0.0.1 localhost\n'),
    /^fail hosts: \/etc\/hosts lacks .*db\.example\.com/,
  ],
  [
    'another name server',
    without('/etc/resolv.conf', 'nameserver 10.0.0.2\n'),
    /^fail resolv-conf: .*10\.0\.0\.2, and not 127\.0\.0\.1/,
  ],
  ['no NSM', without('/dev/nsm'), /^warn nsm: /],
  ['a clock of the last century', { ...HEALTHY, now: new Date(0) }, /^fail clock: it is 1970-/],
  [
    'a DNS server that is silent',
    { ...HEALTHY, network: { resolve: () => Promise.reject(new VsockProxyError('resolve-failed', 'no answer')) } },
    /^fail dns: no answer/,
  ],
  [
    'a parent that does not listen',
    { ...HEALTHY, network: { dial: () => Promise.resolve({ kind: 'failed', ms: 3, errno: 'ECONNRESET' }) } },
    /^fail parent: vsock port \d+ of CID 3: ECONNRESET after 3 ms → on the parent: vsock-proxy doctor$/,
  ],
  [
    'a parent that forbids what is allowed here',
    { ...HEALTHY, network: { askProxy: () => Promise.resolve({ status: 403, reason: 'not allowed' }) } },
    /^fail policy: this side allows api\.example\.com:443, and the parent does not: not allowed/,
  ],
  ['a wrong file', { ...HEALTHY, config: 'egress: {allow: 1}\n' }, /^fail config: /],
];

describe('doctor --enclave', () => {
  it('of a healthy one says nothing but ok', async () => {
    const { lines, exitStatus } = await diagnose({ ...HEALTHY, arguments: { where: 'enclave', strict: true } });
    assert.deepEqual(
      lines.filter((line) => !line.startsWith('ok ')),
      [],
    );
    assert.equal(exitStatus, 0);
  });

  it('asks for the ports of the parent, and not for those of the application, which ingress leads to', async () => {
    const { lines } = await diagnose({ ...HEALTHY, config: `${CONFIG}ingress: [{listen_port: 3000}]\n` });
    assert.deepEqual(
      lines.filter((line) => line.includes(' parent: ')).map((line) => /vsock port \d+|tcp.*|\{.*/.exec(line)?.[0]),
      ['vsock port 8001', 'vsock port 10000'],
    );
  });

  for (const [what, situation, line] of FAULTS) {
    it(`finds ${what}`, async () => {
      const { lines } = await diagnose(situation);
      assert(
        lines.some((each) => line.test(each)),
        lines.join('\n'),
      );
    });
  }
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { refuseElsewhere, type Surroundings } from '../../../src/enclave/elsewhere.ts';

const HEADING = 'Iface\tDestination\tGateway \tFlags\tRefCnt\tUse\tMetric\tMask\t\tMTU\tWindow\tIRTT\n';
const LO6 = '00000000000000000000000000000001 80 00000000000000000000000000000000 00 0 0 0 0       lo\n';
const ROOT_MOUNT = '24 1 254:0 / / rw,relatime shared:1 - ext4 /dev/vda rw\n';
const ENCLAVE: Surroundings = { hasNsm: false, isFirst: false, routes: HEADING, ipv6Routes: LO6, mounts: ROOT_MOUNT };
const DEVELOPER = { ...ENCLAVE, routes: `${HEADING}eth0\t00000000\t010200C0\t0003\t0\t0\t0\t00000000\t0\t0\t0\n` };
const REFUSED = /has a network \(eth0\) and is no enclave: \/etc\/hosts and \/etc\/resolv\.conf are not changed/;

for (const [what, surroundings] of [
  ['no network', ENCLAVE],
  ['no /proc', { ...ENCLAVE, routes: '', ipv6Routes: '', mounts: '' }],
  ['a network of its own device, and /dev/nsm', { ...DEVELOPER, hasNsm: true }],
  ['the first process of a container', { ...DEVELOPER, isFirst: true }],
  [
    'a container with a resolv.conf of its own',
    { ...DEVELOPER, mounts: `${ROOT_MOUNT}30 24 254:0 /x/resolv.conf /etc/resolv.conf rw - ext4 /dev/vda rw\n` },
  ],
] as const) {
  test(`${what}: it runs`, () => refuseElsewhere(surroundings));
}

test('a machine with a network: its names are not changed', () => {
  assert.throws(() => refuseElsewhere(DEVELOPER), REFUSED);
});

test('a machine that lends its resolv.conf to a container: its names are not changed', () => {
  const lent = '30 24 254:0 /etc/resolv.conf /run/netns/x rw - ext4 /dev/vda rw\n';
  assert.throws(() => refuseElsewhere({ ...DEVELOPER, mounts: `${ROOT_MOUNT}${lent}` }), REFUSED);
});

test('a machine with IPv6 alone: its names are not changed', () => {
  const ipv6Routes = `${LO6}fe800000000000000000000000000000 40 00000000000000000000000000000000 00 0 0 0 0     eth0\n`;
  assert.throws(() => refuseElsewhere({ ...ENCLAVE, ipv6Routes }), REFUSED);
});

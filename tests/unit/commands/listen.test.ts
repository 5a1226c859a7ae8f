import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { parseListenAddress } from '../../../src/commands/line/listen.ts';
import { VsockProxyError } from '../../../src/platform/errors.ts';

const CID = 3;

describe('a local port that is none is refused, with a reason', () => {
  const cases: readonly (readonly [text: string, says: RegExp])[] = [
    ['', /"" is not a whole number\. Hint: give a vsock port such as 8000, or unix:PATH or tcp:IP:PORT/],
    ['abc', /is not a whole number/],
    [' 8000', /is not a whole number/],
    ['8000 ', /is not a whole number/],
    ['8e3', /is not a whole number/],
    ['0x1f', /is not a whole number/],
    ['8_000', /is not a whole number/],
    ['-8000', /is not a whole number/],
    ['++8000', /is not a whole number/],
    ['8000.0', /is not a whole number/],
    ['٨٠٠٠', /is not a whole number/],
    ['8000\n', /"8000\\n" is not a whole number/],
    ['vsock:8000', /is not a whole number/],
    ['0', /0 is outside 4–4294967294\. Hint: the first argument is the vsock port/],
    ['3', /3 is outside/],
    ['4294967295', /4294967295 means any port to the kernel\. Hint: choose a fixed port/],
    ['4294967296', /"4294967296" is outside 4–4294967294\. Hint: vsock ports are 32-bit/],
    ['9'.repeat(500), /"9{80}…" is outside/],
    ['unix:', /no path after unix:/],
    [`unix:/${'a'.repeat(107)}`, /the path of 108 bytes after unix: is longer than 107/],
    [`unix:/${'ü'.repeat(54)}`, /the path of 109 bytes/],
    ['tcp:', /"tcp:" has no IP address\. Hint: write tcp:127\.0\.0\.1:8000 or tcp:\[::1\]:8000/],
    ['tcp:8000', /has no IP address/],
    ['tcp:localhost:8000', /has no IP address/],
    ['tcp:127.1:8000', /has no IP address/],
    ['tcp:::1:8000', /has no IP address/],
    ['tcp:[127.0.0.1]:8000', /has no IP address/],
    ['tcp:[fe80::1%eth0]:8000', /has no IP address/],
    ['tcp:127.0.0.1', /has no port from 1 to 65535/],
    ['tcp:127.0.0.1:', /has no port from 1 to 65535/],
    ['tcp:127.0.0.1:http', /has no port from 1 to 65535/],
    ['tcp:127.0.0.1:0', /has no port from 1 to 65535/],
    ['tcp:127.0.0.1:65536', /has no port from 1 to 65535/],
    ['tcp:127.0.0.1:80:80', /has no IP address/],
  ];
  for (const [text, says] of cases) {
    it(`'${text.slice(0, 40)}'`, () => {
      assert.throws(
        () => parseListenAddress(text, CID),
        (error) => {
          assert(error instanceof VsockProxyError);
          assert.equal(error.code, 'argument');
          assert.match(error.line, /^Local port is not valid: /);
          assert.match(error.line, says);
          return true;
        },
      );
    });
  }
});

describe('a listening address', () => {
  const cases = [
    ['8000', { family: 'vsock', cid: CID, port: 8000 }],
    ['4', { family: 'vsock', cid: CID, port: 4 }],
    ['+8000', { family: 'vsock', cid: CID, port: 8000 }],
    ['0008000', { family: 'vsock', cid: CID, port: 8000 }],
    ['4294967294', { family: 'vsock', cid: CID, port: 4294967294 }],
    ['unix:/run/x.sock', { family: 'unix', path: '/run/x.sock' }],
    ['unix:relative path', { family: 'unix', path: 'relative path' }],
    [`unix:/${'a'.repeat(106)}`, { family: 'unix', path: `/${'a'.repeat(106)}` }],
    ['tcp:127.0.0.1:8000', { family: 'tcp', ip: '127.0.0.1', port: 8000 }],
    ['tcp:0.0.0.0:1', { family: 'tcp', ip: '0.0.0.0', port: 1 }],
    ['tcp:[::1]:65535', { family: 'tcp', ip: '::1', port: 65535 }],
  ] as const;
  for (const [text, address] of cases) {
    it(`'${text.slice(0, 40)}' is understood`, () => assert.deepEqual(parseListenAddress(text, CID), address));
  }
});

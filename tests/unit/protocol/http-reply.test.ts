import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CONNECT_ESTABLISHED, FAILURES, reasonIn, reply } from '../../../src/protocol/http-reply.ts';
import { parseResponse } from '../../../src/protocol/http-response.ts';

test('a reply is a whole response that says in one line what is the matter, and ends the connection', () => {
  assert.equal(
    reply(403, { reason: 'evil.example:443 is not in the allowlist', proxyStatus: 'http_request_denied' }).toString(),
    'HTTP/1.1 403 Forbidden: evil.example:443 is not in the allowlist\r\n' +
      'Content-Type: text/plain; charset=utf-8\r\n' +
      'Content-Length: 41\r\n' +
      'Proxy-Status: vsock-proxy; error=http_request_denied; details="evil.example:443 is not in the allowlist"\r\n' +
      'Connection: close\r\n\r\n' +
      'evil.example:443 is not in the allowlist\n',
  );
});

test('what came from the network ends neither the line, nor the string, nor the head', () => {
  const text = reply(400, { reason: '"é" \\ \r\n\r\n\0 \u202e 🦊', proxyStatus: 'http_request_error' }).toString();
  const [head = '', body] = text.split('\r\n\r\n');
  assert.match(head, /^HTTP\/1\.1 400 Bad Request: "\\u\{e9\}" \\ \\r\\n\\r\\n\\0 \\u\{202e\} \\u\{1f98a\}\r\n/);
  assert.match(head, /details="\\"\\\\u\{e9\}\\" \\\\ \\\\r\\\\n\\\\r\\\\n\\\\0 \\\\u\{202e\} \\\\u\{1f98a\}"\r\n/);
  assert.equal(body, '"é" \\ \\r\\n\\r\\n\\0 \\u{202e} 🦊\n');
});

test('for an SDK the reason is the message of a JSON body, in which nothing is lost', () => {
  const reason = '"é" \\ \n is not allowed';
  const text = reply(403, { reason, form: 'json' }).toString();
  const [head = '', body = ''] = text.split('\r\n\r\n');
  assert.match(head, /\r\nContent-Type: application\/json\r\n/);
  assert.match(head, new RegExp(`\r\nContent-Length: ${Buffer.byteLength(body)}\r\n`));
  assert.deepEqual(JSON.parse(body), { message: '"é" \\ \\n is not allowed' });
  assert.equal(reasonIn(body), '"é" \\ \\n is not allowed');
});

test('the reason in a body is its message, or its first line; 500 characters of it', () => {
  for (const [body, reason] of [
    ['no\nmore', 'no'],
    ['{"message":1}', '{"message":1}'],
    ['null', 'null'],
    ['{"message', '{"message'],
    ['', ''],
    ['x'.repeat(2000), 'x'.repeat(500)],
    [JSON.stringify({ message: 'x'.repeat(600) }), 'x'.repeat(500)],
  ] as const) {
    assert.equal(reasonIn(body), reason, body);
  }
});

test('a reason of any length is cut', () => {
  assert.match(reply(502, { reason: 'x'.repeat(100_000) }).toString(), /^HTTP\/1\.1 502 Bad Gateway: x{200}\.\.\.\r\n/);
  assert.ok(reply(502, { reason: 'x'.repeat(100_000), proxyStatus: 'http_protocol_error' }).length < 2000);
});

test('a reply to HEAD has no body, and one that keeps the connection says so', () => {
  const text = reply(503, { reason: 'busy', keepAlive: true, method: 'HEAD' }).toString();
  assert.equal(
    text,
    'HTTP/1.1 503 Service Unavailable: busy\r\nContent-Type: text/plain; charset=utf-8\r\nContent-Length: 5\r\n' +
      'Connection: keep-alive\r\n\r\n',
  );
});

test('no failure is answered in a way that asks for credentials, and each has an error type of RFC 9209', () => {
  const registered = new Set(
    (
      'dns_timeout dns_error destination_not_found destination_unavailable destination_ip_prohibited ' +
      'destination_ip_unroutable connection_refused connection_terminated connection_timeout connection_read_timeout ' +
      'connection_write_timeout connection_limit_reached tls_protocol_error tls_certificate_error tls_alert_received ' +
      'http_request_error http_request_denied http_response_incomplete http_response_header_section_size ' +
      'http_response_header_size http_response_body_size http_response_trailer_section_size http_response_trailer_size ' +
      'http_response_transfer_coding http_response_content_coding http_response_timeout http_upgrade_failed ' +
      'http_protocol_error proxy_internal_response proxy_internal_error proxy_configuration_error proxy_loop_detected'
    ).split(' '),
  );
  for (const [kind, { status, proxyStatus }] of Object.entries(FAILURES)) {
    assert.ok(registered.has(proxyStatus), kind);
    assert.ok(status !== (401 as number) && status !== (407 as number), kind);
    const bytes = reply(status, { reason: kind, proxyStatus });
    const response = parseResponse(bytes, { method: 'GET', keepAlive: true, version: '1.1' });
    assert(response.kind === 'final', kind);
    assert.deepEqual(response.body, { kind: 'length', bytes: bytes.length - response.headBytes }, kind);
  }
});

test('an established tunnel is announced without a body, or a field that speaks of one', () => {
  assert.equal(CONNECT_ESTABLISHED.toString(), 'HTTP/1.1 200 Connection established\r\n\r\n');
});

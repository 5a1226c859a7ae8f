/**
 * clients.mjs CLIENT PROXY URL: an HTTP client from npm that goes through a proxy. Prints what came of it in one line: a body,
 * or the error.
 */
import { once } from 'node:events';
import { createServer } from 'node:http';
import { get } from 'node:https';

const [, , client, proxy, url] = process.argv;

const CLIENTS = {
  /** Its CONNECT has the proxy's own address as Host. */
  async 'tunnel-agent'() {
    const { default: tunnel } = await import('tunnel-agent');
    const { hostname, port } = new URL(proxy);
    const agent = tunnel.httpsOverHttp({ proxy: { host: hostname, port: Number(port) } });
    return new Promise((resolve, reject) => {
      const read = (response) => response.setEncoding('utf8').once('data', resolve);
      get(url, { agent, headers: { connection: 'close' } }, read).on('error', reject);
    });
  },

  async undici() {
    const { ProxyAgent, fetch } = await import('undici');
    const dispatcher = new ProxyAgent(proxy);
    try {
      return await (await fetch(url, { dispatcher })).text();
    } finally {
      await dispatcher.destroy();
    }
  },

  /** A call to a server of its own, in clear and through a tunnel. */
  async grpc() {
    const { default: grpc } = await import('@grpc/grpc-js');
    const { host } = new URL(url);
    const method = {
      path: '/echo/Echo',
      requestStream: false,
      responseStream: false,
      requestSerialize: Buffer.from,
      requestDeserialize: String,
      responseSerialize: Buffer.from,
      responseDeserialize: String,
    };
    const server = new grpc.Server();
    server.addService({ echo: method }, { echo: ({ request }, answer) => answer(null, `echo of ${request}`) });
    await new Promise((resolve, reject) => {
      const bound = (error) => (error ? reject(error) : resolve());
      server.bindAsync(host, grpc.ServerCredentials.createInsecure(), bound);
    });
    process.env.grpc_proxy = proxy;
    const caller = new grpc.Client(host, grpc.credentials.createInsecure());
    try {
      return await new Promise((resolve, reject) => {
        const answered = (error, value) => (error ? reject(error) : resolve(value));
        const { path, requestSerialize, responseDeserialize } = method;
        caller.makeUnaryRequest(path, requestSerialize, responseDeserialize, 'hello', answered);
      });
    } finally {
      caller.close();
      server.forceShutdown();
    }
  },

  /** A request with Upgrade, in absolute form. */
  async ws() {
    const { default: WebSocket } = await import('ws');
    const { HttpProxyAgent } = await import('http-proxy-agent');
    const socket = new WebSocket(url, { agent: new HttpProxyAgent(proxy) });
    socket.on('open', () => socket.send('hello'));
    const [message] = await once(socket, 'message');
    socket.close();
    return message;
  },

  /** A server of WebSockets that echoes, until it is ended; PROXY is nothing. */
  async 'ws-server'() {
    const { WebSocketServer } = await import('ws');
    const { hostname, port } = new URL(url);
    const server = createServer((_, response) => response.end('no WebSocket'));
    const sockets = new WebSocketServer({ server });
    sockets.on('connection', (socket) => socket.on('message', (message) => socket.send(`echo of ${message}`)));
    await once(server.listen(Number(port), hostname), 'listening');
    return 'listening';
  },

  /** Takes the proxy's answer to CONNECT for the service's. */
  async 'aws-sdk'() {
    const { KMSClient, ListKeysCommand } = await import('@aws-sdk/client-kms');
    const { HttpsProxyAgent } = await import('https-proxy-agent');
    const credentials = { accessKeyId: 'x', secretAccessKey: 'x' };
    const requestHandler = { httpsAgent: new HttpsProxyAgent(proxy) };
    const kms = new KMSClient({ region: 'us-east-1', credentials, endpoint: url, requestHandler, maxAttempts: 1 });
    return JSON.stringify((await kms.send(new ListKeysCommand({}))).Keys);
  },
};

try {
  console.log(String(await CLIENTS[client]()).trim());
} catch (error) {
  const { name, message, cause } = error;
  console.log(`${name}: ${message}${cause ? ` (${cause.message})` : ''}`);
}
// Some leave timers behind.
if (client !== 'ws-server') process.exit();

/**
 * What runs in the enclave of the soak: a server at 127.0.0.1, and clients. usage: inside.ts PORT NAME=HOST:PORT...
 *
 * Takes "go" and "pause", a line each, and tells what happens in lines of JSON.
 */
import { createInterface } from 'node:readline';
import { BYTES, Clients, type Done } from './clients.ts';
import { serveTransfers } from './transfer.ts';

export type Report = Done | 'ready' | 'paused';

const [port = '', ...texts] = process.argv.slice(2);
const paths = texts.map((text) => {
  const [, name = '', host = '', port = ''] = /^(.*)=(.*):(\d+)$/.exec(text) ?? [];
  return { name, host, port: Number(port) };
});
await serveTransfers('127.0.0.1', Number(port), BYTES);
const clients = new Clients(paths, tell);
tell('ready');
for await (const line of createInterface(process.stdin)) {
  if (line === 'go') clients.go();
  else await clients.pause().then(() => tell('paused'));
}
process.exit();

function tell(report: Report): void {
  console.log(JSON.stringify(report));
}

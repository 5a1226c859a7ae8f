/** As much of a PostgreSQL server as psql needs for one query: TLS after SSLRequest, no password, one row. */
import { once } from 'node:events';
import { createServer, type Socket } from 'node:net';
import { TLSSocket } from 'node:tls';

export interface PostgresOptions {
  readonly certificate: { readonly key: string; readonly cert: string };
  /** The answer to SSLRequest; default `S`. */
  readonly answer?: string;
}

export interface Postgres extends Disposable {
  /** What clients began with, in hexadecimal digits; `TLS` for a ClientHello. */
  readonly began: readonly string[];
}

/** Answers `SELECT` with the name that the client gave in TLS. */
export async function startPostgres(
  ip: string,
  port: number,
  { certificate, answer = 'S' }: PostgresOptions,
): Promise<Postgres> {
  const began: string[] = [];
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.once('readable', () => {
      const first: Buffer = socket.read();
      if (first[0] === 22) {
        began.push('TLS');
        socket.unshift(first);
        return serve(secure(socket, certificate));
      }
      began.push(first.toString('hex'));
      socket.write(answer);
      if (answer === 'S') serve(secure(socket, certificate));
    });
  });
  server.listen(port, ip);
  await once(server, 'listening');
  return {
    began,
    [Symbol.dispose]() {
      server.close();
    },
  };
}

function secure(socket: Socket, certificate: PostgresOptions['certificate']): TLSSocket {
  const tls = new TLSSocket(socket, { isServer: true, ALPNProtocols: ['postgresql'], ...certificate });
  tls.on('error', () => undefined);
  return tls;
}

function serve(tls: TLSSocket): void {
  const ready = message('Z', 'I');
  let greeted = false;
  tls.on('data', (data: Buffer) => {
    if (!greeted) {
      greeted = true;
      tls.write(Buffer.concat([message('R', '\0\0\0\0'), message('S', 'server_version\x0015.0\0'), ready]));
    } else if (data[0] === 0x51) {
      // RowDescription of one text column; DataRow; CommandComplete: "Message Formats" of the manual.
      const column = 'name\0' + '\0\0\0\0' + '\0\0' + '\0\0\0\x19' + '\xff\xff' + '\xff\xff\xff\xff' + '\0\0';
      const name = String(tls.servername);
      const row = `\0\x01\0\0\0${String.fromCharCode(name.length)}${name}`;
      tls.write(Buffer.concat([message('T', `\0\x01${column}`), message('D', row), message('C', 'SELECT 1\0'), ready]));
    } else {
      tls.end();
    }
  });
}

function message(type: string, body: string): Buffer {
  const length = Buffer.alloc(4);
  length.writeUInt32BE(body.length + 4);
  return Buffer.concat([Buffer.from(type), length, Buffer.from(body, 'latin1')]);
}

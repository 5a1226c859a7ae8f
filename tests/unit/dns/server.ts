/** A small DNS server for tests: UDP and TCP on one port of 127.0.0.1, with the answers of a table. */
import { createSocket, type Socket as UdpSocket } from 'node:dgram';
import { once } from 'node:events';
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net';

export type RecordType = 'A' | 'AAAA' | 'CNAME';

export interface DnsRecord {
  readonly type: RecordType;
  readonly ttl: number;
  readonly data: string;
  /** Whose record it is; default: the name asked for. */
  readonly owner?: string;
}

/** An empty list of records is NODATA. `truncated`: over UDP, the reply only says to use TCP. */
export type Reply =
  | { readonly records: readonly DnsRecord[]; readonly truncated?: boolean }
  | { readonly rcode: 'SERVFAIL' | 'NXDOMAIN' | 'REFUSED' }
  | 'silence'
  | 'garbage';

export interface Question {
  readonly name: string;
  readonly type: RecordType;
  readonly over: 'udp' | 'tcp';
}

export interface DnsServer {
  /** `127.0.0.1:port` */
  readonly address: string;
  readonly questions: Question[];
  /** The names asked for by A queries, in order. */
  asked(): string[];
  close(): void;
}

const TYPES = { A: 1, CNAME: 5, AAAA: 28 } as const;
const RCODES = { SERVFAIL: 2, NXDOMAIN: 3, REFUSED: 5 } as const;

/** `answer` is called for each query; undefined is NXDOMAIN. `wantedPort`: the default is a free one. */
export async function startDnsServer(
  answer: (question: Question) => Reply | undefined,
  wantedPort = 0,
): Promise<DnsServer> {
  const questions: Question[] = [];
  const connections = new Set<Socket>();
  const { udp, tcp, port } = await bindBoth(wantedPort);

  const respond = (message: Buffer, over: 'udp' | 'tcp'): Buffer | undefined => {
    const { name, type, end } = readQuestion(message);
    const question = { name, type, over };
    questions.push(question);
    const reply = answer(question) ?? { rcode: 'NXDOMAIN' };
    if (reply === 'silence') return undefined;
    if (reply === 'garbage')
      return Buffer.concat([message.subarray(0, 2), Buffer.from([0x81, 0x80, 0, 9, 0, 9, 0xff])]);
    const truncated = 'records' in reply && reply.truncated === true && over === 'udp';
    const records = 'records' in reply && !truncated ? reply.records : [];
    const header = Buffer.alloc(12);
    message.copy(header, 0, 0, 2);
    header.writeUInt16BE(0x8180 | (truncated ? 0x0200 : 0) | ('rcode' in reply ? RCODES[reply.rcode] : 0), 2);
    header.writeUInt16BE(1, 4);
    header.writeUInt16BE(records.length, 6);
    return Buffer.concat([header, message.subarray(12, end), ...records.map((record) => encode(record, name))]);
  };

  udp.on('message', (message, { port: peerPort, address }) => {
    const response = respond(message, 'udp');
    if (response !== undefined) udp.send(response, peerPort, address);
  });
  tcp.on('connection', (socket) => {
    connections.add(socket);
    socket.on('error', () => socket.destroy());
    let received = Buffer.alloc(0);
    socket.on('data', (chunk) => {
      received = Buffer.concat([received, chunk]);
      while (received.length >= 2 && received.length >= 2 + received.readUInt16BE(0)) {
        const end = 2 + received.readUInt16BE(0);
        const response = respond(received.subarray(2, end), 'tcp');
        received = received.subarray(end);
        if (response === undefined) continue;
        const length = Buffer.alloc(2);
        length.writeUInt16BE(response.length);
        socket.write(Buffer.concat([length, response]));
      }
    });
  });

  return {
    address: `127.0.0.1:${port}`,
    questions,
    asked: () => questions.filter(({ type }) => type === 'A').map(({ name }) => name),
    close() {
      udp.close();
      tcp.close();
      for (const socket of connections) socket.destroy();
    },
  };
}

/** A random port that is free for UDP may be taken for TCP. Then another port is tried. */
async function bindBoth(wantedPort: number): Promise<{ udp: UdpSocket; tcp: Server; port: number }> {
  for (;;) {
    const tcp = createServer().listen(wantedPort, '127.0.0.1');
    await once(tcp, 'listening');
    const { port } = tcp.address() as AddressInfo;
    const udp = createSocket('udp4');
    const bound = once(udp, 'listening').then(
      () => true,
      () => false,
    );
    udp.bind(port, '127.0.0.1');
    if (await bound) return { udp, tcp, port };
    tcp.close();
  }
}

function readQuestion(message: Buffer): { name: string; type: RecordType; end: number } {
  const labels: string[] = [];
  let at = 12;
  for (let length = message.readUInt8(at); length > 0; length = message.readUInt8(at)) {
    labels.push(message.toString('latin1', at + 1, at + 1 + length));
    at += 1 + length;
  }
  const code = message.readUInt16BE(at + 1);
  const type = Object.entries(TYPES).find(([, number]) => number === code)?.[0] as RecordType;
  // Servers of the wild keep the case of a question; names are compared without it.
  return { name: labels.join('.').toLowerCase(), type, end: at + 5 };
}

function encode({ type, ttl, data, owner }: DnsRecord, name: string): Buffer {
  const head = Buffer.alloc(8);
  head.writeUInt16BE(TYPES[type], 0);
  head.writeUInt16BE(1, 2);
  head.writeUInt32BE(ttl, 4);
  const content = type === 'CNAME' ? encodeName(data) : type === 'A' ? encodeIpv4(data) : encodeIpv6(data);
  const length = Buffer.alloc(2);
  length.writeUInt16BE(content.length);
  return Buffer.concat([encodeName(owner ?? name), head, length, content]);
}

function encodeName(name: string): Buffer {
  const labels = name.split('.').map((label) => Buffer.concat([Buffer.from([label.length]), Buffer.from(label)]));
  return Buffer.concat([...labels, Buffer.from([0])]);
}

function encodeIpv4(address: string): Buffer {
  return Buffer.from(address.split('.').map(Number));
}

function encodeIpv6(address: string): Buffer {
  const [head = [], tail = []] = address.split('::').map((half) => half.split(':').filter((group) => group !== ''));
  const groups = [...head, ...Array<string>(8 - head.length - tail.length).fill('0'), ...tail];
  return Buffer.from(groups.map((group) => group.padStart(4, '0')).join(''), 'hex');
}

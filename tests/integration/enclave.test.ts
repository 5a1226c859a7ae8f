/** The built executable as an enclave's entry point, with applications that know nothing of it. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { createServer as createHttpServer, type RequestListener } from 'node:http';
import { createServer as createHttpsServer } from 'node:https';
import { createServer, type Server, type Socket } from 'node:net';
import { before, suite, test } from 'node:test';
import * as packet from 'dns-packet';
import { Program } from '../program.ts';
import { makeCertificate } from './certificate.ts';
import { afterTest, CURL_CLOSED, onParent, PATIENCE_MS, SERVER_IP, Stage } from './enclave-stage.ts';

const KMS = 'kms.us-east-1.amazonaws.com';
const S3 = 's3.amazonaws.com';
const WIKI = 'wiki.eng.mycorp.com';
const AUTH = 'auth.mycorp.com';
const OTHER = 'example.org';
const NAMES = [KMS, S3, WIKI, AUTH, OTHER];
const MASS = 1000;

/** The page that documents Enclaver, in our file. */
const EGRESS = `egress:
  allow: ["kms.*.amazonaws.com", "${S3}", "**.mycorp.com"]
  deny: ["${AUTH}"]
`;
const ALLOWED = ['kms.*.amazonaws.com', S3, '**.mycorp.com'];

const hosts = [...NAMES, ...Array.from({ length: MASS }, (_, index) => `n${index}.mass.mycorp.com`)];
onParent(import.meta.filename, hosts.map((name) => `${SERVER_IP} ${name}\n`).join(''), () => {
  suite('an application without a proxy setting', { concurrency: 1 }, transparentTests);
  suite('a listed address, for an application without a proxy setting', { concurrency: 1 }, addressTests);
  suite('an application that finds servers by DNS', { concurrency: 1 }, recordTests);
  suite('an application with a proxy setting', { concurrency: 1 }, proxyTests);
});

async function listen<S extends Server>(server: S, port: number, ip = SERVER_IP): Promise<S> {
  server.listen(port, ip);
  await once(server, 'listening');
  afterTest(() => {
    server.close();
    if ('closeAllConnections' in server) (server as unknown as { closeAllConnections(): void }).closeAllConnections();
  });
  return server;
}

/** Returns the request as JSON: its name, and a hash of the body. */
const describeRequest: RequestListener = (request, response) => {
  const hash = createHash('sha256');
  request.on('data', (chunk: Buffer) => hash.update(chunk));
  request.on('end', () => response.end(JSON.stringify({ host: request.headers.host, sha256: hash.digest('hex') })));
};

/** Servers of all names: HTTP at 80, HTTPS at 443. @returns the certificate */
async function serveWeb(): Promise<string> {
  const { key, cert } = makeCertificate(KMS, ...NAMES.slice(1));
  await listen(createHttpServer(describeRequest), 80);
  await listen(createHttpsServer({ key, cert }, describeRequest), 443);
  return cert;
}

/** One that speaks first: the port of a mail server. */
async function serveGreeting(port: number): Promise<void> {
  const greet = (socket: Socket) => socket.on('error', () => socket.destroy()).end('220 ready\r\n');
  await listen(createServer(greet), port);
}

/** A shell command without the variables that tell of the proxy. */
function unaware(script: string): readonly string[] {
  const variables = ['http_proxy', 'https_proxy', 'HTTP_PROXY', 'HTTPS_PROXY', 'no_proxy', 'NO_PROXY'];
  return ['env', ...variables.flatMap((name) => ['-u', name]), 'sh', '-c', script];
}

const CURL = 'curl --silent --show-error --max-time 20';

function transparentTests(): void {
  test('is denied what is not allowed: the name does not exist, and the log has the reason', async () => {
    const stage = new Stage();
    await stage.egress(['**']);
    const script = [AUTH, OTHER].map((name) => `${CURL} https://${name}/; echo $?`).join('; ');
    const { stdout, stderr } = await stage.enclave({ config: EGRESS, command: unaware(script) }).outcome(PATIENCE_MS);
    assert.equal(stdout, '6\n6\n');
    assert.match(
      stderr,
      /WARN .*auth\.mycorp\.com was looked up, and does not exist here: .* is denied by auth\.mycorp\.com/,
    );
    assert.match(stderr, /Could not resolve host: example\.org/);
  });

  test('is denied what only the parent denies: the connection ends, and the log has the message of the parent', async () => {
    const stage = new Stage();
    await stage.egress(['**.mycorp.com']);
    const enclave = stage.enclave({ config: EGRESS, command: unaware(`${CURL} http://${S3}/`) });
    const { status, stderr } = await enclave.outcome(PATIENCE_MS);
    assert.match(`${status}`, new RegExp(`^(?:${CURL_CLOSED})$`), stderr);
    assert.match(stderr, /answered 403 for s3\.amazonaws\.com:80: s3\.amazonaws\.com:80 is not allowed by the policy/);
  });

  test('is refused at addresses without a name, and on ports without a listener', async () => {
    const stage = new Stage();
    await stage.egress(ALLOWED);
    const script = [`http://127.100.0.1/`, `http://127.0.0.1/`, `http://${S3}:8080/`]
      .map((url) => `${CURL} ${url}; echo $?`)
      .join('; ');
    const { stdout, stderr } = await stage.enclave({ config: EGRESS, command: unaware(script) }).outcome(PATIENCE_MS);
    // The first two are refused behind accept.
    assert.match(stdout, new RegExp(`^(?:${CURL_CLOSED})\n(?:${CURL_CLOSED})\n7\n$`));
    assert.match(stderr, /no name is known for 127\.100\.0\.1:80/);
  });

  test('curl reaches every allowed name over TLS and in clear, each at its own address', async () => {
    const stage = new Stage();
    const ca = stage.file(await serveWeb());
    await stage.egress(ALLOWED);
    const urls = [KMS, S3, WIKI].flatMap((name) => [`https://${name}/`, `http://${name}/`]);
    const script = `${CURL} --cacert ${ca} --write-out ' %{remote_ip}\\n' ${urls.join(' ')}`;
    const { stdout, stderr } = await stage.enclave({ config: EGRESS, command: unaware(script) }).outcome(PATIENCE_MS);
    const lines = stdout.trimEnd().split('\n');
    assert.deepEqual(
      lines.map((line) => /"host":"([^"]*)".* (\S+)$/.exec(line)?.slice(1).join(' ')),
      [
        `${KMS} 198.18.0.2`,
        `${KMS} 198.18.0.2`,
        `${S3} 198.18.0.3`,
        `${S3} 198.18.0.3`,
        `${WIKI} 198.18.0.4`,
        `${WIKI} 198.18.0.4`,
      ],
      stderr,
    );
  });

  test('Python’s urllib and requests, and a raw Python socket to a server that speaks first; each is denied, too', async () => {
    const stage = new Stage();
    const ca = stage.file(await serveWeb());
    await serveGreeting(2525);
    await stage.egress(ALLOWED);
    const script = stage.file(`
import requests, socket, ssl, urllib.request
context = ssl.create_default_context(cafile="${ca}")
urllib_get = lambda name: urllib.request.urlopen(f"https://{name}/", context=context, timeout=20).status
requests_get = lambda name: requests.get(f"https://{name}/", verify="${ca}", timeout=20).status_code
def greeting(name):
    with socket.create_connection((name, 2525), timeout=20) as connection:
        return connection.makefile().read().strip()
for get in urllib_get, requests_get, greeting:
    try:
        print(get("${AUTH}"))
    except OSError as error:
        print("Name or service not known" in str(error))
print(urllib_get("${KMS}"), requests_get("${S3}"), greeting("${WIKI}"))
`);
    const config = `${EGRESS}  transparent_ports: [80, 443, 2525]\n`;
    const { stdout, stderr } = await stage
      .enclave({ config, command: unaware(`exec python3 ${script}`) })
      .outcome(PATIENCE_MS);
    assert.equal(stdout, 'True\nTrue\nTrue\n200 200 220 ready\n', stderr);
  });

  test('Java, which reads none of the variables, with its own cache of addresses', async () => {
    const stage = new Stage();
    await serveWeb();
    await stage.egress(ALLOWED);
    const source = stage.file(`
import java.net.*;
class Get {
  public static void main(String[] arguments) throws Exception {
    for (String name : arguments) {
      HttpURLConnection connection = (HttpURLConnection) new URL("http://" + name + "/").openConnection();
      System.out.println(connection.getResponseCode());
    }
    try {
      InetAddress.getByName("${AUTH}");
    } catch (UnknownHostException denied) {
      System.out.println("denied");
    }
  }
}`);
    const command = ['sh', '-c', `cp ${source} ${source}.java && exec java ${source}.java ${KMS} ${S3} ${KMS}`];
    const { stdout, stderr } = await stage.enclave({ config: EGRESS, command }).outcome(PATIENCE_MS);
    assert.equal(stdout, '200\n200\n200\ndenied\n', stderr);
  });

  test('boto3, without a proxy setting', async () => {
    const stage = new Stage();
    const { key, cert } = makeCertificate(S3);
    const buckets =
      '<ListAllMyBucketsResult><Buckets><Bucket><Name>ours</Name></Bucket></Buckets></ListAllMyBucketsResult>';
    const type = { 'Content-Type': 'application/xml' };
    await listen(
      createHttpsServer({ key, cert }, (_, response) => response.writeHead(200, type).end(buckets)),
      443,
    );
    await stage.egress(ALLOWED);
    const script = stage.file(`
import boto3
keys = dict(aws_access_key_id="a", aws_secret_access_key="b", region_name="us-east-1")
client = boto3.client("s3", endpoint_url="https://${S3}", verify="${stage.file(cert)}", **keys)
print([bucket["Name"] for bucket in client.list_buckets()["Buckets"]])
`);
    const { stdout, stderr } = await stage
      .enclave({ config: EGRESS, command: unaware(`exec /usr/bin/python3 ${script}`) })
      .outcome(PATIENCE_MS);
    assert.equal(stdout, "['ours']\n", stderr);
  });

  test('100 MB up, compared by their hash', async () => {
    const stage = new Stage();
    await serveWeb();
    await stage.egress(ALLOWED);
    const script = `
head -c 100000000 /dev/urandom >${stage.directory}/data
sha256sum <${stage.directory}/data | cut -d ' ' -f 1
${CURL} --header Expect: --data-binary @${stage.directory}/data http://${S3}/`;
    const { stdout, stderr } = await stage.enclave({ config: EGRESS, command: unaware(script) }).outcome(PATIENCE_MS);
    const [sent, received = ''] = stdout.split('\n');
    assert.equal(JSON.parse(received).sha256, sent, stderr);
  });

  test(`${MASS} names: each has its own address and is reached by it, with two sockets for all of them`, async () => {
    const stage = new Stage();
    await serveWeb();
    const parent = await stage.egress(ALLOWED);
    const script = stage.file(`
import http.client, socket
names = [f"n{index}.mass.mycorp.com" for index in range(${MASS})]
addresses = {socket.getaddrinfo(name, 80, socket.AF_INET, socket.SOCK_STREAM)[0][4][0] for name in names}
print(len(addresses))
right = 0
for name in names:
    connection = http.client.HTTPConnection(name, timeout=20)
    connection.request("GET", "/")
    right += ('"host":"%s"' % name) in connection.getresponse().read().decode()
    connection.close()
print(right)
listening = [line.split() for line in open("/proc/net/tcp").read().splitlines()[1:]]
print(sum(fields[3] == "0A" and fields[1].endswith((":0050", ":01BB")) for fields in listening))
`);
    const { stdout, stderr } = await stage
      .enclave({ config: EGRESS, command: unaware(`exec python3 ${script}`) })
      .outcome(PATIENCE_MS);
    assert.equal(stdout, `${MASS}\n${MASS}\n2\n`, stderr.slice(-2000));
    assert.match(parent.stderr.text, /n999\.mass\.mycorp\.com:80/);
  });
}

/** Starts a DNS server of the parent for records that a hosts file cannot have. @returns its queries */
async function serveRecords(): Promise<readonly string[]> {
  const asked: string[] = [];
  const socket = createSocket('udp4').bind(53, '127.0.0.1');
  await once(socket, 'listening');
  afterTest(() => socket.close());
  const common = { ttl: 300, priority: 0, weight: 5, port: 27_017 };
  const long = Array.from({ length: 8 }, (_, index) => `${index}`.repeat(200));
  const records: Readonly<Record<string, readonly packet.Answer[]>> = {
    [`SRV _mongodb._tcp.${WIKI}`]: [1, 2].map((index) => {
      const { ttl, ...data } = common;
      return {
        type: 'SRV',
        name: `_mongodb._tcp.${WIKI}`,
        ttl,
        data: { ...data, target: `n${index}.mass.mycorp.com` },
      };
    }),
    [`TXT ${WIKI}`]: [{ type: 'TXT', name: WIKI, ttl: 300, data: ['authSource=admin', '&replicaSet=rs0'] }],
    [`TXT ${S3}`]: [{ type: 'TXT', name: S3, ttl: 300, data: long }],
  };
  socket.on('message', (message, { port, address }) => {
    const { id = 0, questions: [question] = [] } = packet.decode(message);
    const key = `${question?.type} ${question?.name}`;
    asked.push(key);
    const flags = packet.RECURSION_AVAILABLE | (records[key] === undefined ? 3 : 0);
    const answers = [...(records[key] ?? [])];
    const additionals: packet.Answer[] = [];
    const questions = question === undefined ? [] : [question];
    socket.send(packet.encode({ type: 'response', id, flags, questions, answers, additionals }), port, address);
  });
  return asked;
}

function recordTests(): void {
  /** What dnspython, by which pymongo finds its servers, and c-ares find: records, or the name of the error. */
  const PROGRAM = `
import dns.resolver, subprocess, sys
for query in sys.argv[1:]:
    kind, name = query.split("=")
    try:
        print(" | ".join(sorted(record.to_text() for record in dns.resolver.resolve(name, kind, search=False))))
    except Exception as error:
        print(type(error).__name__)
`;

  test('gets no records that either side denies, and none of another type', async () => {
    const stage = new Stage();
    const asked = await serveRecords();
    await stage.egress(['**'], ['kms.us-east-1.amazonaws.com']);
    const queries = [`SRV=_mongodb._tcp.${AUTH}`, `TXT=${OTHER}`, `MX=${WIKI}`, `TXT=${KMS}`];
    const command = ['/usr/bin/python3', stage.file(PROGRAM), ...queries];
    const { stdout, stderr } = await stage.enclave({ config: EGRESS, command }).outcome(PATIENCE_MS);
    assert.equal(stdout, 'NoAnswer\nNXDOMAIN\nNoAnswer\nNoNameservers\n', stderr);
    assert.match(
      stderr,
      /WARN .*_mongodb\._tcp\.auth\.mycorp\.com was looked up, and does not exist here: it is denied by auth/,
    );
    assert.match(stderr, /WARN .*no answer about TXT records of kms.*it does not allow them/);
    assert.deepEqual(asked, []);
  });

  test('finds the servers of an allowed name: dnspython and c-ares, over UDP and TCP', async () => {
    const stage = new Stage();
    await serveRecords();
    await stage.egress(ALLOWED);
    const queries = [`SRV=_mongodb._tcp.${WIKI}`, `TXT=${WIKI}`, `SRV=_sip._tcp.${WIKI}`, `TXT=${S3}`];
    const script = `
      const { resolveSrv, resolveTxt } = require('dns').promises;
      resolveSrv('_mongodb._tcp.${WIKI}').then((found) => console.log(found.map(({ name, port }) => name + ':' + port).sort().join()))
        .then(() => resolveTxt('${WIKI}')).then((found) => console.log(found[0].join('')));`;
    const program = `/usr/bin/python3 ${stage.file(PROGRAM)} ${queries.join(' ')}; ${process.execPath} -e "${script}"`;
    const { stdout, stderr } = await stage
      .enclave({ config: EGRESS, command: ['sh', '-c', program] })
      .outcome(PATIENCE_MS);
    const [srv, txt, none, long, ...nodeLines] = stdout.trimEnd().split('\n');
    assert.deepEqual(
      [srv, txt, none, nodeLines],
      [
        '0 5 27017 n1.mass.mycorp.com. | 0 5 27017 n2.mass.mycorp.com.',
        '"authSource=admin" "&replicaSet=rs0"',
        'NoAnswer',
        ['n1.mass.mycorp.com:27017,n2.mass.mycorp.com:27017', 'authSource=admin&replicaSet=rs0'],
      ],
      stderr,
    );
    assert.equal(long?.length, 8 * 203 - 1);
  });
}

const METADATA = '169.254.169.254';
const IPV6 = 'fd00:77::1';

function addressTests(): void {
  before(() => {
    for (const address of [`${METADATA}/32`, `${IPV6}/128`])
      execFileSync('ip', ['address', 'add', address, 'dev', 'lo']);
  });

  /** As the instance has it: a token, then a role, then its credentials. */
  const serveMetadata = async (): Promise<readonly string[]> => {
    const asked: string[] = [];
    const role = '/latest/meta-data/iam/security-credentials/';
    const credentials = {
      Code: 'Success',
      AccessKeyId: 'AKIA',
      SecretAccessKey: 's',
      Token: 't',
      Expiration: '2099-01-01T00:00:00Z',
    };
    const server = createHttpServer(({ method, url = '' }, response) => {
      asked.push(`${method} ${url}`);
      if (method === 'PUT') response.end('token');
      else response.end(url === role ? 'our-role' : JSON.stringify(credentials));
    });
    await listen(server, 80, METADATA);
    return asked;
  };

  test('is not reached if only a range or a deny rule has it', async () => {
    const stage = new Stage();
    const asked = await serveMetadata();
    await stage.egress(['0.0.0.0/0', METADATA]);
    for (const config of [
      'egress: {allow: [0.0.0.0/0, "**"]}',
      'egress: {allow: [169.254.0.0/16]}',
      `egress: {allow: [${METADATA}], deny: [169.254.0.0/16]}`,
      `egress: {allow: [${METADATA}], transparent_ports: [443]}`,
    ]) {
      const enclave = stage.enclave({ config, command: unaware(`${CURL} http://${METADATA}/; echo $?`) });
      const { stdout, stderr } = await enclave.outcome(PATIENCE_MS);
      assert.equal(stdout, '7\n', stderr);
    }
    assert.deepEqual(asked, []);
  });

  test('is refused if the parent lists it in a range only', async () => {
    const stage = new Stage();
    const asked = await serveMetadata();
    await stage.egress(['0.0.0.0/0']);
    const config = `egress: {allow: [${METADATA}]}`;
    const enclave = stage.enclave({ config, command: unaware(`${CURL} http://${METADATA}/; echo $?`) });
    const { stdout, stderr } = await enclave.outcome(PATIENCE_MS);
    assert.match(stdout, new RegExp(`^(?:${CURL_CLOSED})\n$`));
    assert.match(stderr, /answered 403 for 169\.254\.169\.254:80/);
    assert.deepEqual(asked, []);
  });

  test('gives an SDK the credentials of the instance if it is listed: boto3 without a proxy setting', async () => {
    const stage = new Stage();
    const asked = await serveMetadata();
    await stage.egress([METADATA]);
    const script = stage.file('import boto3\nprint(boto3.Session().get_credentials().access_key)\n');
    const config = `egress: {allow: [${METADATA}, "${SERVER_IP}"]}`;
    const enclave = stage.enclave({ config, command: unaware(`exec /usr/bin/python3 ${script}`) });
    const { stdout, stderr } = await enclave.outcome(PATIENCE_MS);
    assert.equal(stdout, 'AKIA\n', stderr);
    assert.equal(asked[0], 'PUT /latest/api/token');
  });

  test('may be of either family, beside names and beside listeners of the enclave at the same ports', async () => {
    const stage = new Stage();
    await serveWeb();
    await listen(
      createHttpServer((_, response) => response.end('six\n')),
      80,
      IPV6,
    );
    await stage.egress([SERVER_IP, IPV6, S3]);
    const config = `egress: {allow: ["${SERVER_IP}", "${IPV6}", ${S3}]}`;
    const script = [SERVER_IP, S3, `[${IPV6}]`].map((host) => `${CURL} --globoff http://${host}/; echo`).join('; ');
    const { stdout, stderr } = await stage.enclave({ config, command: unaware(script) }).outcome(PATIENCE_MS);
    assert.match(stdout, /"host":"10\.77\.0\.1".*\n.*"host":"s3\.amazonaws\.com".*\nsix\n/, stderr);
  });
}

function proxyTests(): void {
  test('gets 403 for what is not allowed, by the policy of the enclave: the parent gets no request', async () => {
    const stage = new Stage();
    const parent = await stage.egress(['**']);
    const script = [`https://${AUTH}/`, `http://${OTHER}/`]
      .map((url) => `${CURL} --write-out '%{http_connect} %{http_code}\\n' ${url}`)
      .join('; ');
    const { stdout } = await stage.enclave({ config: EGRESS, command: ['sh', '-c', script] }).outcome(PATIENCE_MS);
    assert.equal(stdout, `403 000\n${OTHER}:80 is not allowed by the policy of this proxy\n000 403\n`);
    assert.doesNotMatch(parent.stderr.text, /Accepted connection/);
  });

  test('gets the message of the parent for what only the parent denies', async () => {
    const stage = new Stage();
    await stage.egress(['**.mycorp.com']);
    const script = `${CURL} --write-out '%{http_code}\\n' http://${S3}/; ${CURL} --proxytunnel http://${S3}/; echo $?`;
    const { stdout, stderr } = await stage
      .enclave({ config: EGRESS, command: ['sh', '-c', script] })
      .outcome(PATIENCE_MS);
    assert.equal(stdout, `${S3}:80 is not allowed by the policy of this proxy\n403\n56\n`);
    assert.match(stderr, /answered 403 for s3\.amazonaws\.com:80/);
  });

  test('gets the message of the parent if the server does not answer in time', async () => {
    const stage = new Stage();
    // Its queue is full, so that the kernel drops what would be one more.
    const full = `import socket, sys
server = socket.socket()
server.bind(("${SERVER_IP}", 80))
server.listen(0)
clients = [socket.socket() for _ in range(4)]
for client in clients:
    client.setblocking(False)
    client.connect_ex(("${SERVER_IP}", 80))
print("ready", flush=True)
sys.stdin.read()`;
    const server = new Program('python3', ['-c', full]);
    afterTest(() => server.kill());
    await server.stdout.match(/ready/, PATIENCE_MS);
    const timeouts = 'timeouts: {connect: 1s}\n';
    await stage.egress(ALLOWED, [], timeouts);
    const script = `${CURL} --include --proxytunnel http://${S3}/; ${CURL} --noproxy '*' http://${S3}/`;
    const enclave = stage.enclave({ config: EGRESS + timeouts, command: ['sh', '-c', script] });
    const { stdout, stderr } = await enclave.outcome(PATIENCE_MS);
    assert.match(stdout, /^HTTP\/1\.1 504 .*\r\n\r\n/s, stderr);
    assert.match(
      stderr,
      /the proxy at the other end answered 504 for s3\.amazonaws\.com:80: could not connect to s3\./,
    );
    assert.doesNotMatch(stderr, /could not connect to s3\.amazonaws\.com:80 at unix:/);
  });

  test('gets 502 if the parent is not there in time, and reaches it as soon as it is', async () => {
    const stage = new Stage();
    await serveWeb();
    const config = `${EGRESS}timeouts: {connect: 300ms}\n`;
    const script = `${CURL} --write-out '%{http_code}\\n' --output /dev/null http://${S3}/; read line; ${CURL} --write-out '%{http_code}\\n' --output /dev/null http://${S3}/`;
    const enclave = stage.enclave({ config, command: ['sh', '-c', script] });
    await enclave.stdout.match(/^502\n/, PATIENCE_MS);
    await stage.egress(ALLOWED);
    enclave.stdin.end('\n');
    const { stdout, stderr } = await enclave.outcome(PATIENCE_MS);
    assert.equal(stdout, '502\n200\n', stderr);
  });

  test('curl and Python’s urllib reach allowed names over TLS and in clear, by the variables alone', async () => {
    const stage = new Stage();
    const ca = stage.file(await serveWeb());
    await stage.egress(ALLOWED);
    const python = stage.file(`
import ssl, urllib.request
context = ssl.create_default_context(cafile="${ca}")
print(urllib.request.urlopen("https://${KMS}/", context=context, timeout=20).status)
print(urllib.request.urlopen("http://${S3}/", timeout=20).status)
`);
    const script = `${CURL} --cacert ${ca} --output /dev/null --write-out '%{http_connect} %{http_code}\\n' https://${WIKI}/ && exec python3 ${python}`;
    // Without the DNS server: nothing but the proxy is there.
    const config = `${EGRESS}  transparent_ports: []\n`;
    const enclave = stage.enclave({ config, command: ['sh', '-c', script] });
    const { stdout, stderr } = await enclave.outcome(PATIENCE_MS);
    assert.equal(stdout, '200 200\n200\n200\n', stderr);
    assert.match(stage.readEtc('resolv.conf'), /^nameserver 192\.0\.2\.1\n/);
  });

  test('Ruby’s Net::HTTP, which uses no proxy for names with loopback addresses', async () => {
    const stage = new Stage();
    await listen(createHttpServer(describeRequest), 81);
    await stage.egress(ALLOWED);
    const script = `puts Net::HTTP.get_response(URI("http://${S3}:81/")).code`;
    const { stdout, stderr } = await stage
      .enclave({ config: EGRESS, command: ['ruby', '-rnet/http', '-e', script] })
      .outcome(PATIENCE_MS);
    assert.equal(stdout, '200\n', stderr);
  });

  test('finds the variables as Enclaver sets them, and the names of forward in no_proxy', async () => {
    const stage = new Stage();
    const config = `${EGRESS}forward: [{listen: "127.0.0.1:8443", connect: "unix:DIRECTORY/x", names: [db.internal]}]\n`;
    const { stdout } = await stage
      .enclave({ config, command: ['sh', '-c', 'env | grep -i proxy | sort'] })
      .outcome(PATIENCE_MS);
    const url = 'http://127.0.0.1:10000';
    const none = 'localhost,127.0.0.1,127.0.0.2,0.0.0.0,::1,[::1],box,db.internal';
    assert.deepEqual(stdout.trimEnd().split('\n').sort(), [
      `HTTPS_PROXY=${url}`,
      `HTTP_PROXY=${url}`,
      `NO_PROXY=${none}`,
      `http_proxy=${url}`,
      `https_proxy=${url}`,
      `no_proxy=${none}`,
    ]);
  });
}

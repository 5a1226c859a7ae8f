/** What an instance of EC2 has around it: a metadata service, and repositories over HTTP. */
import { execFileSync } from 'node:child_process';
import { once } from 'node:events';
import { cpSync, createReadStream, existsSync, mkdirSync, mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { KEY_FILE, Keyring, PACKAGES } from '../ami/signing.ts';
import { Program } from '../program.ts';
import { fromRunScript, type Instance, ROOT } from './machine.ts';

export const REPOSITORY = 'http://169.254.169.253/repo';
/** Makes cloud-init look for an instance at the next boot, as its package has it: the image has this turned off. */
export const GENERATOR = '/etc/systemd/system-generators/cloud-init-generator';
const SOON_MS = 60_000;

/** A region of its own, us-east-1, for one test. */
export class Cloud implements AsyncDisposable {
  readonly directory = mkdtempSync(join(fromRunScript('E2E_WORK'), 'cloud-'));
  readonly #keyring = new Keyring('ours@example.com');
  readonly #repositories: Server;
  #metadata: Program | undefined;
  #port = 0;

  private constructor() {
    this.#repositories = this.#serve();
  }

  /** With the signed repository of this project, and that of the system, where AWS's package is. */
  static async open(): Promise<Cloud> {
    const cloud = new Cloud();
    await cloud.#keyring.build(cloud.path('repo'), 'ours@example.com', REPOSITORY, PACKAGES.slice(0, 1));
    mkdirSync(cloud.path('system'));
    for (const name of ['amazon-linux-1.rpm', 'aws-nitro-enclaves-cli-1.rpm']) {
      cpSync(join(ROOT, 'build/e2e-packages', name), cloud.path(`system/${name}`));
    }
    execFileSync('createrepo_c', ['--quiet', cloud.path('system')]);
    mkdirSync(cloud.path('files'));
    cpSync(cloud.path(`repo/${KEY_FILE}`), cloud.path('files/key.asc'));
    await once(cloud.#repositories.listen(0, '127.0.0.1'), 'listening');
    await cloud.startMetadata('i-0e2e0e2e0e2e0e2e0');
    return cloud;
  }

  path(name: string): string {
    return join(this.directory, name);
  }

  /** A file among those that the documents carry. */
  write(name: string, content: string): void {
    writeFileSync(this.path(`files/${name}`), content);
  }

  /** Where a machine finds it all. */
  get instance(): Instance {
    const { port: repositories } = this.#repositories.address() as AddressInfo;
    return { metadata: this.#port, repositories };
  }

  /** What the metadata service tells from now on: another instance, perhaps with user data. */
  async startMetadata(instance: string, ...args: readonly string[]): Promise<void> {
    this.#metadata?.kill();
    await this.#metadata?.outcome(SOON_MS);
    const service = join(ROOT, 'tests/e2e/guest/imds.py');
    const options = [
      '--address',
      '127.0.0.1',
      '--port',
      `${this.#port}`,
      '--region',
      'us-east-1',
      '--instance',
      instance,
    ];
    this.#metadata = new Program('python3', [service, ...options, ...args]);
    const [, port] = await this.#metadata.stdout.match(/listening(?: on port (\d+))?\n/, SOON_MS);
    if (port !== undefined) this.#port = Number(port);
  }

  /** The requests to the metadata service since its start. */
  get asked(): string {
    return this.#metadata?.stdout.text ?? '';
  }

  /** `make ami-documents` with these arguments and the files of this cloud; gives where one of them is. */
  makeDocuments(args: string): (name: string) => string {
    const node = process.execPath;
    execFileSync(node, [join(ROOT, 'scripts/ami-documents.ts'), args, this.path('files'), this.path('documents')], {
      cwd: ROOT,
      stdio: ['ignore', 'ignore', 'inherit'],
    });
    return (name) => this.path(`documents/${name}`);
  }

  #serve(): Server {
    return createServer((request, response) => {
      const file = this.path(decodeURIComponent(request.url ?? '/').replaceAll('..', ''));
      if (!existsSync(file) || !statSync(file).isFile()) {
        response.writeHead(404).end();
        return;
      }
      response.writeHead(200, { 'Content-Length': statSync(file).size });
      createReadStream(file).pipe(response);
    });
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#metadata?.kill();
    await this.#metadata?.outcome(SOON_MS);
    this.#repositories.closeAllConnections();
    this.#repositories.close();
    this.#keyring[Symbol.dispose]();
    rmSync(this.directory, { recursive: true, force: true });
  }
}

/** Keys to sign with, in a keyring of their own, and repositories that are made with them. */
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { run } from '../integration/launch.ts';
import { PROJECT } from './root.ts';

export const NAME = 'nitro-enclaves-vsock-proxy';
export const KEY_FILE = `RPM-GPG-KEY-${NAME}`;
export const { version: VERSION } = JSON.parse(readFileSync(join(PROJECT, 'package.json'), 'utf8'));

/** What `make rpm` has made, as it came: not signed. */
export const PACKAGES = ['x86_64', 'aarch64'].map((arch) => join(PROJECT, `build/${NAME}-${VERSION}-1.${arch}.rpm`));

export class Keyring implements Disposable {
  readonly #home = mkdtempSync(join(tmpdir(), 'gnupg-'));

  constructor(...addresses: readonly string[]) {
    for (const address of addresses) {
      this.gpg('--passphrase', '', '--quick-generate-key', address, 'rsa2048', 'sign', '1y');
    }
  }

  get environment(): Readonly<Record<string, string>> {
    return { GNUPGHOME: this.#home };
  }

  gpg(...args: readonly string[]): string {
    const env = { ...process.env, ...this.environment };
    return execFileSync('gpg', ['--batch', '--quiet', '--yes', ...args], {
      env,
      encoding: 'utf8',
      stdio: ['ignore', 'pipe', 'pipe'],
    });
  }

  /** `make repo`, as it calls it; the URL is where a root has its shared directory. */
  async build(directory: string, key: string, url: string, packages: readonly string[] = PACKAGES): Promise<void> {
    const settings = [`GNUPGHOME=${this.#home}`, `SIGNING_KEY=${key}`, `REPO_URL=${url}`];
    const { status, stderr } = await run([
      'env',
      ...settings,
      join(PROJECT, 'packaging/repo/build'),
      directory,
      ...packages,
    ]);
    if (status !== 0) throw new Error(stderr);
  }

  [Symbol.dispose](): void {
    execFileSync('gpgconf', ['--kill', 'all'], { env: { ...process.env, ...this.environment } });
    rmSync(this.#home, { recursive: true, force: true });
  }
}

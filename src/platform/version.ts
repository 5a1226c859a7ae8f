import { readFileSync } from 'node:fs';

/** The bundler sets it. */
declare const VSOCK_PROXY_VERSION: string | undefined;

/** The version of this program, as `1.2.3`. */
export const VERSION: string = typeof VSOCK_PROXY_VERSION === 'string' ? VSOCK_PROXY_VERSION : versionOfSources();

function versionOfSources(): string {
  const { version } = JSON.parse(readFileSync(new URL('../../package.json', import.meta.url), 'utf8'));
  return version;
}

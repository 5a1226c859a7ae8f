import { execFileSync } from 'node:child_process';
import { isIP } from 'node:net';

/** A key and a self-signed certificate for these names and IP addresses, PEM, by the openssl command. */
export function makeCertificate(...names: readonly [string, ...string[]]): {
  readonly key: string;
  readonly cert: string;
} {
  const subjects = names.map((name) => `${isIP(name) === 0 ? 'DNS' : 'IP'}:${name}`).join(',');
  const pem = execFileSync(
    'openssl',
    [
      ...['req', '-x509', '-newkey', 'ec', '-pkeyopt', 'ec_paramgen_curve:prime256v1', '-nodes', '-days', '2'],
      ...['-subj', `/CN=${names[0]}`, '-addext', `subjectAltName=${subjects}`, '-keyout', '-', '-out', '-'],
    ],
    { encoding: 'utf8', stdio: ['ignore', 'pipe', 'ignore'] },
  );
  return { key: pem, cert: pem };
}

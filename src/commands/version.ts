/** The text of `--version`. */

/** The text before the version of AWS's proxy. Scripts look for it. */
const REFERENCE = 'Vsock-TCP proxy 1.0.2 (compatible: vsock-proxy of the AWS Nitro Enclaves CLI 1.5.0)';

/** @param version of this program, as `1.2.3` */
export function versionText(version: string): string {
  return `vsock-proxy ${version}\n${REFERENCE}\n`;
}

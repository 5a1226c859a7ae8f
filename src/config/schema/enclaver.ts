/**
 * What stands beside `egress` and `ingress` in a manifest of Enclaver: how an image is built and run, which is not done here.
 * The keys are known, so that a manifest can be used as it is; what they say is not read.
 */
import { NOT_USED, optional, scalar, type Wrong } from './builder.ts';

export const enclaverKeys = {
  version: notUsed('The version of the manifest'),
  name: notUsed('The name of the application'),
  target: notUsed('The image that Enclaver builds'),
  sources: notUsed('The images that it builds from; clients have `sources` in `listeners`', noClients),
  signature: notUsed('What it signs the image with'),
  defaults: notUsed('What it runs the enclave with'),
  kms_proxy: notUsed('A proxy to AWS KMS that attests for the application'),
  api: notUsed('A server inside the enclave that attests for the application'),
  spire: notUsed('An agent of SPIFFE'),
};

export type EnclaverKey = keyof typeof enclaverKeys;

/** What to do in place of it, where leaving it out could be noticed. */
export const INSTEAD: Readonly<Partial<Record<EnclaverKey, string>>> = {
  kms_proxy:
    'list KMS in egress.allow ("kms.*.amazonaws.com"), and let the application attest itself, with the AWS Nitro Enclaves SDK or kmstool',
  api: 'let the application ask /dev/nsm itself, by the library of the AWS Nitro Enclaves SDK',
  spire: 'run the agent in the image, and list its server in egress.allow',
};

/** Of one key. */
export function notUsed(description: string, parse: (value: unknown) => true | Wrong = () => true) {
  const meta = { description: `Of Enclaver, not used: ${description}`, type: NOT_USED, absent: 'absent', json: {} };
  return optional(scalar(meta, parse));
}

/** A list cannot be meant for Enclaver, and would be thought to restrict who may connect. */
function noClients(value: unknown): true | Wrong {
  if (!Array.isArray(value)) return true;
  const hint = 'it says who may connect to one listener: move it to that entry of listeners';
  return { problem: 'a list of clients that holds for no listener', hint };
}

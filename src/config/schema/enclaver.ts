/**
 * The other keys of an Enclaver manifest. They say how to build and run an image, which this program does not do. They are accepted,
 * so that a manifest can be used unchanged, and their values are not read.
 */
import { NOT_USED, optional, scalar, type Wrong } from './builder.ts';

export const enclaverKeys = {
  version: notUsed('The version of the manifest'),
  name: notUsed('The name of the application'),
  target: notUsed('The image that Enclaver builds'),
  sources: notUsed('The images from which it builds; `sources` of clients is a key of `listeners`', noClients),
  signature: notUsed('The key with which it signs the image'),
  defaults: notUsed('The settings with which it runs the enclave'),
  kms_proxy: notUsed('A proxy to AWS KMS that attests for the application'),
  api: notUsed('A server inside the enclave that attests for the application'),
  spire: notUsed('An agent of SPIFFE'),
};

export type EnclaverKey = keyof typeof enclaverKeys;

/** What to do instead, for keys whose absence an application could notice. */
export const INSTEAD: Readonly<Partial<Record<EnclaverKey, string>>> = {
  kms_proxy:
    'list KMS in egress.allow ("kms.*.amazonaws.com"), and let the application attest itself, with the AWS Nitro Enclaves SDK or kmstool',
  api: 'let the application ask /dev/nsm itself, by the library of the AWS Nitro Enclaves SDK',
  spire: 'run the agent in the image, and list its server in egress.allow',
};

/** The schema of one such key. */
export function notUsed(description: string, parse: (value: unknown) => true | Wrong = () => true) {
  const meta = { description: `Of Enclaver, not used: ${description}`, type: NOT_USED, absent: 'absent', json: {} };
  return optional(scalar(meta, parse));
}

/** Refuses a list: it cannot be meant for Enclaver, and a reader would think that it restricts clients. */
function noClients(value: unknown): true | Wrong {
  if (!Array.isArray(value)) return true;
  const hint = 'it says who may connect to one listener: move it to that entry of listeners';
  return { problem: 'a list of clients that holds for no listener', hint };
}

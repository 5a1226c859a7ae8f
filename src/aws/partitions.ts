/**
 * The partitions of AWS, their regions, and the names of the endpoints of KMS. This is the only such table. The default
 * allowlist is generated from it (`make configs`), so a new region is one more word here.
 *
 * Sources, as of November 2026:
 * - regions of aws and aws-us-gov: https://docs.aws.amazon.com/general/latest/gr/rande.html
 * - forms of the names of KMS there: https://docs.aws.amazon.com/general/latest/gr/kms.html
 * - aws-cn: https://docs.amazonaws.cn/en_us/aws/latest/userguide/endpoints-Beijing.html, and -Ningxia.html
 * - all others, and the domains: partitions.json and endpoints.json of the AWS SDKs
 *
 * Some names are on no page that lists names of KMS. They follow the SDKs' rule for the partition: dual-stack in
 * aws-cn, aws-eusc and aws-iso*, and FIPS in us-isob-west-1. No source lists FIPS endpoints of KMS in aws-cn and
 * aws-eusc, so these have `fips: false`.
 */

import { type Hostname, parseHostname } from '../access/address.ts';
import { VsockProxyError } from '../platform/errors.ts';
import { quoteBriefly } from '../platform/escape.ts';

export interface Partition {
  readonly id: string;
  /** A title for people. */
  readonly title: string;
  readonly domain: string;
  readonly dualStackDomain: string;
  /** Whether KMS has FIPS endpoints there. */
  readonly fips: boolean;
  readonly regions: readonly string[];
}

export const PARTITIONS: readonly Partition[] = [
  {
    id: 'aws',
    title: 'commercial regions',
    domain: 'amazonaws.com',
    dualStackDomain: 'api.aws',
    fips: true,
    regions: words(`
      af-south-1
      ap-east-1 ap-east-2
      ap-northeast-1 ap-northeast-2 ap-northeast-3
      ap-south-1 ap-south-2
      ap-southeast-1 ap-southeast-2 ap-southeast-3 ap-southeast-4 ap-southeast-5 ap-southeast-6 ap-southeast-7
      ca-central-1 ca-west-1
      eu-central-1 eu-central-2 eu-north-1 eu-south-1 eu-south-2 eu-west-1 eu-west-2 eu-west-3
      il-central-1
      me-central-1 me-south-1
      mx-central-1
      sa-east-1
      us-east-1 us-east-2 us-west-1 us-west-2
    `),
  },
  {
    id: 'aws-us-gov',
    title: 'AWS GovCloud (US)',
    domain: 'amazonaws.com',
    dualStackDomain: 'api.aws',
    fips: true,
    regions: words('us-gov-east-1 us-gov-west-1'),
  },
  {
    id: 'aws-cn',
    title: 'China',
    domain: 'amazonaws.com.cn',
    dualStackDomain: 'api.amazonwebservices.com.cn',
    fips: false,
    regions: words('cn-north-1 cn-northwest-1'),
  },
  {
    id: 'aws-eusc',
    title: 'AWS European Sovereign Cloud',
    domain: 'amazonaws.eu',
    dualStackDomain: 'api.amazonwebservices.eu',
    fips: false,
    regions: words('eusc-de-east-1'),
  },
  {
    id: 'aws-iso',
    title: 'AWS Top Secret',
    domain: 'c2s.ic.gov',
    dualStackDomain: 'api.aws.ic.gov',
    fips: true,
    regions: words('us-iso-east-1 us-iso-west-1'),
  },
  {
    id: 'aws-iso-b',
    title: 'AWS Secret',
    domain: 'sc2s.sgov.gov',
    dualStackDomain: 'api.aws.scloud',
    fips: true,
    regions: words('us-isob-east-1 us-isob-west-1'),
  },
  {
    id: 'aws-iso-e',
    title: 'isolated, Europe',
    domain: 'cloud.adc-e.uk',
    dualStackDomain: 'api.cloud-aws.adc-e.uk',
    fips: true,
    regions: words('eu-isoe-west-1'),
  },
  {
    id: 'aws-iso-f',
    title: 'isolated, US',
    domain: 'csp.hci.ic.gov',
    dualStackDomain: 'api.aws.hci.ic.gov',
    fips: true,
    regions: words('us-isof-east-1 us-isof-south-1'),
  },
];

/**
 * The name of a region, such as `us-gov-east-1`. It becomes a label of host names, an argument, and a line of a file.
 */
export type Region = string & { readonly __brand: 'Region' };

/** Where an instance runs: its region, and the domain of the services of its partition. */
export interface Placement {
  readonly region: Region;
  readonly domain: Hostname;
}

export interface EndpointForm {
  /** With cryptography validated under FIPS 140. */
  readonly fips: boolean;
  /** With IPv6 addresses in addition to IPv4. */
  readonly dualStack: boolean;
}

const REGION = /^[a-z]{2,8}(?:-[a-z]{2,16}){1,3}-[1-9]\d?$/;

/** The text as a region, if it has the form of a region's name, known or not; otherwise undefined. */
export function parseRegion(text: string): Region | undefined {
  return REGION.test(text) ? (text as Region) : undefined;
}

/** The text as a domain, if it is a normalised host name of two labels or more; otherwise undefined. */
export function parseDomain(text: string): Hostname | undefined {
  const name = parseHostname(text);
  return name === text && name.includes('.') ? name : undefined;
}

/** The domain of the partition that lists the region; undefined if none does. */
export function domainOf(region: Region): Hostname | undefined {
  const domain = PARTITIONS.find(({ regions }) => regions.includes(region))?.domain;
  return domain === undefined ? undefined : parseDomain(domain);
}

/**
 * The host name of KMS. The plain form is the same everywhere, also in regions and partitions that the table does not
 * list. The other forms need a partition that the table lists and that has them.
 * @throws VsockProxyError `argument`
 */
export function kmsEndpoint({ region, domain }: Placement, form: EndpointForm): Hostname {
  const suffix = form.fips || form.dualStack ? suffixOf(domain, form) : domain;
  const name = parseHostname(`${form.fips ? 'kms-fips' : 'kms'}.${region}.${suffix}`);
  if (typeof name === 'string') return name;
  throw new VsockProxyError('argument', `No host name can be made of this region and domain: ${name.problem}`);
}

function suffixOf(domain: Hostname, { fips, dualStack }: EndpointForm): string {
  // Partitions that share a domain have the same values for everything that is used here.
  const partition = PARTITIONS.find((candidate) => candidate.domain === domain);
  if (partition === undefined) {
    throw new VsockProxyError(
      'argument',
      `Only the plain endpoint of KMS is known for the domain ${quoteBriefly(domain)}, not FIPS or dual-stack`,
      { hint: GIVE_NAME },
    );
  }
  if (fips && !partition.fips) {
    throw new VsockProxyError('argument', `KMS has no FIPS endpoint in the partition ${partition.id}`, {
      hint: GIVE_NAME,
    });
  }
  return dualStack ? partition.dualStackDomain : partition.domain;
}

const GIVE_NAME = 'if you know its name, give that: VSOCK_PROXY_KMS_ENDPOINT';

function words(text: string): readonly string[] {
  return text.trim().split(/\s+/);
}

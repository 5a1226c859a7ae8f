import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import {
  domainOf,
  kmsEndpoint,
  PARTITIONS,
  type Placement,
  parseDomain,
  parseRegion,
} from '../../../src/aws/partitions.ts';
import { VsockProxyError } from '../../../src/platform/errors.ts';

function placement(regionText: string, domainText?: string): Placement {
  const region = parseRegion(regionText);
  assert(region !== undefined, regionText);
  const domain = domainText === undefined ? domainOf(region) : parseDomain(domainText);
  assert(domain !== undefined, domainText ?? regionText);
  return { region, domain };
}

const FORMS = {
  plain: { fips: false, dualStack: false },
  fips: { fips: true, dualStack: false },
  dualStack: { fips: false, dualStack: true },
  both: { fips: true, dualStack: true },
};

describe('a form of the endpoint that KMS does not have there is an error', () => {
  const cases: readonly (readonly [
    region: string,
    domain: string | undefined,
    form: keyof typeof FORMS,
    says: RegExp,
  ])[] = [
    ['cn-north-1', undefined, 'fips', /^KMS has no FIPS endpoint in the partition aws-cn\. Hint: .*KMS_ENDPOINT/],
    ['cn-northwest-1', undefined, 'both', /^KMS has no FIPS endpoint in the partition aws-cn\./],
    ['eusc-de-east-1', undefined, 'fips', /^KMS has no FIPS endpoint in the partition aws-eusc\./],
    ['xy-new-east-1', 'new.example', 'fips', /^Only the plain endpoint of KMS is known for the domain "new\.example"/],
    ['xy-new-east-1', 'new.example', 'dualStack', /^Only the plain endpoint/],
  ];
  for (const [region, domain, form, says] of cases) {
    it(`${region} ${form}`, () => {
      assert.throws(
        () => kmsEndpoint(placement(region, domain), FORMS[form]),
        (error) => error instanceof VsockProxyError && error.code === 'argument' && says.test(error.line),
      );
    });
  }

  it('a domain that leaves no room for a name', () => {
    const domain = `${'a.'.repeat(120)}example`;
    assert.throws(() => kmsEndpoint(placement('eu-west-1', domain), FORMS.plain), /No host name .* characters long/);
  });
});

describe('what is no region', () => {
  for (const text of [
    '',
    'eu',
    'eu-west',
    'eu-west-0',
    'eu-west-1a',
    'EU-WEST-1',
    'eu-west-1.evil.example',
    'eu-west-1 ',
    'eu-west-1\n',
    '-eu-west-1',
    'eu_west_1',
    'us-east-1\nKMS_ENDPOINT=x',
    `eu-${'a'.repeat(64)}-1`,
    'ёu-west-1',
  ]) {
    it(JSON.stringify(text), () => assert.equal(parseRegion(text), undefined));
  }
});

describe('what is no domain of a partition', () => {
  for (const text of [
    '',
    'com',
    'AMAZONAWS.COM',
    'amazonaws.com.',
    'amazonaws..com',
    'a b.com',
    '10.0.0.1',
    'x.com\n',
    '*.com',
  ]) {
    it(JSON.stringify(text), () => assert.equal(parseDomain(text), undefined));
  }
});

describe('the name of KMS', () => {
  const cases: readonly (readonly [region: string, form: keyof typeof FORMS, name: string])[] = [
    ['us-east-1', 'plain', 'kms.us-east-1.amazonaws.com'],
    ['us-east-1', 'fips', 'kms-fips.us-east-1.amazonaws.com'],
    ['us-east-1', 'dualStack', 'kms.us-east-1.api.aws'],
    ['us-east-1', 'both', 'kms-fips.us-east-1.api.aws'],
    ['us-gov-west-1', 'plain', 'kms.us-gov-west-1.amazonaws.com'],
    ['us-gov-west-1', 'both', 'kms-fips.us-gov-west-1.api.aws'],
    ['cn-north-1', 'plain', 'kms.cn-north-1.amazonaws.com.cn'],
    ['cn-northwest-1', 'dualStack', 'kms.cn-northwest-1.api.amazonwebservices.com.cn'],
    ['eusc-de-east-1', 'plain', 'kms.eusc-de-east-1.amazonaws.eu'],
    ['eusc-de-east-1', 'dualStack', 'kms.eusc-de-east-1.api.amazonwebservices.eu'],
    ['us-iso-east-1', 'fips', 'kms-fips.us-iso-east-1.c2s.ic.gov'],
    ['us-iso-west-1', 'dualStack', 'kms.us-iso-west-1.api.aws.ic.gov'],
    ['us-isob-east-1', 'fips', 'kms-fips.us-isob-east-1.sc2s.sgov.gov'],
    ['us-isob-west-1', 'dualStack', 'kms.us-isob-west-1.api.aws.scloud'],
    ['eu-isoe-west-1', 'fips', 'kms-fips.eu-isoe-west-1.cloud.adc-e.uk'],
    ['eu-isoe-west-1', 'dualStack', 'kms.eu-isoe-west-1.api.cloud-aws.adc-e.uk'],
    ['us-isof-south-1', 'fips', 'kms-fips.us-isof-south-1.csp.hci.ic.gov'],
    ['us-isof-east-1', 'dualStack', 'kms.us-isof-east-1.api.aws.hci.ic.gov'],
  ];
  for (const [region, form, name] of cases) {
    it(name, () => assert.equal(kmsEndpoint(placement(region), FORMS[form]), name));
  }

  it('in a region and a partition that are not in the table', () => {
    assert.equal(kmsEndpoint(placement('ap-south-9', 'amazonaws.com'), FORMS.both), 'kms-fips.ap-south-9.api.aws');
    assert.equal(kmsEndpoint(placement('xy-new-east-1', 'new.example'), FORMS.plain), 'kms.xy-new-east-1.new.example');
  });
});

describe('the table', () => {
  it('lists every region once, and only what is a region', () => {
    const regions = PARTITIONS.flatMap((partition) => partition.regions);
    assert.equal(new Set(regions).size, regions.length);
    for (const region of regions) assert.notEqual(parseRegion(region), undefined, region);
  });

  it('has the same facts where partitions share a domain', () => {
    for (const { domain, dualStackDomain, fips } of PARTITIONS) {
      const first = PARTITIONS.find((partition) => partition.domain === domain);
      assert.deepEqual([dualStackDomain, fips], [first?.dualStackDomain, first?.fips], domain);
    }
  });
});

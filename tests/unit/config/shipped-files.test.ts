/** The files in configs/: those that the package installs, and examples. */
import assert from 'node:assert/strict';
import { readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import { fileURLToPath } from 'node:url';
import { renderAllowlist } from '../../../scripts/allowlist.ts';
import { findDenial } from '../../../src/access/authorize.ts';
import { domainOf, kmsEndpoint, PARTITIONS, parseRegion } from '../../../src/aws/partitions.ts';
import { inspectText, loadFile } from '../../../src/config/load.ts';
import { globalPolicy } from '../../../src/config/partial-plan.ts';
import { request, target } from '../access/fixture.ts';

const CONFIGS = fileURLToPath(new URL('../../../configs/', import.meta.url));
const DEFAULT = join(CONFIGS, 'vsock-proxy.yaml');

/** The regions in the allowlist of version 1.5.0 of the Nitro CLI, each with kms and kms-fips. */
const REGIONS_OF_AWS_PROXY = `
  af-south-1 ap-east-1 ap-east-2 ap-northeast-1 ap-northeast-2 ap-northeast-3 ap-south-1 ap-south-2 ap-southeast-1
  ap-southeast-2 ap-southeast-3 ap-southeast-4 ap-southeast-5 ap-southeast-6 ap-southeast-7 ca-central-1 ca-west-1
  cn-north-1 cn-northwest-1 eu-central-1 eu-central-2 eu-north-1 eu-south-1 eu-south-2 eu-west-1 eu-west-2 eu-west-3
  il-central-1 me-central-1 me-south-1 mx-central-1 sa-east-1 us-east-1 us-east-2 us-gov-east-1 us-gov-west-1 us-west-1
  us-west-2
`
  .trim()
  .split(/\s+/);

suite('the default allowlist', () => {
  const file = loadFile(DEFAULT, 'proxy');
  const policy = globalPolicy(file);
  const decide = (written: string) => findDenial(request(policy, target(written)))?.kind ?? 'allowed';

  for (const written of [
    'kms.eu-west-1.amazonaws.com 80',
    'kms.eu-west-1.amazonaws.com 8443',
    'kms.s3.amazonaws.com 443',
    'kms.eu-west-9.amazonaws.com 443',
    'evil.kms.eu-west-1.amazonaws.com 443',
    'kms.eu-west-1.amazonaws.com.evil.example 443',
    'secretsmanager.eu-west-1.amazonaws.com 443',
  ]) {
    test(`denies ${written}`, () => assert.equal(decide(written), 'denied'));
  }

  test('has nothing but names of KMS, on port 443, none of them twice', () => {
    const names = policy.allow.map(({ address }) =>
      address.kind === 'name' ? address.name : assert.fail(address.kind),
    );
    for (const name of names) assert.match(name, /^kms(-fips)?\.[a-z-]+-\d\.[a-z0-9.-]+$/);
    assert.deepEqual(
      policy.allow.filter(({ text }) => decide(`${text} 443`) !== 'allowed'),
      [],
    );
    assert.equal(new Set(names).size, names.length);
    assert.deepEqual(policy.deny, []);
  });

  test("allows everything that the file of AWS's proxy allows, and what it means in China", () => {
    assert.equal(REGIONS_OF_AWS_PROXY.length, 38);
    for (const region of REGIONS_OF_AWS_PROXY) {
      for (const name of [`kms.${region}.amazonaws.com`, `kms-fips.${region}.amazonaws.com`]) {
        assert.equal(decide(`${name} 443`), 'allowed', name);
        if (region.startsWith('cn-')) assert.equal(decide(`${name}.cn 443`), 'allowed', name);
      }
    }
  });

  test('allows every name that kms-endpoint makes', () => {
    let count = 0;
    for (const { fips: hasFips, regions } of PARTITIONS) {
      for (const text of regions) {
        const region = parseRegion(text);
        const domain = region && domainOf(region);
        assert(region !== undefined && domain !== undefined);
        for (const fips of hasFips ? [false, true] : [false]) {
          for (const dualStack of [false, true]) {
            const name = kmsEndpoint({ region, domain }, { fips, dualStack });
            assert.equal(decide(`${name} 443`), 'allowed', name);
            count += 1;
          }
        }
      }
    }
    assert(count > 4 * 38, `${count} names`);
  });

  test('does not let the fifth client wait', () => assert.equal(file.settings.limits.connections, 1000));

  test('is what "make configs" writes', () => assert.equal(readFileSync(DEFAULT, 'utf8'), renderAllowlist()));
});

/** The change that set-up scripts make to AWS's file, whose lists are not indented. */
const APPENDED = '- {address: added.example, port: 8443}\n';

function assertTakesALine(path: string): void {
  const loaded = inspectText(`${readFileSync(path, 'utf8')}${APPENDED}`, path, 'any');
  assert(!('problems' in loaded), 'problems' in loaded ? loaded.problems.map(({ line }) => line).join('\n') : '');
  assert.equal(findDenial(request(globalPolicy(loaded), target('added.example 8443'))), undefined);
  assert.equal(findDenial(request(globalPolicy(loaded), target('added.example 443')))?.kind, 'denied');
}

test('a line appended to the default allowlist is an entry of it', () => assertTakesALine(DEFAULT));

suite('the examples', () => {
  const examples = readdirSync(join(CONFIGS, 'examples'));
  assert(examples.length > 0);
  for (const name of examples) {
    test(`${name} is a configuration`, () => {
      const { listeners = [], allowlist = [] } = loadFile(join(CONFIGS, 'examples', name), 'any').settings;
      assert(listeners.length + allowlist.length > 0);
    });
    test(`a line appended to ${name} is an entry of its allowlist`, () =>
      assertTakesALine(join(CONFIGS, 'examples', name)));
  }
});

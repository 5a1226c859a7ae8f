/** The template for Packer and the documents that `make ami-documents` makes, as far as they can be judged without running them. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { gunzipSync } from 'node:zlib';
import { parse as parseHcl } from '@cdktn/hcl2json';
import { parse } from 'yaml';
import { run } from '../integration/launch.ts';
import { forOldPacker, PACKER, template } from './packer.ts';
import { PROJECT } from './root.ts';

/** https://developer.hashicorp.com/packer/integrations/hashicorp/amazon/latest/components/builder/ebs, of those that Packer 1.6 lacks. */
const NEWER: Readonly<Record<string, readonly string[]>> = {
  imds_support: [],
  enable_nitro_enclave: [],
  metadata_options: ['http_endpoint', 'http_tokens', 'http_put_response_hop_limit', 'instance_metadata_tags'],
};
/** https://docs.aws.amazon.com/imagebuilder/latest/userguide/toe-use-documents.html */
const IMAGE_BUILDER = {
  phases: ['build', 'validate', 'test', 'container-host-test'],
  failures: ['Abort', 'Continue', 'Ignore'],
  step: ['name', 'action', 'inputs', 'timeoutSeconds', 'onFailure', 'maxAttempts', 'if', 'loop'],
  inputs: { ExecuteBash: ['commands'], Reboot: ['delaySeconds'] },
} as const;

let work: string;
before(() => {
  work = mkdtempSync(join(tmpdir(), 'documents-'));
});
after(() => rmSync(work, { recursive: true }));

suite('Packer', () => {
  before(() => {
    for (const [name, text] of forOldPacker()) writeFileSync(join(work, name), text);
  });
  const packer = (...args: readonly string[]) =>
    run(['env', `HOME=${work}`, 'CHECKPOINT_DISABLE=1', 'packer', ...args]);

  test('the template is formatted', async () => {
    assert.deepEqual(await packer('fmt', '-check', '-diff', PACKER), { status: 0, stdout: '', stderr: '' });
  });

  test('Packer 1.6 finds nothing wrong in all that it can know', async () => {
    const { status, stdout } = await packer('validate', '-var', 'arguments=--cli', work);
    assert.equal(status, 0, stdout);
  });

  test('an argument that the builder does not know is found', async () => {
    const file = join(work, 'sources.pkr.hcl');
    const right = readFileSync(file, 'utf8');
    writeFileSync(file, right.replace('encrypt_boot ', 'encrypt_bot '));
    const { status, stdout } = await packer('validate', '-var', 'arguments=--cli', work);
    assert.notEqual(status, 0);
    assert.match(stdout, /encrypt_bot/);
    writeFileSync(file, right);
  });

  test('the whole of it is HCL, and what Packer 1.6 cannot know has names that the plugin documents', async () => {
    const old = new Map(forOldPacker());
    for (const [name, text] of template()) {
      const whole = await parseHcl(name, text);
      const sources = Object.entries<readonly Source[]>(whole.source?.['amazon-ebs'] ?? {});
      const checked = (await parseHcl(name, old.get(name) ?? '')).source?.['amazon-ebs'] ?? {};
      for (const [source, [all = {}]] of sources) {
        const newer = Object.keys(all).filter((key) => !(key in checked[source][0]));
        assert.deepEqual(newer.sort(), Object.keys(NEWER).sort(), source);
        for (const key of newer) {
          const value = all[key];
          for (const inner of Array.isArray(value) ? Object.keys(value[0]) : [])
            assert(NEWER[key]?.includes(inner), inner);
        }
      }
    }
  });

  test('each image asks for encryption, for tokens, and for an instance with enclaves to be built on', async () => {
    const { source } = await parseHcl('sources', readFileSync(join(PACKER, 'sources.pkr.hcl'), 'utf8'));
    const images = Object.entries<readonly Source[]>(source['amazon-ebs']);
    const names = images.map(([name]) => name).sort();
    assert.deepEqual(names, ['al2023_arm64', 'al2023_x86_64', 'al2027_arm64', 'al2027_x86_64']);
    for (const [name, [image = {}]] of images) {
      const [system, ...machine] = name.split('_');
      const told = JSON.stringify(image);
      assert.deepEqual(
        [image.encrypt_boot, image.imds_support, image.enable_nitro_enclave],
        [true, 'v2.0', true],
        name,
      );
      assert.match(told, /"http_tokens":"required"/);
      assert.match(told, new RegExp(`"architecture":"${machine.join('_')}".*"name":"\\$\\{var\\.source_${system}\\}`));
      assert.match(told, /"VsockProxy":"\$\{var\.version\}"/);
    }
  });

  test('Terraform: the launch template is HCL, with enclaves enabled and tokens required', async () => {
    const text = readFileSync(join(PROJECT, 'packaging/ami/terraform/main.tf'), 'utf8');
    const { resource } = await parseHcl('main.tf', text);
    const [launch] = resource.aws_launch_template.parent;
    assert.deepEqual(launch.enclave_options, [{ enabled: true }]);
    assert.equal(launch.metadata_options[0].http_tokens, 'required');
    await assert.rejects(parseHcl('main.tf', text.replace('{', '')));
  });
});

type Source = Readonly<Record<string, unknown>>;

interface Component {
  readonly schemaVersion: number;
  readonly parameters: readonly Readonly<Record<string, { readonly type: string }>>[];
  readonly phases: readonly {
    readonly name: string;
    readonly steps: readonly {
      readonly name: string;
      readonly action: keyof typeof IMAGE_BUILDER.inputs;
      readonly onFailure: string;
      readonly inputs: Readonly<Record<string, unknown>>;
    }[];
  }[];
}

suite('documents', () => {
  const ARGUMENTS = '--repo https://repo.example.com --key key.asc --cli --cpus 50% --memory 25%';
  const file = (name: string) => readFileSync(join(work, 'out', name), 'utf8');
  const make = (args: string, files: string, out = join(work, 'out')) =>
    run(['env', '-C', PROJECT, process.execPath, 'scripts/ami-documents.ts', args, files, out]);

  before(async () => {
    execFileSync('mkdir', [join(work, 'files')]);
    writeFileSync(join(work, 'files/key.asc'), 'a key\n');
    const { status, stderr } = await make(ARGUMENTS, join(work, 'files'));
    assert.equal(status, 0, stderr);
  });

  test('each carries the same program, without its comments, and the same arguments', async () => {
    const written = join(PROJECT, 'packaging/ami/provision');
    const [carried = ''] = /H4sI[\w+/=]{1000,}/.exec(file('user-data.yaml')) ?? [];
    const program = gunzipSync(Buffer.from(carried, 'base64')).toString();
    const kept = program.split('\n');
    const dropped = readFileSync(written, 'utf8')
      .split('\n')
      .filter((line) => line !== kept[0] || kept.shift() === undefined);
    assert.deepEqual(kept, []);
    assert.ok(dropped.length > 10);
    for (const line of dropped) assert.match(line, /^ *#/);
    assert.match(program, /^# Written by provision, of the package/m);
    writeFileSync(join(work, 'carried'), program);
    const helpOf = async (path: string) => (await run(['bash', path, '--help'])).stdout;
    assert.equal(await helpOf(join(work, 'carried')), await helpOf(written));
    for (const name of ['user-data.yaml', 'user-data.mime', 'component.yaml', 'image-builder.yaml']) {
      const text = name === 'image-builder.yaml' ? parse(file(name)).Resources.Component.Properties.Data : file(name);
      const [base64 = ''] = /H4sI[\w+/=]{1000,}/.exec(text) ?? [];
      assert.equal(gunzipSync(Buffer.from(base64, 'base64')).toString(), program, name);
      assert(text.includes(ARGUMENTS), name);
    }
    const data = parse(file('launch-template.yaml')).Resources.Template.Properties.LaunchTemplateData.UserData[
      'Fn::If'
    ][1];
    assert.equal(Buffer.from(data, 'base64').toString(), file('user-data.mime'));
  });

  test('a file of the machine, or one that it fetches, is not looked for here', async () => {
    const out = join(work, 'elsewhere');
    for (const args of [
      '--repo https://repo.example.com --key /etc/pki/rpm-gpg/key',
      '--rpm s3://bucket/a.rpm --key https://a/key',
      '--allowlist ./key.asc',
    ])
      assert.equal((await make(args, join(work, 'files'), out)).status, 0, args);
  });

  test('two runs give the same bytes', async () => {
    const first = readdirSync(join(work, 'out')).map((name) => file(name));
    await make(ARGUMENTS, join(work, 'files'));
    assert.deepEqual(
      readdirSync(join(work, 'out')).map((name) => file(name)),
      first,
    );
  });

  test('the component is as EC2 Image Builder wants it', () => {
    const component: Component = parse(file('component.yaml'));
    assert.match(file('component.yaml'), /^schemaVersion: 1\.0$/m);
    for (const [parameter = {}] of component.parameters.map((one) => Object.values(one))) {
      assert.equal((parameter as { readonly type: string }).type, 'string');
    }
    assert.deepEqual(
      component.phases.map(({ name }) => name),
      IMAGE_BUILDER.phases.slice(0, 3),
    );
    for (const step of component.phases.flatMap(({ steps }) => steps)) {
      for (const key of Object.keys(step)) assert((IMAGE_BUILDER.step as readonly string[]).includes(key), key);
      assert((IMAGE_BUILDER.failures as readonly string[]).includes(step.onFailure), step.onFailure);
      assert.deepEqual(Object.keys(step.inputs), IMAGE_BUILDER.inputs[step.action], step.name);
    }
  });

  for (const [what, args, files, said] of [
    ['no arguments', '', 'files', /the arguments of provision are empty/],
    [
      'arguments of a shell',
      '--repo $(id)',
      'files',
      /the arguments have a character that is not taken: --repo \$\(id\)/,
    ],
    ['no files', '--cli', 'none', /none is no directory/],
    ['a file for the files', '--cli', 'files/key.asc', /files\/key\.asc is no directory/],
    ['an argument that provision does not know', '--foo', 'files', /unknown argument --foo/],
    ['an argument that provision refuses', '--repo https://repo.example.com', 'files', /--repo is given without --key/],
    ['an option without its value', '--cli --member', 'files', /--member takes a value/],
    ['help', '--cli --help', 'files', /--help provisions nothing/],
    [
      'a key that is not among the files',
      '--repo https://repo.example.com --key nokey.asc',
      'files',
      /--key: nokey\.asc is not among the files\. Hint: AMI_FILES/,
    ],
    ['an allowlist without files', '--allowlist key.asc', '', /--allowlist: key\.asc is not among the files/],
    ['more than AWS takes', '--cli', 'large', /user-data\.yaml has \d+ bytes, of 16384 that AWS takes/],
  ] as const) {
    test(`${what}: refused in one line, and nothing is written`, async () => {
      execFileSync('mkdir', ['-p', join(work, 'large')]);
      execFileSync('sh', ['-c', `head -c 20000 /dev/urandom >${join(work, 'large/a')}`]);
      const kept = readdirSync(join(work, 'out')).map((name) => file(name));
      const { status, stderr } = await make(args, files === '' ? '' : join(work, files));
      assert.equal(status, 1);
      assert.match(stderr, said);
      assert.match(stderr, /^ami-documents: .*\. Hint: .*\n$/);
      assert.deepEqual(
        readdirSync(join(work, 'out')).map((name) => file(name)),
        kept,
      );
    });
  }
});

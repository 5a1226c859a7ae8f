/**
 * ami-documents.ts ARGUMENTS [FILES [DIRECTORY]]: writes into the directory, or build/ami, what makes parents of enclaves without
 * Packer; `make ami-documents` calls it. Each of them carries packaging/ami/provision, and calls it with these arguments.
 *
 *   user-data.yaml, user-data.mime   for instances that are provisioned at their first boot: cloud-config, and a script in MIME
 *                                    multipart, which can be joined with other parts
 *   component.yaml                   for EC2 Image Builder
 *   image-builder.yaml               a CloudFormation stack of component, recipe, infrastructure and pipeline
 *   launch-template.yaml             a CloudFormation stack of a launch template
 *
 * FILES is a directory, which the documents carry, too: the arguments name its files as they are called in it.
 * `provision files` checks the arguments. Absolute paths are those of the machine, and are not looked for here.
 */
import { spawnSync } from 'node:child_process';
import { mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { isAbsolute, join, normalize } from 'node:path';
import { gzipSync } from 'node:zlib';
import * as yaml from 'yaml';

/** The directory of the files on the machine, until it is provisioned. */
const PLACE = '/var/lib/nitro-enclaves-vsock-proxy-files';
const PROVISION = 'packaging/ami/provision';
const VALIDATE = '/usr/libexec/nitro-enclaves-vsock-proxy/validate';
/** EC2's limit, before the encoding in base64. */
const LONGEST_USER_DATA = 16_384;
/** The limit of EC2 Image Builder for a component that is not in S3. */
const LONGEST_COMPONENT = 16_000;

/** A file for the machine: its name, and its compressed content. */
interface Carried {
  readonly name: string;
  readonly base64: string;
}

/** Writes YAML 1.1, which cloud-init, CloudFormation and Image Builder read; there `yes` without quotes is not text. */
function stringify(document: object): string {
  return yaml.stringify(document, { lineWidth: 0, version: '1.1' });
}

function fail(problem: string, hint: string): never {
  console.error(`ami-documents: ${problem}. Hint: ${hint}`);
  process.exit(1);
}

function carry(name: string, bytes: Uint8Array): Carried {
  return { name, base64: gzipSync(bytes, { level: 9 }).toString('base64') };
}

/** Provision as the documents carry it: with its head, which --help prints, and without the comments below, for want of room. */
function provisionScript(): Buffer {
  const lines = readFileSync(PROVISION, 'utf8').split('\n');
  const body = lines.findIndex((line) => line.startsWith('set '));
  let isText = false; // within a here-document
  const kept = lines.filter((line, index) => {
    if (line === 'END') isText = false;
    const keep = index < body || isText || !/^\s*#/.test(line);
    if (line.includes('<<END')) isText = true;
    return keep;
  });
  return Buffer.from(kept.join('\n'));
}

/** The arguments are such as provision takes, and what they name is carried. */
function check(args: string, carried: readonly Carried[]): void {
  const words = args.trim().split(/ +/);
  if (words.includes('--help')) fail('--help provisions nothing', `bash ${PROVISION} --help`);
  const { status, stdout, stderr } = spawnSync('bash', [PROVISION, 'files', ...words], { encoding: 'utf8' });
  if (status !== 0) {
    console.error(stderr.trimEnd().replace(/^provision: /, 'ami-documents: '));
    process.exit(1);
  }
  for (const line of stdout.split('\n').filter((line) => line !== '')) {
    const [option = '', file = ''] = line.split(' ');
    if (!isAbsolute(file) && !carried.some(({ name }) => name === normalize(file)))
      fail(`${option}: ${file} is not among the files`, 'AMI_FILES is the directory that has it');
  }
}

/** The commands of bash that provision the machine, with files that are there or that they write. */
function provisioning(args: string, carried: readonly Carried[]): readonly string[] {
  return [
    'set -e',
    ...(carried.length > 0 ? [`install -d -m 755 ${PLACE}`] : []),
    `cd ${PLACE}`,
    ...carried.map(({ name, base64 }) => `base64 -d <<<'${base64}' | gunzip >${name}`),
    `bash ./provision ${args}`,
    'cd /',
    `rm -rf ${PLACE}`,
  ];
}

function cloudConfig(args: string, carried: readonly Carried[]): string {
  const files = carried.map(({ name, base64 }) => ({
    path: `${PLACE}/${name}`,
    encoding: 'gz+b64',
    permissions: '0644',
    content: base64,
  }));
  const command = ['bash', '-c', provisioning(args, []).join('\n')];
  return `#cloud-config\n${stringify({ write_files: files, runcmd: [command] })}`;
}

function script(args: string, carried: readonly Carried[]): string {
  return `#!/bin/bash\n${provisioning(args, carried).join('\n')}\n`;
}

function multipart(text: string): string {
  const boundary = '==nitro-enclaves-vsock-proxy==';
  return [
    'MIME-Version: 1.0',
    `Content-Type: multipart/mixed; boundary="${boundary}"`,
    '',
    `--${boundary}`,
    'Content-Type: text/x-shellscript; charset="us-ascii"',
    'Content-Transfer-Encoding: 7bit',
    'Content-Disposition: attachment; filename="nitro-enclaves-vsock-proxy.sh"',
    '',
    text,
    `--${boundary}--`,
    '',
  ].join('\n');
}

/** https://docs.aws.amazon.com/imagebuilder/latest/userguide/toe-use-documents.html */
function component(args: string, carried: readonly Carried[]): string {
  const step = (name: string, commands: readonly string[]) => ({
    name,
    action: 'ExecuteBash',
    onFailure: 'Abort',
    timeoutSeconds: 1800,
    inputs: { commands: [`${commands.join('\n')}\n`] },
  });
  const document = {
    name: 'nitro-enclaves-vsock-proxy',
    description: 'A parent of AWS Nitro Enclaves, with vsock-proxy',
    schemaVersion: 1.0,
    parameters: [
      { Arguments: { type: 'string', default: args, description: 'Of provision, behind --image' } },
      // A build instance of Image Builder has no Nitro Enclaves, so no service can run there.
      {
        Validate: {
          type: 'string',
          default: '--installed',
          description: 'Of validate: --running where enclaves are enabled',
        },
      },
    ],
    phases: [
      {
        name: 'build',
        steps: [
          step('Provision', provisioning('--image {{ Arguments }}', carried)),
          { name: 'Reboot', action: 'Reboot', onFailure: 'Abort', maxAttempts: 1, inputs: { delaySeconds: 1 } },
        ],
      },
      { name: 'validate', steps: [step('Validate', [`${VALIDATE} {{ Validate }}`])] },
      { name: 'test', steps: [step('Test', [`${VALIDATE} {{ Validate }}`])] },
    ],
  };
  // Its documentation writes the version as a number with a point.
  return stringify(document).replace('schemaVersion: 1\n', 'schemaVersion: 1.0\n');
}

const text = (description: string, value?: string) => ({
  Type: 'String',
  Description: description,
  ...(value === undefined ? {} : { Default: value }),
});

function imageBuilderStack(data: string, version: string): string {
  return cloudFormation('EC2 Image Builder: images of parents of Nitro Enclaves, with vsock-proxy', {
    Parameters: {
      Name: text('Of all that is made', 'nitro-enclaves-parent'),
      ComponentVersion: text('To be raised whenever the component changes', '1.0.0'),
      ParentImage: text(
        'An ARN, such as arn:aws:imagebuilder:us-east-1:aws:image/amazon-linux-2023-x86/x.x.x, or the id of an image',
      ),
      InstanceType: text('Of the machine that builds', 'm6i.large'),
      InstanceProfile: text('With EC2InstanceProfileForImageBuilder and AmazonSSMManagedInstanceCore'),
    },
    Resources: {
      Component: {
        Type: 'AWS::ImageBuilder::Component',
        Properties: {
          Name: { Ref: 'Name' },
          Version: { Ref: 'ComponentVersion' },
          Platform: 'Linux',
          SupportedOsVersions: ['Amazon Linux 2023'],
          Data: data,
        },
      },
      Recipe: {
        Type: 'AWS::ImageBuilder::ImageRecipe',
        Properties: {
          Name: { Ref: 'Name' },
          Version: { Ref: 'ComponentVersion' },
          ParentImage: { Ref: 'ParentImage' },
          Components: [{ ComponentArn: { Ref: 'Component' } }],
          BlockDeviceMappings: [
            {
              DeviceName: '/dev/xvda',
              Ebs: { Encrypted: true, VolumeType: 'gp3', VolumeSize: 8, DeleteOnTermination: true },
            },
          ],
        },
      },
      Infrastructure: {
        Type: 'AWS::ImageBuilder::InfrastructureConfiguration',
        Properties: {
          Name: { Ref: 'Name' },
          InstanceTypes: [{ Ref: 'InstanceType' }],
          InstanceProfileName: { Ref: 'InstanceProfile' },
          InstanceMetadataOptions: { HttpTokens: 'required', HttpPutResponseHopLimit: 1 },
          TerminateInstanceOnFailure: true,
        },
      },
      Distribution: {
        Type: 'AWS::ImageBuilder::DistributionConfiguration',
        Properties: {
          Name: { Ref: 'Name' },
          Distributions: [
            {
              Region: { Ref: 'AWS::Region' },
              AmiDistributionConfiguration: {
                Name: { 'Fn::Sub': `\${Name}-{{ imagebuilder:buildDate }}` },
                AmiTags: { VsockProxy: version },
              },
            },
          ],
        },
      },
      Pipeline: {
        Type: 'AWS::ImageBuilder::ImagePipeline',
        Properties: {
          Name: { Ref: 'Name' },
          ImageRecipeArn: { Ref: 'Recipe' },
          InfrastructureConfigurationArn: { Ref: 'Infrastructure' },
          DistributionConfigurationArn: { Ref: 'Distribution' },
          ImageTestsConfiguration: { ImageTestsEnabled: true, TimeoutMinutes: 60 },
        },
      },
    },
    Outputs: { Pipeline: { Value: { Ref: 'Pipeline' } } },
  });
}

function launchTemplateStack(userData: string): string {
  return cloudFormation('A launch template for parents of Nitro Enclaves', {
    Parameters: {
      Name: text('Of the template, and of the instances', 'nitro-enclaves-parent'),
      ImageId: { Type: 'AWS::EC2::Image::Id', Description: 'One that is ready, or Amazon Linux' },
      InstanceType: text('With 4 vCPUs or more, or 2 on Graviton', 'm6i.xlarge'),
      Provision: {
        ...text('yes: the image is Amazon Linux, and becomes a parent at its first boot', 'no'),
        AllowedValues: ['yes', 'no'],
      },
    },
    Conditions: { Provisions: { 'Fn::Equals': [{ Ref: 'Provision' }, 'yes'] } },
    Resources: {
      Template: {
        Type: 'AWS::EC2::LaunchTemplate',
        Properties: {
          LaunchTemplateName: { Ref: 'Name' },
          LaunchTemplateData: {
            ImageId: { Ref: 'ImageId' },
            InstanceType: { Ref: 'InstanceType' },
            EnclaveOptions: { Enabled: true },
            // If an account has HttpTokensEnforced, an instance does not launch without it.
            MetadataOptions: { HttpEndpoint: 'enabled', HttpTokens: 'required', HttpPutResponseHopLimit: 1 },
            UserData: { 'Fn::If': ['Provisions', Buffer.from(userData).toString('base64'), { Ref: 'AWS::NoValue' }] },
            TagSpecifications: [{ ResourceType: 'instance', Tags: [{ Key: 'Name', Value: { Ref: 'Name' } }] }],
          },
        },
      },
    },
    Outputs: {
      Template: { Value: { Ref: 'Template' } },
      Version: { Value: { 'Fn::GetAtt': ['Template', 'LatestVersionNumber'] } },
    },
  });
}

function cloudFormation(description: string, sections: object): string {
  const template = { AWSTemplateFormatVersion: '2010-09-09', Description: description, ...sections };
  return stringify(template);
}

const [args = '', files = '', out = 'build/ami'] = process.argv.slice(2);
if (args === '')
  fail('the arguments of provision are empty', "make ami-documents AMI_ARGUMENTS='--repo https://… --key key.asc'");
// The arguments become words of shells, of cloud-init and of Image Builder. In all of them these characters have no
// special meaning.
if (!/^[\w ./:%@+=,-]+$/.test(args))
  fail(`the arguments have a character that is not taken: ${args}`, 'rename files, if need be');
if (files !== '' && !statSync(files, { throwIfNoEntry: false })?.isDirectory())
  fail(`${files} is no directory`, 'AMI_FILES is the directory of the files that the arguments name');
const carried = [
  carry('provision', provisionScript()),
  ...(files === ''
    ? []
    : readdirSync(files)
        .sort()
        .map((name) => carry(name, readFileSync(join(files, name))))),
];
for (const { name } of carried)
  if (!/^[\w.-]+$/.test(name)) fail(`${name} is no name for a file here`, 'letters, digits, dot, hyphen');
check(args, carried);

const { version } = JSON.parse(readFileSync('package.json', 'utf8'));
const mime = multipart(script(args, carried));
const data = component(args, carried);
const documents = {
  'user-data.yaml': cloudConfig(args, carried),
  'user-data.mime': mime,
  'component.yaml': data,
  'image-builder.yaml': imageBuilderStack(data, version),
  'launch-template.yaml': launchTemplateStack(mime),
};
for (const [name, limit] of [
  ['user-data.yaml', LONGEST_USER_DATA],
  ['user-data.mime', LONGEST_USER_DATA],
  ['component.yaml', LONGEST_COMPONENT],
] as const) {
  const length = Buffer.byteLength(documents[name]);
  if (length > limit) fail(`${name} has ${length} bytes, of ${limit} that AWS takes`, 'name a URL in place of a file');
}
mkdirSync(out, { recursive: true });
for (const [name, content] of Object.entries(documents)) writeFileSync(join(out, name), content);
console.log(`${out}: ${Object.keys(documents).join(', ')}`);

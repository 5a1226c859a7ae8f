/** The CloudFormation stacks, by the CLI of AWS and by moto, which answers as AWS does; and a package that is fetched from S3. */
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { cpSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, suite, test } from 'node:test';
import { parse } from 'yaml';
import { PROJECT, Root } from './root.ts';
import { KEY_FILE, Keyring, NAME, PACKAGES } from './signing.ts';

/** In front of commands: moto, and how the CLI reaches it. */
const AWS = `
export AWS_ENDPOINT_URL=http://127.0.0.1:5000 AWS_ACCESS_KEY_ID=test AWS_SECRET_ACCESS_KEY=test AWS_DEFAULT_REGION=us-east-1 AWS_PAGER=
moto_server -H 127.0.0.1 -p 5000 >/tmp/moto.log 2>&1 &
until (: >/dev/tcp/127.0.0.1/5000) 2>&-; do kill -0 $! || { cat /tmp/moto.log; exit 1; }; sleep 0.1; done
set -e
`;

suite('AWS, by moto and its own CLI', () => {
  let root: Root;
  before(async () => {
    root = Root.of('trixie');
    const shared = (name: string) => join(root.shared, name);
    using keyring = new Keyring('ours@example.com');
    await keyring.build(shared('repo'), 'ours@example.com', 'https://repo.example.com', PACKAGES.slice(0, 1));
    mkdirSync(shared('files'));
    cpSync(shared(`repo/${KEY_FILE}`), shared('files/key.asc'));
    const args = ['--repo https://repo.example.com --key key.asc', shared('files'), shared('documents')];
    execFileSync(process.execPath, [join(PROJECT, 'scripts/ami-documents.ts'), ...args], { cwd: PROJECT });
  });
  after(() => root?.[Symbol.dispose]());

  test('the stack makes a launch template, with enclaves enabled, tokens required, and user data where it provisions', async () => {
    const out = await root.check(`${AWS}
      image=$(aws ec2 describe-images --query 'Images[0].ImageId' --output text)
      for provision in yes no; do
        aws cloudformation create-stack --stack-name parent-$provision --template-body file:///shared/documents/launch-template.yaml \
          --parameters ParameterKey=ImageId,ParameterValue=$image ParameterKey=Name,ParameterValue=parent-$provision \
          ParameterKey=Provision,ParameterValue=$provision >/dev/null
        aws ec2 describe-launch-template-versions --launch-template-name parent-$provision --debug 2>/shared/$provision.log \
          --query 'LaunchTemplateVersions[0].LaunchTemplateData'
        aws ec2 run-instances --launch-template LaunchTemplateName=parent-$provision >/dev/null
        echo ,
      done`);
    const [provisions, ready] = JSON.parse(`[${out.trim().replace(/,$/, '')}]`);
    for (const data of [provisions, ready]) {
      assert.deepEqual([data.MetadataOptions.HttpTokens, data.InstanceType], ['required', 'm6i.xlarge']);
    }
    assert.equal(
      Buffer.from(provisions.UserData, 'base64').toString(),
      await root.check('cat /shared/documents/user-data.mime'),
    );
    assert.equal(ready.UserData, undefined);
    // moto hands a stack's true on as Python writes it, and the CLI takes that for false.
    for (const name of ['yes', 'no']) {
      assert.match(
        await root.check(`cat /shared/${name}.log`),
        /<enclaveOptions>\s*(?:\\n)?\s*<enabled>True<\/enabled>/,
      );
    }
  });

  test('aws ec2 takes the same data, and enclaves are enabled and tokens required', async () => {
    const stack = parse(readFileSync(join(root.shared, 'documents/launch-template.yaml'), 'utf8'));
    const { UserData: _, ...written } = stack.Resources.Template.Properties.LaunchTemplateData;
    const tags = [{ ResourceType: 'instance', Tags: [{ Key: 'Name', Value: 'parent' }] }];
    const data = { ...written, ImageId: 'ami-03cf127a', InstanceType: 'm6i.xlarge', TagSpecifications: tags };
    writeFileSync(join(root.shared, 'data.json'), JSON.stringify(data));
    const out = await root.check(`${AWS}
      aws ec2 create-launch-template --launch-template-name parent --launch-template-data file:///shared/data.json >/dev/null
      aws ec2 describe-launch-template-versions --launch-template-name parent --query 'LaunchTemplateVersions[0].LaunchTemplateData'`);
    const made = JSON.parse(out);
    assert.deepEqual(made.EnclaveOptions, { Enabled: true });
    assert.deepEqual(made.MetadataOptions, {
      HttpEndpoint: 'enabled',
      HttpTokens: 'required',
      HttpPutResponseHopLimit: 1,
    });
  });

  test('what the stacks say is what the models of the CLI know: each name, each type, each required one', async () => {
    await root.check(
      'python3 /project/tests/ami/models.py /shared/documents/launch-template.yaml /shared/documents/image-builder.yaml',
    );
  });

  test('a name that the models do not know is found', async () => {
    await root.check(
      'sed s/EnclaveOptions/EnclavesOptions/ /shared/documents/launch-template.yaml >/shared/wrong.yaml',
    );
    const { status, stderr } = await root.run('python3 /project/tests/ami/models.py /shared/wrong.yaml');
    assert.notEqual(status, 0);
    assert.match(stderr, /EnclavesOptions/);
  });

  test('package and key come from S3; what is not there is one line, and nothing is installed', async () => {
    await root.check('rpm --install /project/build/e2e-packages/amazon-linux-1.rpm; mkdir -p /etc/yum.repos.d');
    const provision = (name: string) =>
      `bash /project/packaging/ami/provision --image --rpm s3://packages/${name} --key s3://packages/key.asc`;
    const { stdout, stderr } = await root.run(`${AWS}
      aws s3 mb s3://packages >/dev/null
      aws s3 cp --only-show-errors /shared/repo/x86_64/*.rpm s3://packages/proxy.rpm
      aws s3 cp --only-show-errors /shared/files/key.asc s3://packages/key.asc
      ${provision('none.rpm')} || echo "status $?"
      rpm -q ${NAME} || true
      ${provision('proxy.rpm')} && /usr/libexec/${NAME}/validate`);
    assert.match(stderr, /^provision: --rpm: cannot fetch s3:\/\/packages\/none\.rpm: .*404.*\. Hint: .*$/m);
    assert.match(
      stdout,
      /^status 1\npackage .* is not installed\n[\s\S]*provision: done[\s\S]*ok: the group ne is there\n$/m,
    );
  });
});

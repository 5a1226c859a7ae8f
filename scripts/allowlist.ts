/**
 * allowlist.ts: prints the default configuration, configs/vsock-proxy.yaml, from the table in src/aws/partitions.ts.
 *
 * Every name is written out. A pattern such as kms.*.amazonaws.com would be shorter, but it would also allow
 * kms.s3.amazonaws.com. Anybody may own a bucket with the name "kms", and data could leave through it.
 */
import {
  type EndpointForm,
  kmsEndpoint,
  PARTITIONS,
  type Partition,
  parseDomain,
  parseRegion,
} from '../src/aws/partitions.ts';

/**
 * A connection takes about 1 KiB and two descriptors, so this many take a megabyte. AWS's default is 4, and the fifth
 * pooled connection of an SDK waits. 1,000 connections carry 100,000 calls of 10 ms per second.
 */
const CONNECTIONS = 1000;

const HEAD = `\
# This file lets enclaves reach AWS KMS in every region through vsock-proxy, and nothing else.
#
# "make configs" writes it from the table in src/aws/partitions.ts. On an instance you may edit it: updates of the package
# keep a file that was changed. One region is enough for most users: examples/one-region.yaml.
#
# The names are written out, because a pattern such as kms.*.amazonaws.com would also allow kms.s3.amazonaws.com. That
# bucket belongs to the first user who chose the name "kms".
#
# The list is at the end and without indentation, as in AWS's file, so that scripts can append a line to it.

limits:
  # Each open connection takes about 1 KiB. AWS's proxy has 4 workers, and the fifth client waits.
  connections: ${CONNECTIONS}

allowlist:
`;

/**
 * Names that the file of AWS's proxy lists, or tries to list, and that no table of AWS has. Users who replace that file
 * lose nothing.
 */
const ALSO: Readonly<Record<string, readonly string[]>> = {
  'aws-cn': ['cn-north-1', 'cn-northwest-1'].flatMap((region) => [
    `kms-fips.${region}.amazonaws.com.cn`,
    `kms.${region}.amazonaws.com`,
    `kms-fips.${region}.amazonaws.com`,
  ]),
};

export function renderAllowlist(): string {
  return `${HEAD}${PARTITIONS.map(renderPartition).join('\n')}`;
}

function renderPartition(partition: Partition): string {
  const sections = formsOf(partition).map(({ title, form }) => {
    return `# ${title}\n${partition.regions.map((region) => renderEntry(nameOf(region, partition, form))).join('')}`;
  });
  const also = ALSO[partition.id];
  if (also !== undefined) {
    sections.push(
      `# as AWS's proxy lists them, with and without .cn; AWS publishes no such names\n${also.map(renderEntry).join('')}`,
    );
  }
  return `## ${partition.id}: ${partition.title}\n\n${sections.join('\n')}`;
}

function formsOf({ fips }: Partition): readonly { readonly title: string; readonly form: EndpointForm }[] {
  return [
    { title: 'plain', form: { fips: false, dualStack: false } },
    { title: 'dual-stack: IPv4 and IPv6', form: { fips: false, dualStack: true } },
    { title: 'FIPS 140', form: { fips: true, dualStack: false } },
    { title: 'FIPS 140, dual-stack', form: { fips: true, dualStack: true } },
  ].filter(({ form }) => fips || !form.fips);
}

function nameOf(regionText: string, partition: Partition, form: EndpointForm): string {
  const region = parseRegion(regionText);
  const domain = parseDomain(partition.domain);
  if (region === undefined || domain === undefined) throw new Error(`${partition.id} ${regionText}: not well-formed`);
  return kmsEndpoint({ region, domain }, form);
}

function renderEntry(name: string): string {
  return `- {address: ${name}, port: 443}\n`;
}

if (import.meta.main) process.stdout.write(renderAllowlist());

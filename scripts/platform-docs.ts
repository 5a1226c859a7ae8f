/**
 * Writes the table of docs/platforms.md from what `make test-platforms` has left in build/platforms/: for each platform the versions
 * that tests/e2e/platforms.test.ts found, and the files of tests that passed. A platform that has not run since `make clean` keeps
 * its row.
 */
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { PLATFORMS, type PlatformName } from '../tests/e2e/platforms.ts';

const DOCUMENT = 'docs/platforms.md';
const RESULTS = 'build/platforms';
const BEGIN = '<!-- written by scripts/platform-docs.ts -->\n';
const END = '<!-- end -->\n';

interface Facts {
  readonly machine: string;
  readonly kernel: string;
  readonly pageSize: string;
  readonly debian: string;
  readonly systemd: string;
  readonly glibc: string;
  readonly rpm: string;
  readonly dnf: string;
  readonly selinux: string;
}

function row(name: PlatformName): string {
  const { standsFor } = PLATFORMS[name];
  const file = `${RESULTS}/${name}.json`;
  if (!existsSync(file)) {
    const before = text.split('\n').find((line) => line.startsWith(`| \`${name}\` |`));
    return before ?? `| \`${name}\` | ${standsFor} | not run | | | | | | |`;
  }
  const facts: Facts = JSON.parse(readFileSync(file, 'utf8'));
  const passed = readFileSync(`${RESULTS}/${name}.passed`, 'utf8').trim().split('\n');
  const files = passed.map((each) => each.replace('.test.ts', '')).sort();
  const pages = `${Number(facts.pageSize) / 1024} KiB`;
  return [
    ...['', `\`${name}\``, standsFor, `${facts.machine}, pages of ${pages}`, `${facts.debian}, glibc ${facts.glibc}`],
    ...[facts.kernel, facts.systemd, `${facts.rpm}, ${facts.dnf}`, facts.selinux, files.join(', '), ''],
  ]
    .join(' | ')
    .trim();
}

const text = readFileSync(DOCUMENT, 'utf8');
const [before, rest = ''] = text.split(BEGIN);
const [, after] = rest.split(END);
if (before === undefined || after === undefined)
  throw new Error(`${DOCUMENT} has not the lines that the table stands between`);
const table = [
  '| platform | stands for | machine | system | kernel | systemd | rpm, dnf | SELinux | passed |',
  '|---|---|---|---|---|---|---|---|---|',
  ...(Object.keys(PLATFORMS) as PlatformName[]).map(row),
];
writeFileSync(DOCUMENT, `${before}${BEGIN}\n${table.join('\n')}\n\n${END}${after}`);

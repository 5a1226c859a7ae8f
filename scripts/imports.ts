/**
 * imports.ts: checks which file may import what, in src/ and native/; part of `make lint`.
 *
 * The two tables below are the rules. Everything that they do not allow is a violation.
 */
import { readdirSync, readFileSync } from 'node:fs';
import { dirname } from 'node:path';

/** Files of platform/ that depend on nothing but their arguments. */
const TEXT = ['platform/errors.ts', 'platform/escape.ts', 'platform/malformed.ts'];
/** Files of platform/ that use nothing outside of the process either. */
const PURE = ['platform/clock.ts', 'platform/environment.ts', 'platform/log.ts', 'platform/vsock.ts', ...TEXT];

/** What the enclave's side needs of its host, as Node.js has it; another engine brings its own. */
const SYSTEM = 'platform/system/';

/** Files of dataplane/ that have only types, and texts about them. */
const DATA_PLANE = ['dataplane/contract.ts', 'dataplane/format.ts', 'dataplane/system.ts'];

/**
 * The rules: which folder or file of src/ may import which folders, files, `node:` modules or packages. A folder may
 * always import from itself. The first entry that covers a file is its rule. Only the composition root has no rule.
 */
const SRC: Readonly<Record<string, readonly string[]>> = {
  'start.ts': ['main.ts', 'commands/version.ts', 'platform/stdout.ts', 'platform/version.ts'],
  'main.ts': ['*'],
  'enclave-command.ts': [
    'commands/',
    'config/',
    'dataplane/process.ts',
    'enclave/',
    'plan.ts',
    'process-log.ts',
    'proxy/server.ts',
    ...PURE,
  ],
  'observation.ts': ['config/schema/addresses.ts', 'observe/', 'plan.ts', 'proxy/server.ts', ...PURE],
  // The process edge of vsock-enclave.
  'main-enclave.ts': [
    'commands/',
    'dataplane/addon.ts',
    'dataplane/process.ts',
    'enclave-command.ts',
    'observation.ts',
    'platform/log-output.ts',
    'platform/quickjs/',
    'platform/stdout.ts',
    'process-log.ts',
    'proxy/server.ts',
    ...PURE,
    SYSTEM,
  ],
  'process-log.ts': ['platform/line-writer.ts', 'platform/log-output.ts', ...PURE],
  'commands/observe/': [
    'commands/',
    'observe/',
    'proxy/snapshot.ts',
    'proxy/report/format.ts',
    'dataplane/contract.ts',
    ...PURE,
    'platform/whole-file.ts',
    'node:*',
  ],
  'commands/': [
    'commander',
    'config/',
    'access/',
    ...DATA_PLANE,
    'dns/',
    'plan.ts',
    'aws/partitions.ts',
    'proxy/report/format.ts',
    ...PURE,
    'platform/system/program.ts',
  ],
  'config/': ['yaml', 'access/', 'plan.ts', ...DATA_PLANE, 'dataplane/process.ts', 'dns/resolver.ts', ...PURE, SYSTEM],
  'proxy/': ['access/', 'protocol/', 'dns/', 'plan.ts', ...DATA_PLANE, ...PURE, SYSTEM],
  'observe/': [
    'prom-client',
    'prom-client/lib/registry.js',
    'proxy/snapshot.ts',
    'proxy/bind-hint.ts',
    'protocol/head.ts',
    'plan.ts',
    ...DATA_PLANE,
    'dataplane/path.ts',
    ...PURE,
    SYSTEM,
    'node:*',
  ],
  'plan.ts': ['access/', 'dns/resolver.ts', 'platform/log.ts', ...DATA_PLANE],
  // The decision needs look-ups. It uses types and texts of dns/, and nothing that resolves.
  'access/authorize.ts': ['access/', 'dns/failure.ts', 'dns/resolver.ts', 'dns/search.ts', ...TEXT],
  'access/': [SYSTEM, ...TEXT],
  'protocol/': ['dataplane/limits.ts', SYSTEM, ...TEXT],
  'dns/': ['access/address.ts', 'node:*', SYSTEM, ...PURE],
  'dataplane/contract.ts': ['protocol/framing.ts'],
  'dataplane/limits.ts': [],
  'dataplane/format.ts': ['dataplane/contract.ts', 'platform/vsock.ts'],
  'dataplane/system.ts': [],
  'dataplane/': ['node:*', SYSTEM, ...TEXT],
  'enclave/': [
    'dns-packet',
    'proxy/',
    'access/',
    'dns/',
    'plan.ts',
    'protocol/http-response.ts',
    'platform/whole-file.ts',
    ...DATA_PLANE,
    ...PURE,
    SYSTEM,
    'node:*',
  ],
  'aws/partitions.ts': ['access/address.ts', ...TEXT],
  'aws/': [...PURE, 'node:*'],
  'platform/clock.ts': [],
  'platform/environment.ts': [],
  'platform/errors.ts': [],
  'platform/escape.ts': [],
  'platform/malformed.ts': [],
  'platform/vsock.ts': [],
  'platform/log.ts': ['platform/escape.ts', 'platform/rust-regex.ts'],
  'platform/rust-regex.ts': [],
  'platform/stdout.ts': [SYSTEM],
  'platform/quickjs/': ['platform/environment.ts', 'platform/errors.ts', 'platform/line-writer.ts', SYSTEM],
  'platform/': ['node:*'],
};

/** Parts of the one decision (docs/decisions/0001-one-decision.md). Only their own folder may import them. */
const PRIVATE = ['access/guard.ts', 'access/rule-index.ts'];

/** Where the enclave's side begins, and what of it there is for each engine anew. */
const ENCLAVE_ROOT = 'main-enclave.ts';
const OF_THE_ENGINE = [SYSTEM, 'dataplane/load.ts'];

/**
 * The folders of native/, each from top to bottom: a file includes headers of its own name and further down in its folder,
 * and those of the folders that its own is built on: core/ is the data plane, binding/ what JavaScript may call of it, whatever the
 * engine, and the others are the programs that they are part of.
 */
const NATIVE: Readonly<Record<string, readonly string[]>> = {
  forwarder: ['main', 'forwarder', 'report', 'throttle', 'failure', 'log', 'arguments', 'text', 'process'],
  node: ['module', 'values', 'vsock'],
  quickjs: ['main', 'host', 'program', 'values', 'text', 'process', 'compile', 'bytecode'],
  // `values` is the engine's own.
  binding: ['calls', 'plane', 'messages', 'process', 'sha256', 'values', 'failure'],
  core: [
    'engine',
    'worker',
    'listener',
    'decision_cache',
    'client_totals',
    'histogram',
    'connection',
    'exchange',
    'link',
    'pump',
    'messages',
    'names',
    'loop',
    'http_head',
    'body',
    'scratch',
    'trial',
    'thread',
    'socket',
  ],
};
const BUILT_ON: Readonly<Record<string, readonly string[]>> = {
  forwarder: ['core'],
  node: ['binding', 'core'],
  quickjs: ['forwarder', 'binding', 'core'],
  binding: ['core'],
};

/** Text that only some files of native/ may contain, or (without a list) none. */
const CONFINED: readonly { readonly pattern: RegExp; readonly to: readonly string[]; readonly what: string }[] = [
  { pattern: /#\s*include\s*[<"](js_native|node)_api/, to: ['node/values', 'node/module'], what: 'N-API' },
  {
    pattern: /#\s*include\s*<(sys|linux|netinet|arpa)\/|#\s*include\s*<(unistd|fcntl|poll|signal|pthread)\.h>/,
    to: ['core/socket', 'core/thread', 'binding/process', 'node/vsock', 'quickjs/process', 'forwarder/process'],
    what: 'a system call',
  },
  {
    pattern: /\bv?f?printf\s*\(|\b(f?put[cs]|putchar|perror|v?syslog)\s*\(|\bSTD(OUT|ERR)_FILENO\b|<iostream>/,
    to: ['forwarder/process', 'quickjs/compile'],
    what: 'writing to stdout, stderr or a log',
  },
];

/** Violations as `path:line: text`, with paths from the project's root. */
export type Violation = string;

/** Checks one file of src/ or native/; `path` is from the project's root. */
export function checkImports(path: string, source: string): readonly Violation[] {
  return path.startsWith('src/') ? checkTypeScript(path, source) : checkCpp(path, source);
}

/** Finds every static, dynamic and re-exported import, and every `require`; not `Buffer.from`. */
const IMPORT = /(?<!\.)\b(?:from|import|require)\s*\(?\s*(['"])(?<target>[^'"\n]+)\1/g;

function checkTypeScript(path: string, source: string): readonly Violation[] {
  const file = path.slice('src/'.length);
  const area = Object.keys(SRC).find((key) => covers(key, file));
  if (area === undefined) return [`${path}:1: has no rule. Hint: say in scripts/imports.ts what it may import`];
  const allowed = [...(SRC[area] ?? []), ...(area.endsWith('/') ? [area] : [])];

  return [...withoutComments(source).matchAll(IMPORT)].flatMap((match) => {
    const target = locate(file, match.groups?.target ?? '');
    const place = `${path}:${lineAt(source, match.index)}`;
    if (PRIVATE.includes(target) && dirname(target) !== dirname(file)) {
      return [`${place}: ${target} is private to its folder. Hint: call src/access/authorize.ts, which decides`];
    }
    if (allowed.some((entry) => covers(entry, target))) return [];
    return [`${place}: ${area} must not import ${target}. Hint: it may import ${list(allowed)}`];
  });
}

/**
 * Checks that what the enclave's side is made of reaches Node.js by platform/system/ alone.
 * @param sources all files of src/, by their paths from the project's root
 */
export function checkEnclaveSide(sources: ReadonlyMap<string, string>): readonly Violation[] {
  const reached = new Set([ENCLAVE_ROOT]);
  const violations: Violation[] = [];
  for (const file of reached) {
    const source = sources.get(`src/${file}`) ?? '';
    for (const match of withoutComments(source).matchAll(IMPORT)) {
      if (/^\s*import type\b/m.test(statementOf(source, match.index))) continue; // nothing is left of it
      const target = locate(file, match.groups?.target ?? '');
      if (target.startsWith('node:')) {
        const place = `src/${file}:${lineAt(source, match.index)}`;
        violations.push(
          `${place}: ${target} is reached by the enclave's side. Hint: let ${SYSTEM} have what is needed of it, for each engine`,
        );
      }
      if (sources.has(`src/${target}`) && !OF_THE_ENGINE.some((entry) => covers(entry, target))) reached.add(target);
    }
  }
  return violations;
}

/** The text from the beginning of the import or export. */
function statementOf(source: string, at: number): string {
  return source.slice(source.lastIndexOf(';', at) + 1, at);
}

/** The target of an import in `file`, from src/; packages and `node:` modules stay as they are. */
function locate(file: string, target: string): string {
  if (!target.startsWith('.')) return target;
  const { pathname } = new URL(target, `file:///project/src/${file}`);
  return pathname.startsWith('/project/src/')
    ? pathname.slice('/project/src/'.length)
    : `..${pathname.slice('/project'.length)}`;
}

/**
 * `a/` covers the files in the folder, `node:*` covers names that begin so, and other entries cover themselves and the
 * subpaths of a package.
 */
function covers(entry: string, target: string): boolean {
  if (entry.endsWith('*')) return target.startsWith(entry.slice(0, -1)) && !target.startsWith('..');
  return entry.endsWith('/') ? target.startsWith(entry) : target === entry || target.startsWith(`${entry}/`);
}

function checkCpp(path: string, source: string): readonly Violation[] {
  const unit = unitOf(path);
  const below = unitsBelow(unit);
  if (below === undefined) return [`${path}:1: has no rank. Hint: give ${unit} its place in scripts/imports.ts`];

  return withoutComments(source)
    .split('\n')
    .flatMap((line, index) => {
      const place = `${path}:${index + 1}`;
      const header = /#\s*include\s*"(?<header>[^"]+)"/.exec(line)?.groups?.header;
      const included = header === undefined ? unit : unitOf(header, path);
      return [
        ...(included !== unit && !below.includes(included)
          ? [`${place}: ${unit} must not include ${header}. Hint: what is below it is ${list(below)}`]
          : []),
        ...CONFINED.filter(({ pattern, to }) => pattern.test(line) && !to.includes(unit)).map(
          ({ what, to }) => `${place}: ${what} is not for ${unit}. Hint: it is for ${list(to)}`,
        ),
      ];
    });
}

/** The units that this unit may include; undefined if it has no rank. */
function unitsBelow(unit: string): readonly string[] | undefined {
  const [folder = '', name = ''] = unit.split('/');
  const rank = NATIVE[folder]?.indexOf(name) ?? -1;
  if (rank < 0) return undefined;
  const unitsOf = (of: string, from: number) => (NATIVE[of] ?? []).slice(from).map((each) => `${of}/${each}`);
  return [...unitsOf(folder, rank + 1), ...(BUILT_ON[folder] ?? []).flatMap((each) => unitsOf(each, 0))];
}

/**
 * The unit of a file: `native/forwarder/log.cc`, or `log.h` as included by a file of that folder, is `forwarder/log`.
 */
function unitOf(path: string, includedBy = ''): string {
  const { pathname } = new URL(path, `file:///${includedBy}`);
  return pathname.replace(/^\/native\//, '').replace(/\.\w+$/, '');
}

/** Replaces comments by blanks, so that positions stay the same. */
function withoutComments(source: string): string {
  return source.replace(/\/\*[\s\S]*?\*\/|(?<=^|\s)\/\/.*$/gm, (comment) => comment.replace(/[^\n]/g, ' '));
}

function lineAt(source: string, index: number): number {
  return source.slice(0, index).split('\n').length;
}

function list(items: readonly string[]): string {
  return items.length > 0 ? items.join(', ') : 'nobody';
}

if (import.meta.main) {
  const root = new URL('..', import.meta.url);
  const files = readdirSync(new URL('src', root), { recursive: true, encoding: 'utf8' })
    .map((file) => `src/${file}`)
    .concat(
      Object.keys(NATIVE).flatMap((folder) =>
        readdirSync(new URL(`native/${folder}`, root)).map((file) => `native/${folder}/${file}`),
      ),
    )
    .filter((path) => /\.(ts|cc|h)$/.test(path));
  const sources = new Map(files.sort().map((path) => [path, readFileSync(new URL(path, root), 'utf8')]));
  const violations = [...sources]
    .flatMap(([path, source]) => checkImports(path, source))
    .concat(checkEnclaveSide(sources));
  for (const violation of violations) process.stderr.write(`${violation}\n`);
  process.exitCode = violations.length > 0 ? 1 : 0;
}

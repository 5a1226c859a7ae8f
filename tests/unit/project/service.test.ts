/** What the files of the service say of each other, and the manual page of the command. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { COMMANDS } from '../../../src/commands/list.ts';
import { parseProxyCommand } from '../../../src/commands/proxy.ts';

const read = (path: string) => readFileSync(new URL(`../../../${path}`, import.meta.url), 'utf8');
const UNIT = read('service/nitro-enclaves-vsock-proxy.service');
const RELOAD = read('service/reload.conf');
const SYSCONFIG = read('service/sysconfig');

/** The lines of a unit as [name, value]. */
function directivesOf(unit: string): readonly (readonly [string, string])[] {
  return [...unit.matchAll(/^(\w+)=(.*)$/gm)].map(([, name = '', value = '']) => [name, value] as const);
}
const DIRECTIVES = directivesOf(UNIT);

function valuesOf(name: string): readonly string[] {
  return DIRECTIVES.filter(([of]) => of === name).map(([, value]) => value);
}

test('the unit starts no shell and no other program but kill', () => {
  for (const [name, value] of DIRECTIVES.filter(([of]) => of.startsWith('Exec'))) {
    assert.match(value, /^\/usr\/libexec\/nitro-enclaves-vsock-proxy\/vsock-proxy |^\/bin\/kill -HUP \$MAINPID$/, name);
  }
});

test('the third word of the main command line is the KMS endpoint, which ACM for Nitro Enclaves reads there', () => {
  assert.match(valuesOf('ExecStart').join('\n'), /^\S+\/vsock-proxy \S+ \$\{KMS_ENDPOINT\} 443 /);
});

test('every setting that the sysconfig file shows has the value that the unit gives it', () => {
  const shown = [...SYSCONFIG.matchAll(/^#(\w+)=(.*)$/gm)].map(([, name, value]) => `${name}=${value}`);
  const inUnit = valuesOf('Environment').flatMap((line) => line.replaceAll('%t', '/run').split(' '));
  for (const setting of inUnit) assert(shown.includes(setting), setting);
  for (const name of ['KMS_ENDPOINT=', 'FIPS=no', 'DUAL_STACK=no', 'IMDSV1=no']) {
    assert(shown.includes(`VSOCK_PROXY_${name}`), name); // of kms-endpoint, whose own default is the same
  }
  assert.doesNotMatch(SYSCONFIG, /^[^#\n]/m);
});

test('the drop-in for newer systemd leaves of the ways to reload what does not send the signal', () => {
  const ways = valuesOf('ExecReload').filter((way) => !way.startsWith('/bin/kill'));
  const expected = [['Type', 'notify-reload'], ['ExecReload', ''], ...ways.map((way) => ['ExecReload', way])];
  assert.deepEqual(directivesOf(RELOAD), expected);
});

test('service/README.md gives the reason for every directive', () => {
  const readme = read('service/README.md');
  for (const [name] of DIRECTIVES) {
    if (['Description', 'Documentation', 'WantedBy'].includes(name)) continue;
    assert(readme.includes(`${name}=`), name);
  }
});

test('the manual page has every option and command', () => {
  const page = read('docs/vsock-proxy.1');
  const help = parseProxyCommand(['--help'], '0.0.0');
  assert(help.kind === 'text');
  const options = [...help.text.matchAll(/^ +(?:-\w, )?--([\w-]+)/gm)].map(([, name]) => name);
  assert(options.length > 0);
  for (const option of options) assert(page.includes(`Fl -${option}`), `--${option}`);
  for (const command of Object.keys(COMMANDS)) assert(page.includes(`.It Cm ${command}`), command);
});

/** `make lint` notices when a name gets a second meaning. */
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { findHomonyms } from '../../../scripts/names.ts';

for (const declaration of [
  'export interface Failure {',
  'export type Failure = string;',
  'export class Failure {',
  'export abstract class Failure {',
  'export const Failure = 1;',
  'export function Failure() {',
  'export async function Failure() {',
]) {
  test(`found: a second "${declaration}"`, () => {
    const files = {
      'src/dns/a.ts': 'export interface Failure {\n}\n',
      'src/proxy/b.ts': `// first line\n${declaration}\n`,
    };
    assert.deepEqual(findHomonyms(files), [
      'src/proxy/b.ts:2: src/dns/a.ts exports another Failure. Hint: give one a name of its own',
    ]);
  });
}

test('private names, members, other words that begin alike, and overloads of one file may be', () => {
  const overloads = 'export function find(one: string): void;\nexport function find(one: number): void;\n';
  assert.deepEqual(
    findHomonyms({
      'src/a.ts': `interface Failure {\n}\n${overloads}`,
      'src/b.ts': 'export interface Failure {\n  readonly find: 1;\n',
    }),
    [],
  );
  assert.deepEqual(
    findHomonyms({ 'src/a.ts': 'export type Failures = 1;', 'src/b.ts': 'export type Failure = 1;' }),
    [],
  );
});

import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LIMITS } from '../../../src/dataplane/limits.ts';
import { checkTables, NAMES, type NativeTables } from '../../../src/dataplane/names.ts';
import { VsockProxyError } from '../../../src/platform/errors.ts';

const lists = Object.fromEntries(Object.entries(NAMES).map(([list, names]) => [list, Object.keys(names)]));
const FITTING: NativeTables = { names: lists, limits: LIMITS };

function says(message: RegExp) {
  return (error: unknown) =>
    error instanceof VsockProxyError && error.code === 'internal' && message.test(error.message);
}

test('a data plane with the same names in another order fits', () => {
  const reversed = Object.fromEntries(Object.entries(lists).map(([list, names]) => [list, names.toReversed()]));
  checkTables({ ...FITTING, names: reversed });
});

const MISFITS: readonly { readonly why: string; readonly tables: NativeTables; readonly says: RegExp }[] = [
  {
    why: 'a close reason that only the data plane has',
    tables: { ...FITTING, names: { ...lists, closeReasons: [...(lists.closeReasons ?? []), 'bored'] } },
    says: /does not fit.*only the data plane has the name in closeReasons "bored"$/,
  },
  {
    why: 'a close reason that only the control plane has',
    tables: { ...FITTING, names: { ...lists, closeReasons: lists.closeReasons?.slice(1) ?? [] } },
    says: /only the control plane has the name in closeReasons "finished"$/,
  },
  {
    why: 'a list that only the data plane has',
    tables: { ...FITTING, names: { ...lists, moods: [] } },
    says: /only the data plane has the list "moods"$/,
  },
  {
    why: 'another limit',
    tables: { ...FITTING, limits: { ...LIMITS, requestHeadBytes: 8192 } },
    says: /"requestHeadBytes = 8192"; only the control plane has the limit "requestHeadBytes = 16384"$/,
  },
];

for (const { why, tables, says: message } of MISFITS) {
  test(`${why} is found when the data plane is loaded`, () => {
    assert.throws(() => checkTables(tables), says(message));
  });
}

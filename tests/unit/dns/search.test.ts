import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { MAX_QUERIES_OF_ONE } from '../../../src/dns/cache.ts';
import { SEARCH_WIDTH, searchNames } from '../../../src/dns/search.ts';
import { settle } from '../proxy/fixture.ts';

const NAMES = Array.from({ length: 5 * SEARCH_WIDTH }, (_, index) => `n${index}`);

/** Checks that are answered by hand, in order. */
function setUp(names: readonly string[] = NAMES) {
  const asked: string[] = [];
  const open: PromiseWithResolvers<boolean>[] = [];
  const found = searchNames(names, (name) => {
    asked.push(name);
    const question = Promise.withResolvers<boolean>();
    open.push(question);
    return question.promise;
  });
  const answer = async (index: number, says: boolean) => {
    open[index]?.resolve(says);
    await settle();
  };
  return { asked, open, found, answer };
}

describe('a search through many names', () => {
  it('without the one ends when all have been asked about', async () => {
    const { asked, found, answer } = setUp();
    for (const index of NAMES.keys()) await answer(index, false);
    assert.equal(await found, undefined);
    assert.deepEqual(asked, NAMES);
  });

  it('through none finds none', async () => {
    assert.equal(await setUp([]).found, undefined);
  });

  it('that fails unexpectedly fails', async () => {
    const { open, found } = setUp();
    open[0]?.reject(new TypeError('odd'));
    await assert.rejects(found, TypeError);
  });

  it('asks about a few at a time, and leaves room for other questions of the same client', async () => {
    const { asked, answer } = setUp();
    assert.equal(asked.length, SEARCH_WIDTH);
    await answer(3, false);
    assert.equal(asked.length, SEARCH_WIDTH + 1);
    assert.ok(SEARCH_WIDTH < MAX_QUERIES_OF_ONE);
  });

  it('is over with the first yes: nobody waits for the others, and nothing more is asked', async () => {
    const { asked, found, answer } = setUp();
    await answer(7, true);
    assert.equal(await found, 'n7');
    for (let index = 0; index < SEARCH_WIDTH; index += 1) await answer(index, false);
    assert.equal(asked.length, SEARCH_WIDTH);
  });
});

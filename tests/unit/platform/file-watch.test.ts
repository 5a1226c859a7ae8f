import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, renameSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { suite, test } from 'node:test';
import type { Clock } from '../../../src/platform/clock.ts';
import { identifyFile, LOOK_EVERY_MS, watchFile } from '../../../src/platform/file-watch.ts';

/** One timer, which goes off when the test says so. */
class Ticks implements Clock {
  #fire: (() => void) | undefined;
  now(): number {
    return 0;
  }
  setTimer(ms: number, fire: () => void): () => void {
    assert.equal(ms, LOOK_EVERY_MS);
    this.#fire = fire;
    return () => {
      this.#fire = undefined;
    };
  }
  tick(): void {
    this.#fire?.();
  }
}

/** @returns how often a change was told of after each look, at which the file is each of these */
function changesOf(first: string, ...files: readonly string[]): readonly number[] {
  const clock = new Ticks();
  let file = first;
  let changes = 0;
  const count = () => {
    changes += 1;
  };
  watchFile('file', count, { clock, identify: () => file });
  return files.map((next) => {
    file = next;
    clock.tick();
    return changes;
  });
}

suite('watchFile', () => {
  for (const [what, expected, first, ...files] of [
    ['the same file', [0, 0, 0], 'a', 'a', 'a', 'a'],
    ['another one: once it stays', [0, 1, 1], 'a', 'b', 'b', 'b'],
    ['written piece by piece: at the end', [0, 0, 0, 1, 1], 'a', 'b', 'c', 'd', 'd', 'd'],
    ['back to the old one in between: nothing', [0, 0, 0], 'a', 'b', 'a', 'a'],
    ['gone, and here again: each', [0, 1, 1, 2], 'a', 'none', 'none', 'b', 'b'],
  ] as const) {
    test(what, () => assert.deepEqual(changesOf(first, ...files), expected));
  }

  test('ended: nothing is looked at any more', () => {
    const clock = new Ticks();
    let looks = 0;
    const identify = () => {
      looks += 1;
      return 'a';
    };
    const end = watchFile('file', assert.fail, { clock, identify });
    end();
    clock.tick();
    assert.equal(looks, 1);
  });
});

suite('identifyFile', () => {
  test('a ConfigMap: another directory behind the link that its files hang on', () => {
    const volume = mkdtempSync(join(tmpdir(), 'vsock-proxy-volume-'));
    const path = join(volume, 'proxy.yaml');
    for (const version of ['1', '2']) {
      mkdirSync(join(volume, version));
      writeFileSync(join(volume, version, 'proxy.yaml'), 'same: length\n');
    }
    symlinkSync('1', join(volume, '..data'));
    symlinkSync('..data/proxy.yaml', path);
    const before = identifyFile(path);
    assert.equal(identifyFile(path), before);
    symlinkSync('2', join(volume, '..data_tmp'));
    renameSync(join(volume, '..data_tmp'), join(volume, '..data'));
    assert.notEqual(identifyFile(path), before);
    rmSync(volume, { recursive: true });
    assert.equal(identifyFile(path), 'none');
  });
});

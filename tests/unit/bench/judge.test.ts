import assert from 'node:assert/strict';
import { test } from 'node:test';
import { markLimit, markRatio, median, ratioToBestPeer } from '../../../bench/judge.ts';

const figures = { direct: 40, 'vsock-proxy': 20, socat: 10, 'systemd-socket-proxyd': 25, HAProxy: 15 };

test('benchmark: being behind one peer is being behind, whoever it is', () => {
  assert.equal(ratioToBestPeer(figures, 'higher'), 0.8);
});

test('benchmark: where less is better, half of the best peer is twice as good', () => {
  assert.equal(ratioToBestPeer({ ...figures, 'vsock-proxy': 5 }, 'lower'), 2);
});

test('benchmark: the direct way is no peer', () => {
  assert.equal(ratioToBestPeer({ ...figures, direct: 1000 }, 'higher'), 0.8);
});

test('benchmark: a goal missed by the noise is level, by more it is short', () => {
  const marks = [0.949, 0.951, 0.999, 1].map((ratio) => markRatio(ratio, 1));
  assert.deepEqual(marks, ['SHORT', 'level', 'level', 'PASS']);
});

test('benchmark: a limit holds for what shrank as for what grew, and not for what was not measured', () => {
  const marks = [-2.1, -2, 2, 2.1, Number.NaN].map((value) => markLimit(value, 2));
  assert.deepEqual(marks, ['SHORT', 'PASS', 'PASS', 'SHORT', 'SHORT']);
});

test('benchmark: the median of an even number lies between the middle two, and there is none of nothing', () => {
  assert.equal(median([9, 1, 5]), 5);
  assert.equal(median([4, 1, 2, 9]), 3);
  assert.throws(() => median([]), /no values/);
});

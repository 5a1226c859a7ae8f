import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Contest, contests, type DecisionName, decisionNames, participants } from '../../../bench/decisions.ts';
import type { Sample, Samples } from '../../../bench/race.ts';
import { duelLines } from '../../../bench/report.ts';

const contest: Contest = {
  load: () => [],
  share: 1,
  ours: ['SNI', 'CONNECT'],
  peer: 'HAProxy',
  duels: [
    { title: 'rate', unit: '/s', figure: 'perSecond', better: 'higher', ours: 'SNI', beside: 'HAProxy', goal: 1 },
    { title: 'time', unit: 'µs', figure: 'p99Micros', better: 'lower', ours: 'CONNECT', beside: 'SNI' },
  ],
};

/** The output of the load generator for one round each. */
function samplesOf(figures: Partial<Record<DecisionName, Sample['figures']>>): Samples<DecisionName> {
  const sample = (one: Sample['figures']): Sample => ({ figures: one, clientCpus: 0, serverCpus: 0, foreignCpus: 0 });
  const all = decisionNames.map((name) => [name, [sample(figures[name] ?? {})]]);
  return Object.fromEntries(all) as Samples<DecisionName>;
}

const visited = { perSecond: 900, p99Micros: 50, failed: 0 };
const peer = { perSecond: 1000, p99Micros: 10, failed: 3 };

test('benchmark: one failed connection of ours, on whichever route, is too many, and those of a peer do not count', () => {
  const withFailure = samplesOf({ SNI: visited, CONNECT: { ...visited, failed: 1 }, HAProxy: peer });
  const without = samplesOf({ SNI: visited, CONNECT: visited, HAProxy: peer });
  assert.deepEqual(duelLines(contest, withFailure).at(-1)?.slice(2), ['1', 'HAProxy', '3', '', '0', 'SHORT']);
  assert.deepEqual(duelLines(contest, without).at(-1)?.slice(2), ['0', 'HAProxy', '3', '', '0', 'PASS']);
});

test('benchmark: a duel is judged by its own goal, and without one not at all', () => {
  const samples = samplesOf({ SNI: visited, CONNECT: { ...visited, p99Micros: 100 }, HAProxy: peer });
  const [rate, time] = duelLines(contest, samples);
  assert.deepEqual(rate, ['rate', '/s', '900', 'HAProxy', '1000', '0.90', '≥ 1.00', 'SHORT']);
  assert.deepEqual(time, ['time', 'µs', '100', 'SNI', '50.0', '0.50', '', '']);
});

test('benchmark: whoever is compared takes part', () => {
  for (const one of contests) {
    const present = participants(one);
    for (const { ours, beside } of one.duels) {
      assert.ok(one.ours.includes(ours) && present.includes(beside), `${ours} beside ${beside}`);
    }
  }
});

import assert from 'node:assert/strict';
import { suite, test } from 'node:test';
import { coversPort, describePorts, enumerate, parsePortRange, parsePorts } from '../../../src/access/ports.ts';
import { port, portSet } from './fixture.ts';

suite('ports', () => {
  for (const [item, problem] of [
    [0, 'port 0 is outside 1–65535'],
    [-1, 'port -1 is outside 1–65535'],
    [65_536, 'port 65536 is outside 1–65535'],
    [65_979, 'port 65979 is outside 1–65535'],
    ['0', 'port 0 is outside 1–65535'],
    ['4294967739', 'port 4294967739 is outside 1–65535'],
    ['0-10', 'port 0 is outside 1–65535'],
    ['1024-65536', 'port 65536 is outside 1–65535'],
    ['-5-10', 'port -5 is outside 1–65535'],
    ['2048-1024', '"2048-1024" ends before it begins'],
    [443.5, 'expected a port or a range of ports, found 443.5'],
    [1e21, 'found 1e+21'],
    [Number.NaN, 'found NaN'],
    ['', 'found ""'],
    ['any', 'found "any"'],
    ['*', 'found "*"'],
    ['https', 'found "https"'],
    ['0x1bb', 'found "0x1bb"'],
    ['+443', 'found "+443"'],
    [' 443', 'found " 443"'],
    ['٤٤٣', 'found "٤٤٣"'],
    ['1-', 'found "1-"'],
    ['1-2-3', 'found "1-2-3"'],
    ['1 - 2', 'found "1 - 2"'],
    ['1–2', 'found "1–2"'],
    ['80,443', 'found "80,443"'],
    ['9'.repeat(1000), 'expected a port or a range of ports, found "999'],
    [null, 'found nothing'],
    [undefined, 'found nothing'],
    [true, 'found true'],
    [[443], 'found a list'],
    [{ from: 1 }, 'found a map'],
  ] as const) {
    test(`refused: ${JSON.stringify(item)?.slice(0, 40)}: ${problem}`, () => {
      const range = parsePortRange(item);
      assert('problem' in range);
      assert(range.problem.includes(problem), range.problem);
      assert(range.problem.length < 200);
      assert.notEqual(range.hint, '');
    });
  }

  test('refused: a list that is empty, or has anything in it that is no port', () => {
    for (const value of [[], [443, 0], [443, [80]], ['80', null], '1-70000']) {
      const ports = parsePorts(value);
      assert(typeof ports === 'object' && 'problem' in ports, JSON.stringify(value));
    }
  });

  test('what ends before it begins is suggested the other way round', () => {
    assert.deepEqual(parsePortRange('443-80'), {
      kind: 'malformed',
      problem: '"443-80" ends before it begins',
      hint: 'write 80-443',
    });
  });

  for (const [value, expected] of [
    [443, [[443, 443]]],
    ['443', [[443, 443]]],
    ['0443', [[443, 443]]],
    ['1-65535', [[1, 65_535]]],
    ['443-443', [[443, 443]]],
    [
      [80, '443', '1024-2048'],
      [
        [80, 80],
        [443, 443],
        [1024, 2048],
      ],
    ],
  ] as const) {
    test(`${JSON.stringify(value)} is ${JSON.stringify(expected)}`, () => {
      assert.deepEqual(
        parsePorts(value),
        expected.map(([from, to]) => ({ from, to })),
      );
    });
  }

  test('a set covers the ends of its ranges, and nothing beside them', () => {
    const ports = portSet('80,1024-2048');
    for (const number of [1, 79, 81, 1023, 2049, 65_535]) assert(!coversPort(ports, port(number)), `${number}`);
    for (const number of [80, 1024, 1500, 2048]) assert(coversPort(ports, port(number)), `${number}`);
    for (const number of [1, 65_535]) assert(coversPort('any', port(number)), `${number}`);
  });

  for (const [ports, words] of [
    ['any', 'any port'],
    ['443', 'port 443'],
    ['443-443', 'port 443'],
    ['1024-2048', 'ports 1024–2048'],
    ['80,443', 'ports 80 and 443'],
    ['80,443,1024-2048', 'ports 80, 443 and 1024–2048'],
    ['1,2,3,4,5,6,7,8', 'ports 1, 2, 3, 4, 5, 6, 7 and 8'],
    ['1,2,3,4,5,6,7,8,9,10', 'ports 1, 2, 3, 4, 5, 6, 7, 8 and 2 more'],
  ] as const) {
    test(`${ports} in words: ${words}`, () => assert.equal(describePorts(portSet(ports)), words));
  }

  test('nothing enumerated is nothing', () => assert.equal(enumerate([]), ''));
});

import assert from 'node:assert/strict';
import { describe, it } from 'node:test';
import { escapeControls, quote, quoteBriefly } from '../../../src/platform/escape.ts';

describe('escaping', () => {
  const cases: readonly (readonly [text: string, escaped: string])[] = [
    ['', ''],
    ['plain text, ü, 漢字, 🦊', 'plain text, ü, 漢字, 🦊'],
    ['tab\tnewline\nreturn\rnul\0', 'tab\\tnewline\\nreturn\\rnul\\0'],
    ['\x1b[2J\x9b', '\\u{1b}[2J\\u{9b}'],
    ['\u202eevil\u2066', '\\u{202e}evil\\u{2066}'],
    ['\u2028\u2029', '\\u{2028}\\u{2029}'],
    ['\ud800', '\\u{d800}'],
    ['back\\slash "quoted"', 'back\\slash "quoted"'],
  ];
  for (const [text, escaped] of cases) {
    it(`${JSON.stringify(text)} becomes ${escaped}`, () => assert.equal(escapeControls(text), escaped));
  }

  it("a quoted text reads like the output of Rust's {:?}", () => {
    assert.equal(quote('a "b" \\ c\n'), '"a \\"b\\" \\\\ c\\n"');
  });

  it('a text of any length is quoted briefly', () => {
    assert.equal(quoteBriefly('a'.repeat(81)), `"${'a'.repeat(80)}…"`);
    assert.equal(quoteBriefly('a'.repeat(80)), `"${'a'.repeat(80)}"`);
  });
});

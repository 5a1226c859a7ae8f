/** What the tests of the protocol parsers share. */
import assert from 'node:assert/strict';

/** Each character is the byte of its number. */
export function latin1(text: string): Buffer {
  return Buffer.from(text, 'latin1');
}

/** A head: the lines, each with CRLF, and the empty line. */
export function head(...lines: readonly string[]): Buffer {
  return latin1(`${lines.join('\r\n')}\r\n\r\n`);
}

interface Verdict {
  readonly kind: string;
  readonly headBytes?: number;
}

/**
 * Gives the parser every prefix. What is refused in the end may be refused before, and stays refused; all else waits for
 * its last byte, and does not change with what follows. Answers the verdict about the whole.
 */
export function parseEachPrefix<T extends Verdict>(parse: (bytes: Uint8Array) => T, bytes: Uint8Array): T {
  const whole = parse(bytes);
  let refused = false;
  for (let length = 0; length <= bytes.length; length++) {
    // A copy of its own, so that whoever reads behind the end finds nothing.
    const verdict = parse(Uint8Array.from(bytes.subarray(0, length)));
    const where = `after ${length} of ${bytes.length} bytes, ${JSON.stringify(latin1Text(bytes))}`;
    if (whole.kind === 'malformed')
      assert.ok(verdict.kind === 'malformed' || (verdict.kind === 'more' && !refused), where);
    else if (length < (whole.headBytes ?? bytes.length)) assert.equal(verdict.kind, 'more', where);
    else assert.deepEqual(verdict, whole, where);
    refused = verdict.kind === 'malformed';
  }
  return whole;
}

function latin1Text(bytes: Uint8Array): string {
  return Buffer.from(bytes.subarray(0, 300)).toString('latin1');
}

/** Printable, one line, and not endless: fit for a log line and a reply. */
export function assertPrintable(problem: string): void {
  assert.match(problem, /^[^\p{C}\p{Zl}\p{Zp}]{1,600}$/u);
}

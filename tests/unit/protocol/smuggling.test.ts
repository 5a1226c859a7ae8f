/** Every known way to make two parsers disagree about one message is refused, or disarmed as the table says. */
import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { suite, test } from 'node:test';
import type { Framing } from '../../../src/protocol/framing.ts';
import { parseRequest } from '../../../src/protocol/http-request.ts';
import { parseResponse } from '../../../src/protocol/http-response.ts';
import { latin1, parseEachPrefix } from './fixture.ts';

type Attempt<Passed> = { readonly name: string; readonly input: string; readonly method?: string } & (
  | { readonly refused: { readonly status?: number; readonly because: string } }
  | (Passed & { readonly refused?: undefined; readonly body: string })
);

interface Table {
  readonly requests: readonly Attempt<{ readonly server: string }>[];
  readonly responses: readonly Attempt<{ readonly client: string }>[];
}

const table: Table = JSON.parse(
  readFileSync(new URL('../../vectors/protocol-smuggling.json', import.meta.url), 'utf8'),
);

function describe(body: Framing): string {
  return body.kind === 'length' ? `length ${body.bytes}` : body.kind;
}

suite('smuggling by requests', () => {
  for (const attempt of table.requests) {
    test(attempt.name, () => {
      const request = parseEachPrefix(parseRequest, latin1(attempt.input));
      if (attempt.refused !== undefined) {
        assert(request.kind === 'malformed', JSON.stringify(request));
        assert.ok(request.problem.includes(attempt.refused.because), request.problem);
        assert.equal(request.status, attempt.refused.status);
      } else {
        assert(request.kind === 'forward', JSON.stringify(request));
        assert.equal(request.head.toString('latin1'), attempt.server);
        assert.equal(describe(request.body), attempt.body);
      }
    });
  }
});

suite('smuggling by responses', () => {
  for (const attempt of table.responses) {
    test(attempt.name, () => {
      const asked = { method: attempt.method ?? 'GET', keepAlive: true, version: '1.1' } as const;
      const response = parseEachPrefix((bytes) => parseResponse(bytes, asked), latin1(attempt.input));
      if (attempt.refused !== undefined) {
        assert(response.kind === 'malformed', JSON.stringify(response));
        assert.ok(response.problem.includes(attempt.refused.because), response.problem);
      } else {
        assert(response.kind === 'final', JSON.stringify(response));
        assert.equal(response.head.toString('latin1'), attempt.client);
        assert.equal(describe(response.body), attempt.body);
      }
    });
  }
});

/** Answers for `route: sni`: each client goes to the server that its TLS ClientHello names; its bytes go on untouched. */
import type { TcpPort } from '../../access/address.ts';
import { essence, parseClientHello } from '../../protocol/tls-client-hello.ts';
import type { Authorization, Authorizer } from './authorizer.ts';
import { CACHE_MS, type Handled, type Handler } from './dispatcher.ts';
import { clientOf } from './fixed.ts';
import { refuseUnauthorized } from './refusal.ts';
import type { TargetIds } from './target-ids.ts';

export interface SniHandlerOptions {
  readonly targets: TargetIds;
  readonly authorizer: Authorizer;
  readonly port: TcpPort;
}

export function handleSni({ targets, authorizer, port }: SniHandlerOptions): Handler {
  const decide = (authorization: Authorization, hello: Uint8Array): Handled => {
    if (authorization.kind !== 'allowed') return refuseUnauthorized(authorization, targets);
    const { text, addresses } = authorization;
    const decision = { action: 'connect', target: targets.idOf(text), addresses, consume: 0, explain: false } as const;
    const what = essence(hello);
    return { decision: what === undefined ? decision : { ...decision, cache: { ...what, forMs: CACHE_MS } } };
  };
  return {
    first(ask) {
      if (ask.kind !== 'head') throw new Error('a ClientHello is asked about with its bytes');
      const hello = parseClientHello(ask.bytes);
      switch (hello.kind) {
        case 'more':
          return ask.ended
            ? malformed('it ended before its ClientHello was whole')
            : { decision: { action: 'more', atLeast: hello.atLeast } };
        case 'malformed':
          return malformed(`it sent no usable ClientHello: ${hello.problem}`);
        case 'no-name':
          return denied(hello.problem);
        case 'name': {
          const authorization = authorizer.find(hello.name, port, clientOf(ask.client));
          if (authorization instanceof Promise) return authorization.then((settled) => decide(settled, ask.bytes));
          return authorization.kind === 'malformed' ? denied(authorization.problem) : decide(authorization, ask.bytes);
        }
      }
    },
    later() {
      throw new Error('nothing is asked about a connection that relays');
    },
  };
}

function malformed(problem: string): Handled {
  return { decision: { action: 'reject', reason: 'malformed' }, refusal: { problem, subject: problem } };
}

/** What it asks for cannot be told, or is nothing that could be allowed. */
function denied(problem: string): Handled {
  return { decision: { action: 'reject', reason: 'denied' }, refusal: { problem, subject: problem } };
}

/** Answers for `route: sni`: each client goes to the server that its TLS ClientHello names; its bytes go on untouched. */
import type { TcpPort } from '../../access/address.ts';
import { essence, parseClientHello } from '../../protocol/tls-client-hello.ts';
import type { Destination, Destinations } from './authorizer.ts';
import { CACHE_MS, type Handled, type Handler } from './dispatcher.ts';
import { clientOf } from './fixed.ts';
import { refuseDestination } from './refusal.ts';
import type { TargetIds } from './target-ids.ts';

export interface SniHandlerOptions {
  readonly targets: TargetIds;
  readonly destinations: Destinations;
  readonly port: TcpPort;
}

export function handleSni({ targets, destinations, port }: SniHandlerOptions): Handler {
  const decide = (destination: Destination, hello: Uint8Array): Handled => {
    if (destination.kind !== 'allowed') return refuseDestination(destination, targets);
    const { text, addresses } = destination;
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
          const destination = destinations.find(hello.name, port, clientOf(ask.client));
          if (destination instanceof Promise) return destination.then((settled) => decide(settled, ask.bytes));
          return destination.kind === 'malformed' ? denied(destination.problem) : decide(destination, ask.bytes);
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

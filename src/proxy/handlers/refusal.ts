/** Turns the failure of an authorization into a decision. */

import type { Authorization } from './authorizer.ts';
import type { Handled } from './dispatcher.ts';
import type { TargetIds } from './target-ids.ts';

/** @param toClient the bytes for the client */
export function refuseUnauthorized(
  authorization: Exclude<Authorization, { readonly kind: 'allowed' }>,
  targets: TargetIds,
  toClient?: Uint8Array,
): Handled {
  const { text } = authorization;
  const told = toClient === undefined ? {} : { toClient };
  if (authorization.kind === 'denied') {
    const { reason, hint } = authorization.denial;
    // There is no target id, because clients may name any number of denied targets.
    return {
      decision: { action: 'reject', reason: 'denied', ...told },
      refusal: { problem: reason, hint, subject: text },
    };
  }
  const { message, hint } = authorization.error;
  const problem = `no address for ${text}: ${message}`;
  return {
    decision: { action: 'reject', reason: 'no-upstream', target: targets.idOf(text), ...told },
    refusal: { problem, subject: text, ...(hint === undefined ? {} : { hint }) },
  };
}

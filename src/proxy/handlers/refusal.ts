/** Why a authorization cannot be had, as a decision. */

import type { Authorization } from './authorizer.ts';
import type { Handled } from './dispatcher.ts';
import type { TargetIds } from './target-ids.ts';

/** @param toClient what the client is told */
export function refuseUnauthorized(
  authorization: Exclude<Authorization, { readonly kind: 'allowed' }>,
  targets: TargetIds,
  toClient?: Uint8Array,
): Handled {
  const { text } = authorization;
  const told = toClient === undefined ? {} : { toClient };
  if (authorization.kind === 'denied') {
    const { reason, hint } = authorization.denial;
    // Without a number for the target: there is no end of what is denied.
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

/** Why a destination cannot be had, as a decision. */

import type { Destination } from './authorizer.ts';
import type { Handled } from './dispatcher.ts';
import type { TargetIds } from './target-ids.ts';

/** @param toClient what the client is told */
export function refuseDestination(
  destination: Exclude<Destination, { readonly kind: 'allowed' }>,
  targets: TargetIds,
  toClient?: Uint8Array,
): Handled {
  const { text } = destination;
  const told = toClient === undefined ? {} : { toClient };
  if (destination.kind === 'denied') {
    const { reason, hint } = destination.denial;
    // Without a number for the target: there is no end of what is denied.
    return {
      decision: { action: 'reject', reason: 'denied', ...told },
      refusal: { problem: reason, hint, subject: text },
    };
  }
  const { message, hint } = destination.error;
  const problem = `no address for ${text}: ${message}`;
  return {
    decision: { action: 'reject', reason: 'no-upstream', target: targets.idOf(text), ...told },
    refusal: { problem, subject: text, ...(hint === undefined ? {} : { hint }) },
  };
}

/** The upstream of a route to an IP address that is not listed itself: allowed if a listed name resolves to it. */

import { type AccessQuestion, type NameLookUp, type NeedsNames, settleNames } from '../../access/authorize.ts';
import { isDefinitive, toError } from '../../dns/failure.ts';
import type { VsockProxyError } from '../../platform/errors.ts';
import { addressesOf, denialError, logMatchedIp, type Upstream, type UpstreamOptions } from './types.ts';

/** From the end of one round of questions to the next, while some names cannot be resolved. */
const RETRY_MS = 10_000;

/**
 * Resolves the listed names, a few at the same time, until one leads to the address; then it is allowed for good, as
 * the names of services rotate their addresses. It is denied when all are resolved and none leads there.
 */
export function findListedName(question: AccessQuestion, needs: NeedsNames, options: UpstreamOptions): Upstream {
  const { resolver, clock, log, onChange } = options;
  const { target } = question;
  const { promise: decided, resolve: decide, reject } = Promise.withResolvers<void>();
  const stopping = new AbortController();
  let absence = `the listed names for port ${target.port} are not resolved yet`;
  let cancelRetry: (() => void) | undefined;

  const search = async (round: number): Promise<void> => {
    const failures: VsockProxyError[] = [];
    const lookUp: NameLookUp = (name, family) => {
      if (stopping.signal.aborted) return { addresses: [] };
      return resolver.resolve(name, family, stopping.signal).catch((reason: unknown) => {
        const error = toError(reason, name);
        if (!isDefinitive(error.errno ?? '')) {
          failures.push(error);
          // The address may still be found to be allowed, but not to be denied: nothing more to wait for at the start.
          decide();
        }
        return error;
      });
    };
    const outcome = await settleNames(question, needs, lookUp);
    if (stopping.signal.aborted) return;
    switch (outcome.kind) {
      case 'allowed':
        stopping.abort();
        logMatchedIp(log, needs.ip, target);
        log.warn(
          `${needs.ip.text} is not in the allowlist, but ${outcome.rule.text} (${outcome.rule.place}), which resolves to it, is: allowed. ` +
            'Hint: list the address itself, or give the name on the command line',
        );
        onChange(addressesOf(outcome, target));
        return decide();
      case 'denied':
        absence = outcome.reason;
        if (round > 1) log.warn(`${absence}; clients are refused. Hint: ${outcome.hint}`);
        return reject(denialError(outcome));
      case 'unresolved': {
        absence = `none of the listed names for port ${target.port} is known to resolve to ${needs.ip.text}`;
        const text = `${failures.length} of ${needs.rules.length} could not be resolved: ${outcome.error.line}`;
        if (round === 1) {
          log.warn(`${absence}, but ${text}; clients are refused until one does`);
          onChange([]);
        } else {
          log.debug(text);
        }
        cancelRetry = clock.setTimer(RETRY_MS, () => void search(round + 1));
        return decide();
      }
    }
  };

  void search(1);
  return {
    decided,
    absence: () => absence,
    last: () => undefined,
    stop() {
      stopping.abort();
      cancelRetry?.();
    },
  };
}

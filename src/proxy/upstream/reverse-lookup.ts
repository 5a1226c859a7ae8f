/** Searches the listed names for one that has an address of the target, which is not listed itself. */

import {
  type AccessRequest,
  type Allowed,
  type NameLookUp,
  type NeedsNames,
  settleNames,
} from '../../access/authorize.ts';
import type { Denial } from '../../access/denial.ts';
import { isDefinitive, toError } from '../../dns/failure.ts';
import type { VsockProxyError } from '../../platform/errors.ts';
import { ResolutionLog } from './resolution-log.ts';
import { addressesOf, denialError, logMatchedIp, type Upstream, type UpstreamOptions, writtenHost } from './types.ts';

/** The time from the end of one round to the next, while some names cannot be resolved. */
const RETRY_MS = 10_000;

/** The results of a search. The functions must not throw. */
export interface SearchEvents {
  /** A name was found. The result stays valid. This is the last event. */
  onFound(allowed: Allowed): void;
  /** No name has the address. This is the last event. `late`: it took more than one round to find out. */
  onDenied(denial: Denial, late: boolean): void;
  /**
   * A name could not be resolved. The target may still turn out to be allowed, but not to be denied before the next
   * round.
   */
  onFailure(): void;
  /** The first round has found nothing, and another one will follow. `absence`: why there is no address. */
  onAbsence(absence: string): void;
}

/**
 * Resolves the listed names, a few at the same time, until one has an address of the target. It tries again while some
 * names cannot be resolved.
 * @returns a function that ends the search; no event follows it
 */
export function searchListedNames(
  request: AccessRequest,
  needs: NeedsNames,
  { resolver, clock, log }: Pick<UpstreamOptions, 'resolver' | 'clock' | 'log'>,
  events: SearchEvents,
): () => void {
  const { target } = request;
  const stopping = new AbortController();
  let cancelRetry: (() => void) | undefined;

  const search = async (round: number): Promise<void> => {
    const failures: VsockProxyError[] = [];
    const lookUp: NameLookUp = (name, family) => {
      if (stopping.signal.aborted) return { addresses: [] };
      return resolver.resolve(name, family, stopping.signal).catch((reason: unknown) => {
        const error = toError(reason, name);
        if (isDefinitive(error.errno ?? '') || stopping.signal.aborted) return error;
        failures.push(error);
        events.onFailure();
        return error;
      });
    };
    const outcome = await settleNames(request, needs, lookUp);
    if (stopping.signal.aborted) return;
    switch (outcome.kind) {
      case 'allowed':
        stopping.abort();
        tellFound(outcome);
        return events.onFound(outcome);
      case 'denied':
        return events.onDenied(outcome, round > 1);
      case 'unresolved': {
        const absence = `none of the listed names for port ${target.port} is known to resolve to ${addressTexts(needs)}`;
        const text = `${failures.length} of ${needs.rules.length} could not be resolved: ${outcome.error.line}`;
        if (round === 1) {
          log.warn(`${absence}, but ${text}; clients are refused until one does`);
          events.onAbsence(absence);
        } else {
          log.debug(text);
        }
        cancelRetry = clock.setTimer(RETRY_MS, () => void search(round + 1));
      }
    }
  };

  const tellFound = ({ rule, admitted: [first] }: Allowed): void => {
    if (first === undefined) return;
    logMatchedIp(log, first.address, target);
    const listed = `${rule.text} (${rule.place})`;
    log.warn(
      target.host.kind === 'ip'
        ? `${first.address.text} is not in the allowlist, but ${listed}, which resolves to it, is: allowed. ` +
            'Hint: list the address itself, or give the name on the command line'
        : `${target.host.name} is not in the allowlist, but ${listed}, which has the same address, is: allowed by match_names_by_ip. ` +
            'Hint: list the name itself',
    );
  };

  void search(1);
  return () => {
    stopping.abort();
    cancelRetry?.();
  };
}

/** The upstream of a route to an IP address that is not listed itself. */
export function findListedName(request: AccessRequest, needs: NeedsNames, options: UpstreamOptions): Upstream {
  const { log, onChange } = options;
  const { promise: decided, resolve: decide, reject } = Promise.withResolvers<void>();
  const resolution = new ResolutionLog(writtenHost(options), options);
  let absence = `the listed names for port ${request.target.port} are not resolved yet`;
  const stop = searchListedNames(request, needs, options, {
    onFound(allowed) {
      onChange(addressesOf(allowed, request.target));
      for (const { address } of allowed.admitted) resolution.useLiteral(address);
      decide();
    },
    onDenied(denial, late) {
      absence = denial.reason;
      if (late) log.warn(`${absence}; clients are refused. Hint: ${denial.hint}`);
      reject(denialError(denial));
    },
    onFailure: decide,
    onAbsence(text) {
      absence = text;
      onChange([]);
    },
  });
  return { decided, absence: () => absence, last: () => undefined, client: () => resolution.client(), stop };
}

function addressTexts({ refused }: NeedsNames): string {
  return refused.map(({ address }) => address.text).join(' or ');
}

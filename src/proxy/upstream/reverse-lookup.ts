/** The upstream of a route to an IP address that is not listed itself: allowed if a listed name resolves to it. */

import type { IpAddress } from '../../access/address.ts';
import { denyRoute } from '../../access/decide.ts';
import { guardAddresses } from '../../access/guard.ts';
import type { ExactNameRule } from '../../access/rules.ts';
import { isDefinitive } from '../../dns/failure.ts';
import { searchNames } from '../../dns/search.ts';
import { VsockProxyError } from '../../platform/errors.ts';
import { denialError, logMatchedIp, type Upstream, type UpstreamOptions } from './types.ts';

/** From the end of one round of questions to the next, while some names cannot be resolved. */
const RETRY_MS = 10_000;

/**
 * Resolves the listed names, a few at the same time, until one leads to the address; then it is allowed for good, as
 * the names of services rotate their addresses. It is denied when all are resolved and none leads there.
 */
export function findListedName(ip: IpAddress, names: readonly ExactNameRule[], options: UpstreamOptions): Upstream {
  const { target, policy, client, resolver, clock, log, onChange } = options;
  const { port } = target;
  const { promise: decided, resolve: decide, reject } = Promise.withResolvers<void>();
  const stopping = new AbortController();
  let absence = `the listed names for port ${port} are not resolved yet`;

  const search = async (round: number): Promise<void> => {
    const failures: unknown[] = [];
    const found = await searchNames(names, async (rule) => {
      if (stopping.signal.aborted) return false;
      const addresses = await resolver.resolve(rule.address.name, `ipv${ip.family}`, stopping.signal).then(
        (answer) => answer.addresses,
        (error: unknown) => {
          if (isNowhere(error)) return [];
          failures.push(error);
          // The address may still be found to be allowed, but not to be denied: nothing more to wait for at the start.
          decide();
          return [];
        },
      );
      const same = addresses.filter(({ text }) => text === ip.text);
      return guardAddresses(policy, port, client, rule, same).admitted.length > 0;
    });
    if (stopping.signal.aborted) return;

    if (found !== undefined) {
      stopping.abort();
      logMatchedIp(log, ip, port);
      log.warn(
        `${ip.text} is not in the allowlist, but ${found.text} (${found.place}), which resolves to it, is: allowed. ` +
          'Hint: list the address itself, or give the name on the command line',
      );
      onChange([{ family: 'tcp', ip: ip.text, port }]);
      return decide();
    }

    if (failures.length === 0) {
      const denial = denyRoute(policy, target, client);
      absence = denial.reason;
      if (round > 1) log.warn(`${absence}; clients are refused. Hint: ${denial.hint}`);
      return reject(denialError(denial));
    }
    absence = `none of the listed names for port ${port} is known to resolve to ${ip.text}`;
    const text = `${failures.length} of ${names.length} could not be resolved: ${reasonOf(failures[0])}`;
    if (round === 1) log.warn(`${absence}, but ${text}; clients are refused until one does`);
    else log.debug(text);
    if (round === 1) onChange([]);
    cancelRetry = clock.setTimer(RETRY_MS, () => void search(round + 1));
    decide();
  };

  let cancelRetry: (() => void) | undefined;
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

/** The servers say that there is no such address: an answer, and no failure to get one. */
function isNowhere(error: unknown): boolean {
  return error instanceof VsockProxyError && error.errno !== undefined && isDefinitive(error.errno);
}

function reasonOf(failure: unknown): string {
  return failure instanceof VsockProxyError ? failure.line : String(failure);
}

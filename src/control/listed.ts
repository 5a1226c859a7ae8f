/** The upstream of a route to an IP address that is not listed itself: allowed if a listed name resolves to it. */
import { isDefinitive } from '../dns/failure.ts';
import { VsockProxyError } from '../errors.ts';
import type { IpAddress } from '../policy/address.ts';
import { denyRoute } from '../policy/decision.ts';
import { guardAddresses } from '../policy/guard.ts';
import type { ExactNameRule } from '../policy/rules.ts';
import { denialError, logMatchedIp, type Upstream, type UpstreamOptions } from './upstream.ts';

/** From the end of one round of questions to the next, while some names cannot be resolved. */
const RETRY_MS = 10_000;

/**
 * Resolves the listed names, all at the same time, until one leads to the address; then it is allowed for good, as
 * the names of services rotate their addresses. It is denied when all are resolved and none leads there.
 */
export function findListedName(ip: IpAddress, names: readonly ExactNameRule[], options: UpstreamOptions): Upstream {
  const { target, policy, client, resolver, clock, log, onChange } = options;
  const { port } = target;
  const { promise: decided, resolve: decide, reject } = Promise.withResolvers<void>();
  const stopping = new AbortController();
  let absence = `the listed names for port ${port} are not resolved yet`;

  const leadsThere = async (rule: ExactNameRule): Promise<boolean> => {
    const addresses = await resolver.resolve(rule.address.name, `ipv${ip.family}`, stopping.signal).then(
      (answer) => answer.addresses,
      (error: unknown) => {
        if (isNowhere(error)) return [];
        throw error;
      },
    );
    const found = addresses.filter(({ text }) => text === ip.text);
    return guardAddresses(policy, port, client, rule, found).admitted.length > 0;
  };

  const search = async (round: number): Promise<void> => {
    const answers = await Promise.allSettled(names.map(leadsThere));
    if (stopping.signal.aborted) return;

    const rule = names.find((_, index) => answers[index]?.status === 'fulfilled' && answers[index].value);
    if (rule !== undefined) {
      logMatchedIp(log, ip, port);
      log.warn(
        `${ip.text} is not in the allowlist, but ${rule.text} (${rule.place}), which resolves to it, is: allowed. ` +
          'Hint: list the address itself, or give the name on the command line',
      );
      onChange([{ family: 'tcp', ip: ip.text, port }]);
      return decide();
    }

    const failures = answers.filter((answer) => answer.status === 'rejected');
    if (failures[0] === undefined) {
      const denial = denyRoute(policy, target, client);
      absence = denial.reason;
      if (round > 1) log.warn(`${absence}; clients are refused. Hint: ${denial.hint}`);
      return reject(denialError(denial));
    }
    absence = `none of the listed names for port ${port} is known to resolve to ${ip.text}`;
    const text = `${failures.length} of ${names.length} could not be resolved: ${reasonOf(failures[0].reason)}`;
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

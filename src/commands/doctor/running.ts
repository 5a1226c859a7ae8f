/** Checks of the running proxy, by its control socket. */
import { VsockProxyError } from '../../platform/errors.ts';
import type { Status } from '../observe/status.ts';
import { type Check, type CheckResult, fail, ok, skip, warn } from './check.ts';

type OfStatus = Status['listeners'][number];
/** The values of a listener that the checks use. */
export interface RunningListener extends Pick<OfStatus, 'address' | 'target' | 'limits' | 'upstream'> {
  readonly counters: Pick<OfStatus['counters'], 'active' | 'limitHits' | 'waitingMs'>;
}

/** @throws VsockProxyError `control` if there is no answer */
export type RequestStatus = () => Promise<{ readonly listeners: readonly RunningListener[] }>;

export function runningChecks(requestStatus: RequestStatus): readonly Check[] {
  // One request serves both checks.
  const requested = requestStatus().then(
    (status) => status,
    (error: unknown) => {
      if (error instanceof VsockProxyError) return error;
      throw error;
    },
  );
  requested.catch(() => undefined); // each check handles the rejection
  const perListener = (check: (listener: RunningListener) => CheckResult | undefined) => async () => {
    const status = await requested;
    if (!(status instanceof VsockProxyError)) {
      const findings = status.listeners.map(check).filter((each) => each !== undefined);
      return findings.length > 0 ? findings : skip('no listener has a fixed server that is a name');
    }
    // A proxy that is there and does not answer has failed. Otherwise there is no proxy to check.
    return status.errno === undefined || status.errno === 'ABORT_ERR'
      ? fail(status.message, 'systemctl restart nitro-enclaves-vsock-proxy')
      : skip(status.message);
  };
  return [
    { name: 'limits', run: perListener(checkLimit) },
    { name: 'dns', run: perListener(checkAddresses) },
  ];
}

function checkLimit({
  address,
  limits: { connections },
  counters: { active, limitHits, waitingMs },
}: RunningListener): CheckResult {
  const places = `${address}: ${active} of ${connections} places are taken`;
  const raise = 'raise limits.connections (or --num_workers), or see who holds them: vsock-proxy connections';
  if (waitingMs > 0) return fail(`${places}, and a client has waited for ${(waitingMs / 1000).toFixed(1)} s`, raise);
  if (limitHits > 0) return warn(`${places}; ${limitHits} times a client has waited for one`, raise);
  return ok(places);
}

/** @returns undefined if its clients name their targets, or if no name is resolved */
function checkAddresses({ address, target, upstream }: RunningListener): CheckResult | undefined {
  if (target === undefined || upstream === undefined) return undefined;
  const { addresses, absence, ageSeconds, stale } = upstream;
  const mend = `see /etc/resolv.conf, and: dig ${target.replace(/:\d+$/, '')}`;
  if (addresses.length === 0) return fail(`${address}: clients are refused: ${absence ?? 'no address is known'}`, mend);
  if (stale)
    return warn(`${address}: ${target} is ${addresses.join(', ')}, by an answer that could not be renewed`, mend);
  const age = ageSeconds === undefined ? '' : `, for ${Math.round(ageSeconds)} s`;
  return ok(`${address}: ${target} is ${addresses.join(', ')}${age}`);
}

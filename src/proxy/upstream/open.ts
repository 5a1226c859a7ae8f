/**
 * Opens the upstream of a fixed route: its addresses are decided by the allowlist, resolved, guarded, and kept current.
 *
 * A route that the allowlist denies cannot start. A name that cannot be resolved does not prevent the start: it is
 * tried again, and until then there is no address, and clients are refused.
 */
import { type Allowed, begin } from '../../access/authorize.ts';
import { ResolutionLog } from './resolution-log.ts';
import { findListedName } from './reverse-lookup.ts';
import {
  addressesOf,
  denialError,
  logMatchedIp,
  logMatchedName,
  type Upstream,
  type UpstreamOptions,
  writtenHost,
} from './types.ts';
import { ResolvedUpstream } from './watched-name.ts';

/** @throws VsockProxyError `denied` if the allowlist denies the route, whatever its name resolves to */
export function openUpstream(options: UpstreamOptions): Upstream {
  const { target, policy, client, family, log } = options;
  const request = { target, policy, client, family, namedBy: 'operator' } as const;
  const state = begin(request);
  switch (state.kind) {
    case 'denied':
      throw denialError(state);
    case 'unresolved':
      throw state.error;
    case 'allowed':
      return listedIp(state, options);
    case 'needs-addresses':
      if (state.rule !== undefined) logMatchedName(log, writtenHost(options), target);
      return new ResolvedUpstream(request, state, options);
    case 'needs-names':
      return findListedName(request, state, options);
  }
}

function listedIp(allowed: Allowed, options: UpstreamOptions): Upstream {
  const { target, log, onChange } = options;
  const written = writtenHost(options);
  const resolution = new ResolutionLog(written, options);
  for (const { address, rule } of allowed.admitted) {
    // AWS's proxy compares the texts first.
    if (rule.text === written) logMatchedName(log, written, target);
    else logMatchedIp(log, address, target);
    resolution.useLiteral(address);
  }
  const decided = Promise.resolve().then(() => onChange(addressesOf(allowed, target)));
  return {
    decided,
    absence: () => 'no address is known yet',
    last: () => undefined,
    client: () => resolution.client(),
    stop: () => undefined,
  };
}

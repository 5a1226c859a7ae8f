/**
 * The addresses of a route: decided by the allowlist, resolved, guarded, and kept current.
 *
 * What the allowlist forbids is fatal at the start. What cannot be resolved is not: it is tried again, and until then
 * there is no address, and clients are refused.
 */
import { type Allowed, begin } from '../../access/authorize.ts';
import { findListedName } from './reverse-lookup.ts';
import { addressesOf, denialError, logMatchedIp, type Upstream, type UpstreamOptions } from './types.ts';
import { ResolvedUpstream } from './watched-name.ts';

/** @throws VsockProxyError `denied` when the allowlist forbids the route whatever its name resolves to */
export function openUpstream(options: UpstreamOptions): Upstream {
  const { target, policy, client, family, log } = options;
  const question = { target, policy, client, family, askedBy: 'operator' } as const;
  const state = begin(question);
  switch (state.kind) {
    case 'denied':
      throw denialError(state);
    case 'unresolved':
      throw state.error;
    case 'allowed':
      return listedIp(state, options);
    case 'needs-addresses':
      if (state.rule !== undefined) log.info(`Matched with host name "${state.name}" and port "${target.port}"`);
      return new ResolvedUpstream(question, state, options);
    case 'needs-names':
      return findListedName(question, state, options);
  }
}

function listedIp(allowed: Allowed, { target, log, onChange }: UpstreamOptions): Upstream {
  for (const { address } of allowed.admitted) logMatchedIp(log, address, target);
  const decided = Promise.resolve().then(() => onChange(addressesOf(allowed, target)));
  return { decided, absence: () => 'no address is known yet', last: () => undefined, stop: () => undefined };
}

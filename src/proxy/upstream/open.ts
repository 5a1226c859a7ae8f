/**
 * The addresses of a route: decided by the allowlist, resolved, guarded, and kept current.
 *
 * What the allowlist forbids is fatal at the start. What cannot be resolved is not: it is tried again, and until then
 * there is no address, and clients are refused.
 */
import type { IpAddress } from '../../access/address.ts';
import { decideRoute } from '../../access/decide.ts';
import { isNameRule } from '../../access/rules.ts';
import { findListedName } from './reverse-lookup.ts';
import { denialError, logMatchedIp, type Upstream, type UpstreamOptions } from './types.ts';
import { ResolvedUpstream } from './watched-name.ts';

/** @throws VsockProxyError `denied` when the allowlist forbids the route whatever its name resolves to */
export function openUpstream(options: UpstreamOptions): Upstream {
  const { target, policy, client, log } = options;
  const { host, port } = target;
  const decision = decideRoute(policy, target, client);
  if (decision.kind === 'denied') throw denialError(decision);
  if (host.kind === 'name') {
    const namedBy = decision.kind === 'allowed' && isNameRule(decision.rule) ? decision.rule : undefined;
    if (namedBy !== undefined) log.info(`Matched with host name "${host.name}" and port "${port}"`);
    return new ResolvedUpstream(host.name, namedBy, options);
  }
  if (decision.kind === 'allowed') return listedIp(host.ip, options);
  return findListedName(host.ip, decision.kind === 'needs-names' ? decision.rules : [], options);
}

function listedIp(ip: IpAddress, { target: { port }, log, onChange }: UpstreamOptions): Upstream {
  logMatchedIp(log, ip, port);
  const decided = Promise.resolve().then(() => onChange([{ family: 'tcp', ip: ip.text, port }]));
  return { decided, absence: () => 'no address is known yet', last: () => undefined, stop: () => undefined };
}

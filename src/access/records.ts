/** Decides whether a client may look up SRV and TXT records of a name. */
import { type Hostname, toTcpPort } from './address.ts';
import { coversPort } from './ports.ts';
import { findRule } from './rule-index.ts';
import { type Client, isFor, type Policy, type Rule } from './rules.ts';

/**
 * A client may look up records of a listed name, on any port, and of services of such a name: `_mongodb._tcp.` in front
 * of it. A name that is denied on every port is denied here, too.
 * @returns the deny rule; `unlisted` if no rule lists the name; undefined if the look-up is allowed
 */
export function findRecordDenial(policy: Policy, name: Hostname, client: Client): Rule | 'unlisted' | undefined {
  const hosts = [name, hostOfService(name)].map((each) => ({ kind: 'name', name: each }) as const);
  for (const host of hosts) {
    const rule = findRule(policy.deny, host, (candidate) => isFor(candidate, client) && isForAllPorts(candidate));
    if (rule !== undefined) return rule;
  }
  const isListed = hosts.some(
    (host) => findRule(policy.allow, host, (candidate) => isFor(candidate, client)) !== undefined,
  );
  return isListed ? undefined : 'unlisted';
}

/** The name without the labels in front for a service and its protocol (RFC 2782). */
function hostOfService(name: Hostname): Hostname {
  const host = name.replace(/^(?:_[^.]*\.)+/, '');
  return host as Hostname;
}

const ENDS = [1, 65_535].map(toTcpPort).filter((port) => port !== undefined);

/** All ports are one range here. A rule with several ranges means single ports. */
function isForAllPorts({ ports }: Rule): boolean {
  return ports === 'any' || ports.some((range) => ENDS.every((port) => coversPort([range], port)));
}

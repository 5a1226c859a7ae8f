/** Whether a client may look up records of a name that are no addresses. */
import { type Hostname, toTcpPort } from './address.ts';
import { coversPort } from './ports.ts';
import { findRule } from './rule-index.ts';
import { type Client, isFor, type Policy, type Rule } from './rules.ts';

/**
 * It may for the names that rules list, on any port, and for services of such names: `_mongodb._tcp.` in front of one. What is
 * denied on every port is denied here.
 * @returns the deny rule; `unlisted` where no rule lists the name; undefined: it may
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

/** Without the labels in front that name a service and its protocol (RFC 2782). */
function hostOfService(name: Hostname): Hostname {
  const host = name.replace(/^(?:_[^.]*\.)+/, '');
  return host as Hostname;
}

const ENDS = [1, 65_535].map(toTcpPort).filter((port) => port !== undefined);

/** By one range: who writes several means ports. */
function isForAllPorts({ ports }: Rule): boolean {
  return ports === 'any' || ports.some((range) => ENDS.every((port) => coversPort([range], port)));
}

/** The meaning of rules by the shortest definition: a walk over the list. For tests of the index, which is faster. */
import type { TargetHost } from '../../../src/access/address.ts';
import { formatHost } from '../../../src/access/address.ts';
import { cidrCovers } from '../../../src/access/cidr.ts';
import type { Rule, RuleAddress } from '../../../src/access/rules.ts';

/** `*` takes one label, `**` one or more; all possibilities are tried. */
export function matchesByDefinition(
  [first, ...others]: readonly string[],
  [label, ...rest]: readonly string[],
): boolean {
  if (first === undefined || label === undefined) return first === label;
  if (first === '**' && matchesByDefinition(['**', ...others], rest)) return true;
  return (first === '**' || first === '*' || first === label) && matchesByDefinition(others, rest);
}

/**
 * Every rule whose address matches. Rules for exactly this name or address come first; each kind is in the order of the
 * list.
 */
export function walkRules(rules: readonly Rule[], host: TargetHost): readonly Rule[] {
  const matching = rules.filter(({ address }) => covers(address, host));
  const isExact = ({ address }: Rule) => address.kind === 'name' || address.kind === 'ip';
  return [...matching.filter(isExact), ...matching.filter((rule) => !isExact(rule))];
}

function covers(address: RuleAddress, host: TargetHost): boolean {
  switch (address.kind) {
    case 'name':
    case 'ip':
      return formatHost(address) === formatHost(host);
    case 'pattern':
      return host.kind === 'name' && matchesByDefinition(address.pattern.labels, host.name.split('.'));
    case 'cidr':
      return host.kind === 'ip' && cidrCovers(address.cidr, host.ip);
  }
}

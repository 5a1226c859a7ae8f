/** Compares the listeners of a new plan with the running ones, by their addresses. */
import type { Rule } from '../access/rules.ts';
import type { ListenerPlan } from '../plan.ts';

export interface Difference<Running> {
  readonly added: readonly ListenerPlan[];
  readonly changed: readonly { readonly predecessor: Running; readonly plan: ListenerPlan }[];
  readonly removed: readonly Running[];
  readonly unchanged: readonly Running[];
}

export function comparePlans<Running extends { readonly plan: ListenerPlan }>(
  running: readonly Running[],
  wanted: readonly ListenerPlan[],
): Difference<Running> {
  const left = new Map(running.map((listener) => [keyOf(listener.plan.on), listener]));
  const added: ListenerPlan[] = [];
  const changed: { predecessor: Running; plan: ListenerPlan }[] = [];
  const unchanged: Running[] = [];
  for (const plan of wanted) {
    const predecessor = left.get(keyOf(plan.on));
    left.delete(keyOf(plan.on));
    if (predecessor === undefined) added.push(plan);
    else if (isEqual(predecessor.plan, plan, true)) unchanged.push(predecessor);
    else changed.push({ predecessor, plan });
  }
  return { added, changed, removed: [...left.values()], unchanged };
}

/**
 * Whether two listeners are equal, including their places in the file. (A moved listener is replaced, because messages
 * name the places of rules.)
 */
export function isSame(one: ListenerPlan, other: ListenerPlan): boolean {
  return isEqual(one, other, false);
}

function isEqual(one: ListenerPlan, other: ListenerPlan, withPlaces: boolean): boolean {
  const [{ policy, ...rest }, { policy: otherPolicy, ...otherRest }] = [one, other];
  const [{ allow, deny, ...terms }, { allow: otherAllow, deny: otherDeny, ...otherTerms }] = [policy, otherPolicy];
  return (
    areEqualRules(allow, otherAllow, withPlaces) &&
    areEqualRules(deny, otherDeny, withPlaces) &&
    write([rest, terms], withPlaces) === write([otherRest, otherTerms], withPlaces)
  );
}

/** Compares rules one by one. For tens of thousands of rules, building texts would take too long while clients wait. */
function areEqualRules(rules: readonly Rule[], others: readonly Rule[], withPlaces: boolean): boolean {
  return rules.length === others.length && rules.every((rule, index) => isEqualRule(rule, others[index], withPlaces));
}

/** Addresses are equal if their texts are. */
function isEqualRule(rule: Rule, other: Rule | undefined, withPlaces: boolean): boolean {
  if (other === undefined || rule.text !== other.text) return false;
  if (withPlaces && rule.place !== other.place) return false;
  const [one, two] = [termsOf(rule), termsOf(other)];
  return one.every((term, index) => term === two[index] || JSON.stringify(term) === JSON.stringify(two[index]));
}

function termsOf({ ports, cids, leadsTo }: Rule): readonly unknown[] {
  return [ports, cids, leadsTo];
}

function write(value: unknown, withPlaces: boolean): string {
  return JSON.stringify(value, (key, inner) => (key === 'place' && !withPlaces ? undefined : inner));
}

function keyOf(on: ListenerPlan['on']): string {
  return JSON.stringify(Object.entries(on).sort());
}

/** What a new plan changes of the listeners that run, by their addresses. */
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

/** Whether they mean the same, wherever they stand in the file. (What moved is made anew: messages tell where rules are.) */
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

/** One by one: of tens of thousands, texts would be written for nothing while clients wait. */
function areEqualRules(rules: readonly Rule[], others: readonly Rule[], withPlaces: boolean): boolean {
  return rules.length === others.length && rules.every((rule, index) => isEqualRule(rule, others[index], withPlaces));
}

/** What an address means, its text says. */
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

/** What a new plan changes of the listeners that run, by their addresses. */
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
    else if (JSON.stringify(predecessor.plan) === JSON.stringify(plan)) unchanged.push(predecessor);
    else changed.push({ predecessor, plan });
  }
  return { added, changed, removed: [...left.values()], unchanged };
}

/** Whether they mean the same, wherever they stand in the file. (What moved is made anew: messages tell where rules are.) */
export function isSame(one: ListenerPlan, other: ListenerPlan): boolean {
  return withoutPlaces(one) === withoutPlaces(other);
}

function withoutPlaces(plan: ListenerPlan): string {
  return JSON.stringify(plan, (key, value) => (key === 'place' ? undefined : value));
}

function keyOf(on: ListenerPlan['on']): string {
  return JSON.stringify(Object.entries(on).sort());
}

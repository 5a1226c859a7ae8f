/** Records the events of a data plane, and lets tests wait for them. */
import type { CloseRecord, DataPlaneEvents, DecisionRequest, Fault, Progress } from '../../src/dataplane/contract.ts';

export class RecordedEvents implements DataPlaneEvents {
  readonly steps: Progress[] = [];
  readonly records: CloseRecord[] = [];
  readonly faults: Fault[] = [];
  readonly requests: DecisionRequest[] = [];
  /** The four kinds in the order in which they came, one word each. */
  readonly order: string[] = [];
  readonly #watchers = new Set<() => void>();

  onProgress(steps: readonly Progress[]): void {
    this.steps.push(...steps);
    this.#note(steps.map(({ step }) => step));
  }

  onClose(records: readonly CloseRecord[]): void {
    this.records.push(...records);
    this.#note(records.map(() => 'closed'));
  }

  onFault(faults: readonly Fault[]): void {
    this.faults.push(...faults);
    this.#note(faults.map(({ kind }) => kind));
  }

  onDecisionRequest(requests: readonly DecisionRequest[]): void {
    this.requests.push(...requests);
    this.#note(requests.map(({ kind }) => kind));
  }

  /** The close record at this place, when it has come. */
  record(index = 0): Promise<CloseRecord> {
    return this.#at(this.records, index);
  }

  fault(index = 0): Promise<Fault> {
    return this.#at(this.faults, index);
  }

  request(index = 0): Promise<DecisionRequest> {
    return this.#at(this.requests, index);
  }

  step(index = 0): Promise<Progress> {
    return this.#at(this.steps, index);
  }

  #at<Event>(events: readonly Event[], index: number): Promise<Event> {
    return new Promise((resolve) => {
      const check = () => {
        const event = events[index];
        if (event !== undefined) resolve(event);
      };
      this.#watchers.add(check);
      check();
    });
  }

  #note(words: readonly string[]): void {
    this.order.push(...words);
    for (const watcher of this.#watchers) watcher();
  }
}

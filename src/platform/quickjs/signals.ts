/** Signals of this process, with the interface of `process.on`. */
import { SIGNALS } from './errors.ts';
import { READABLE } from './host.ts';

const listeners = new Map<number, (() => void)[]>();

/** From now on the signal only calls its listeners, in the order of their registration. */
export function onSignal(name: string, listener: () => void): void {
  const number = SIGNALS[name] ?? 0;
  const known = listeners.get(number);
  if (known !== undefined) {
    known.push(listener);
    return;
  }
  const own = [listener];
  listeners.set(number, own);
  const fd = host.openSignals([number]);
  host.watch(fd, READABLE, () => {
    while (host.takeSignal(fd) !== 0) {
      for (const each of own) each();
    }
  });
}

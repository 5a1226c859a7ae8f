/** Time as a parameter, so that tests need not wait. */
export interface Clock {
  /** Milliseconds since some fixed moment. The value never decreases. */
  now(): number;
  /** Calls `fire` once after `ms`. The returned function cancels that. */
  setTimer(ms: number, fire: () => void): () => void;
}

export const systemClock: Clock = {
  now: () => performance.now(),
  setTimer(ms, fire) {
    const timer = setTimeout(fire, ms);
    return () => clearTimeout(timer);
  },
};

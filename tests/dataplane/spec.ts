/** The listener of the contract suite, and its deadlines. */
import type { ListenSpec } from '../../src/dataplane/contract.ts';

/** A deadline that a test waits for. */
export const SOON_MS = 80;
/** A deadline that no test should reach. */
export const LATE_MS = 20_000;

/** A listener without its address and its kind. */
export const SPEC: Omit<ListenSpec, 'on' | 'kind'> = {
  limits: { connections: 10, connectionsPerClient: 0, ratePerClient: 0 },
  admission: {},
  timeouts: { connectMs: LATE_MS, idleMs: 0, headMs: LATE_MS, reuseMs: 0 },
  report: 'lifecycle',
};

/**
 * Sends log lines and the command's output out of the enclave. A listener of the data plane relays them, because the
 * sender has no vsock.
 */
import type { SocketAddress } from '../dataplane/contract.ts';
import type { PipeEnds } from '../dataplane/system.ts';
import type { ListenerPlan } from '../plan.ts';
import { connect } from '../platform/system/sockets.ts';
import type { RunningProxy } from '../proxy/server.ts';
import type { LogSender } from './log-sender.ts';

/** The address for lines, and the functions for sending them. */
export interface Logging {
  readonly to: SocketAddress;
  readonly sender: LogSender;
  readonly openPipe: () => PipeEnds;
  /** The text for an error that ends the process: a line with its newline. */
  readonly describeFailure: (error: unknown) => string;
}

const WEEK_MS = 7 * 24 * 3_600_000;

/** The last listener of a plan. It waits for the parent without a limit. */
export function relayTo(address: SocketAddress): ListenerPlan {
  return {
    place: 'option --log',
    on: { family: 'tcp', ip: '127.0.0.1', port: 0 },
    route: { kind: 'address', address, proxyHeader: false },
    policy: { allow: [], deny: [] },
    family: 'any',
    limits: { connections: 4, connectionsPerClient: 0, ratePerClient: 0 },
    timeouts: { connectMs: WEEK_MS, idleMs: 0, headMs: WEEK_MS, reuseMs: 0 },
  };
}

/** @param proxy runs a plan with {@link relayTo} */
export function startSending({ sender }: Logging, proxy: RunningProxy): void {
  const relay = proxy.addresses().at(-1);
  if (relay?.family === 'tcp') sender.start(() => connect({ host: relay.ip, port: relay.port }));
}

/**
 * Sends the parent the reason why an enclave could not be set up, because there is no console in production mode.
 * `serve` runs a plan of these listeners only.
 */
export async function sendFailure(
  error: unknown,
  logging: Logging,
  serve: (listeners: readonly ListenerPlan[]) => Promise<RunningProxy>,
  deadlineMs: number,
): Promise<void> {
  const proxy = await serve([relayTo(logging.to)]);
  startSending(logging, proxy);
  logging.sender.write(logging.describeFailure(error));
  await logging.sender.finish(deadlineMs);
  await proxy.drain();
}

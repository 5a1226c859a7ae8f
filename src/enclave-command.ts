/** The command `enclave`, made from the functions of its process; the same for each JavaScript engine. */
import { describeFailure } from './commands/failure.ts';
import { addLoopbackAddress, bringUpLoopback, openPipe, reapOrphans } from './dataplane/process.ts';
import type { SignalSource } from './enclave/signals.ts';
import type { EnclavePlan } from './plan.ts';
import { systemClock } from './platform/clock.ts';
import type { Environment } from './platform/environment.ts';
import type { Log, LogFor } from './platform/log.ts';
import type { ProcessLog } from './process-log.ts';
import type { RunningProxy, ServeDependencies } from './proxy/server.ts';

export interface EnclaveProcess {
  readonly env: Environment;
  /** The host name, from uname(2). */
  readonly hostName: string;
  readonly processLog: ProcessLog;
  /** Writes to standard output. @returns the exit status */
  readonly print: (text: string) => number;
  readonly signals: SignalSource;
  /** Lets through what the engine blocks; called once there is a listener for every signal. */
  readonly unblockSignals: () => void;
  readonly dependenciesFor: (logFor: LogFor) => ServeDependencies;
  /** Opens metrics and the control socket, as the plan and the environment say. */
  readonly observe: (proxy: RunningProxy, log: Log) => Promise<unknown>;
}

/**
 * @param argv without the names of the program and the command
 * @returns the exit status
 */
export async function runEnclaveCommand(argv: readonly string[], host: EnclaveProcess): Promise<number> {
  const { parseEnclaveCommand } = await import('./commands/enclave.ts');
  const parsed = parseEnclaveCommand(argv);
  if (parsed.kind === 'text') return host.print(parsed.text);
  const { isInForeground, takeSignals } = await import('./enclave/signals.ts');
  const signals = takeSignals(host.signals, isInForeground);
  host.unblockSignals();
  const { logTo } = parsed.arguments;
  const sender = logTo && new (await import('./enclave/log-sender.ts')).LogSender(systemClock);
  // Denials in an enclave are visible nowhere else.
  const logFor = host.processLog.open('warn', (line) => sender?.write(line));
  const { loadEnclavePlan } = await import('./config/enclave-plan.ts');
  const { lookAround, refuseElsewhere } = await import('./enclave/elsewhere.ts');
  const { runEnclave } = await import('./enclave/run.ts');
  const { serve } = await import('./proxy/server.ts');
  const load = (): EnclavePlan => {
    const plan = loadEnclavePlan(parsed.arguments);
    host.processLog.follow(plan.logFormat);
    return plan;
  };
  return await runEnclave(load, parsed.arguments.command, {
    log: logFor('vsock_proxy'),
    clock: systemClock,
    env: host.env,
    hostName: host.hostName,
    addLoopbackAddress,
    refuseElsewhere: () => refuseElsewhere(lookAround()),
    bringUpLoopback,
    reapOrphans,
    signals,
    ...(logTo &&
      sender && {
        logging: {
          to: logTo,
          sender,
          openPipe,
          describeFailure: (error) => describeFailure(error, false, 'enclave').text,
        },
      }),
    async serve(listeners, hostOf) {
      const proxy = await serve(() => Promise.resolve(listeners), {
        ...host.dependenciesFor(logFor),
        support: { hostOf },
      });
      try {
        await host.observe(proxy, logFor('vsock_proxy'));
      } catch (error) {
        await proxy.drain(); // another one tells the parent why, and QuickJS has one data plane at a time
        throw error;
      }
      return proxy;
    },
  });
}

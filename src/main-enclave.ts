/** The process edge of `vsock-enclave`: the enclave's side under QuickJS. `forward` is native: native/quickjs/main.cc. */
import './platform/quickjs/globals.ts';
import { describeFailure } from './commands/failure.ts';
import { COMMANDS } from './commands/list.ts';
import { openDataPlane, relayThreads } from './dataplane/addon.ts';
import { sendDatagram } from './dataplane/process.ts';
import { runEnclaveCommand } from './enclave-command.ts';
import { openObservation } from './observation.ts';
import { systemClock } from './platform/clock.ts';
import { VsockProxyError } from './platform/errors.ts';
import { quoteBriefly } from './platform/escape.ts';
import { isJournal, JOURNAL } from './platform/log-output.ts';
import { onSignal } from './platform/quickjs/signals.ts';
import { isTerminal, openStderr } from './platform/quickjs/stderr.ts';
import { print } from './platform/stdout.ts';
import { fstatSync } from './platform/system/files.ts';
import { PROGRAM } from './platform/system/program.ts';
import { ProcessLog } from './process-log.ts';
import type { ServeDependencies } from './proxy/server.ts';

/** The bundler sets it. */
declare const VSOCK_PROXY_VERSION: string;

const STDERR = 2;

const HELP = `Usage: ${PROGRAM} <command>

The commands of vsock-proxy for inside an enclave, without Node.js:

  enclave ${COMMANDS.enclave.usage}  ${COMMANDS.enclave.summary}
  forward ${COMMANDS.forward.usage}  ${COMMANDS.forward.summary}

More: ${PROGRAM} enclave --help
`;

const { argv, env } = process;
const [, command, ...rest] = argv;
const processLog = new ProcessLog({
  env,
  write: openStderr(),
  isTerminal: () => isTerminal(STDERR),
  ...(isJournal(env.JOURNAL_STREAM, fstatSync(STDERR)) && {
    sendToJournal: (datagram) => sendDatagram(JOURNAL, datagram),
  }),
});
host.onUncaught(fail);
void main().then(host.exit, fail);

async function main(): Promise<number> {
  if (command === '--version' || command === '-V') return print(`${PROGRAM} ${VSOCK_PROXY_VERSION}\n`);
  if (command === '--help' || command === '-h') return print(HELP);
  if (command !== 'enclave') {
    throw new VsockProxyError(
      'usage',
      command === undefined ? 'a command is missing' : `unknown command ${quoteBriefly(command)}`,
    );
  }
  return await runEnclaveCommand(rest, {
    env,
    hostName: host.hostName,
    processLog,
    print,
    signals: { on: onSignal, exit: host.exit },
    unblockSignals: () => undefined,
    dependenciesFor: (logFor): ServeDependencies => ({
      logFor,
      clock: systemClock,
      now: () => new Date(),
      onPlan: ({ logFormat }) => processLog.follow(logFormat),
      resolver: { resolve: refuseToResolve },
      openDataPlane: (events) => openDataPlane(events, { threads: relayThreads(host.processors) }),
      activatedSockets: () => Promise.resolve(new Map()),
      hasOwnVsock: () => false,
    }),
    observe: (proxy, log) => openObservation(proxy, log, { env, version: VSOCK_PROXY_VERSION }),
  });
}

/** All routes of an enclave lead to addresses, or to its parent, which resolves names. */
function refuseToResolve(name: string): Promise<never> {
  return Promise.reject(new VsockProxyError('internal', `${name} was to be resolved inside the enclave`));
}

function fail(error: unknown): never {
  const { text, exitStatus } = describeFailure(error, (env.RUST_BACKTRACE ?? '0') !== '0', 'enclave');
  processLog.put({ at: new Date(), level: 'error', message: text.trimEnd() });
  return host.exit(exitStatus);
}

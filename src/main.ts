/** The process edge: arguments, environment, standard streams, signals and exit status meet the program here only. */
import { writeSync } from 'node:fs';
import { availableParallelism, constants } from 'node:os';
import { isatty } from 'node:tty';
import { describeFailure } from './cli/failure.ts';
import { type ProxyArguments, parseProxyCommand } from './cli/proxy.ts';
import { startProxy } from './control/start.ts';
import { openDataPlane } from './dataplane/addon.ts';
import { systemClock } from './dns/clock.ts';
import { createSystemResolver } from './dns/system.ts';
import { escapeControls } from './escape.ts';
import { type LogFor, openLog, parseLogFilter } from './log.ts';
import { lineWriter, openStderr } from './stderr.ts';
import { VERSION } from './version.ts';

const STDOUT = 1;
const STDERR = 2;

/** One thread relays tens of Gbit/s; more than a few only take processors from the enclaves. */
const MAX_RELAY_THREADS = 4;

const { argv, env } = process;
const writeError = openStderr();
process.on('uncaughtException', fail);
void main().then(process.exit, fail);

/** @returns the exit status */
async function main(): Promise<number> {
  const invocation = parseProxyCommand(argv.slice(2), VERSION);
  if (invocation.kind === 'proxy') return await runProxy(invocation.arguments, firstStopSignal());
  const printed = lineWriter((bytes) => writeSync(STDOUT, bytes))(invocation.text);
  return printed ? 0 : 1;
}

async function runProxy(
  { listenOn, target, family, connections, configPath }: ProxyArguments,
  stopSignal: Promise<NodeJS.Signals>,
): Promise<number> {
  const logFor = openLogOfProcess();
  const log = logFor('vsock_proxy');

  log.info('Checking allowlist configuration');
  // Not above: the schema and the YAML parser take longer to load than --version and --help otherwise take.
  const { loadSettings } = await import('./config/resolve.ts');
  const settings = loadSettings(configPath, connections === undefined ? {} : { connections });
  const starting = startProxy(
    {
      listenOn,
      target,
      family,
      policy: settings.policy,
      maxConnections: settings.limits.connections,
      timeouts: settings.timeouts,
    },
    {
      logFor,
      clock: systemClock,
      resolver: createSystemResolver(),
      openDataPlane: (events) =>
        openDataPlane(events, { threads: Math.min(availableParallelism(), MAX_RELAY_THREADS) }),
    },
  );
  const proxy = await Promise.race([starting, stopSignal.then(() => undefined)]);
  const signal = await stopSignal;
  log.info(`${signal} received: stopping. A second one ends the process at once`);
  await proxy?.drain(); // undefined: nothing listens yet
  return 0;
}

/** Status 0 is for the first signal only: at the second the drain is cut short, and 128 + n says so as a shell would. */
function firstStopSignal(): Promise<NodeJS.Signals> {
  const { promise, resolve } = Promise.withResolvers<NodeJS.Signals>();
  let received = false;
  const stop = (signal: NodeJS.Signals) => {
    if (received) process.exit(128 + constants.signals[signal]);
    received = true;
    resolve(signal);
  };
  process.on('SIGTERM', stop);
  process.on('SIGINT', stop);
  return promise;
}

function openLogOfProcess(): LogFor {
  const filter = parseLogFilter(env.RUST_LOG);
  for (const warning of filter.warnings) writeError(`warning: ${escapeControls(warning)}, ignoring it\n`);
  const colour = isatty(STDERR) && !env.NO_COLOR && env.TERM !== 'dumb';
  return openLog({ filter, write: writeError, now: () => new Date(), colour });
}

function fail(error: unknown): never {
  const { text, exitStatus } = describeFailure(error, (env.RUST_BACKTRACE ?? '0') !== '0');
  writeError(text);
  process.exit(exitStatus);
}

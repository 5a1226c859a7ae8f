/** The process edge: only this file uses arguments, environment, standard streams, signals and exit status. */
import { fstatSync, readFileSync, writeFileSync } from 'node:fs';
import { availableParallelism, constants, hostname } from 'node:os';
import type { Placement } from './aws/partitions.ts';
import type { CheckDependencies } from './commands/check/check.ts';
import type { Host } from './commands/doctor/host.ts';
import type { Network } from './commands/doctor/network.ts';
import { describeFailure } from './commands/failure.ts';
import type { EndpointSource } from './commands/kms-endpoint.ts';
import { type CommandName, findCommand } from './commands/list.ts';
import { parseProxyCommand } from './commands/proxy.ts';
import type { ProxyRoute } from './config/proxy-plan.ts';
import { openDataPlane, relayThreads } from './dataplane/addon.ts';
import type { DataPlaneEvents } from './dataplane/contract.ts';
import type { Path } from './dataplane/path.ts';
import { sendDatagram, unblockSignals } from './dataplane/process.ts';
import type { RecordLookUp } from './dns/records.ts';
import { createSystemResolver } from './dns/system.ts';
import type { EnclaveDirectory } from './enclave/describe.ts';
import { type Observation, openObservation } from './observation.ts';
import type { Plan } from './plan.ts';
import { systemClock } from './platform/clock.ts';
import { VsockProxyError } from './platform/errors.ts';
import { quote } from './platform/escape.ts';
import type { Level, Log, LogFor } from './platform/log.ts';
import { isJournal, JOURNAL } from './platform/log-output.ts';
import { openStderr } from './platform/stderr.ts';
import { print, STDOUT } from './platform/stdout.ts';
import type { Notifier } from './platform/systemd.ts';
import { isTerminal } from './platform/terminal.ts';
import { VERSION } from './platform/version.ts';
import { NAMESPACE_MODE } from './platform/vsock.ts';
import { ProcessLog } from './process-log.ts';
import type { RouteSupport } from './proxy/handlers/open.ts';
import type { RunningProxy, ServeDependencies } from './proxy/server.ts';

const STDERR = 2;
/** How long `check --resolve` tries the metadata service, which is either up or absent. */
const CHECK_METADATA_MS = 5_000;
/** The same for `doctor`, which runs all checks at the same time. */
const DOCTOR_METADATA_MS = 3_000;
/** The network may come up late when an instance starts. After this time the service manager tries again. */
const SERVE_METADATA_MS = 60_000;

/** What helps where there is no metadata service: for a file, and for the service. */
const NAMES = 'write the names out in place of ${region} and ${domain}';
const SETTING = `set VSOCK_PROXY_KMS_ENDPOINT in the sysconfig file of the service, or ${NAMES}`;

/** Each command is loaded only when it is used, so that the others start faster. */
const COMMANDS: Readonly<Record<CommandName, (argv: readonly string[]) => Promise<number>>> = {
  check: runCheckCommand,
  connections: async (argv) => {
    const { parseConnectionsCommand, runConnections } = await import('./commands/observe/connections.ts');
    const parsed = parseConnectionsCommand(argv, env);
    return print(parsed.kind === 'text' ? parsed.text : await runConnections(parsed.arguments));
  },
  doctor: runDoctorCommand,
  enclave: runEnclave,
  forward: runForward,
  import: async (argv) => {
    const { runImport } = await import('./commands/import/import.ts');
    const { text, exitStatus } = runImport(argv);
    return print(text, exitStatus);
  },
  'kms-endpoint': runKmsEndpoint,
  metrics: async (argv) => {
    const { parseMetricsCommand, runMetrics } = await import('./commands/observe/metrics.ts');
    const parsed = parseMetricsCommand(argv, env);
    return print(parsed.kind === 'text' ? parsed.text : await runMetrics(parsed.arguments));
  },
  probe: runProbeCommand,
  serve: runServe,
  status: runStatusCommand,
  schema: async (argv) => print((await import('./commands/schema.ts')).runSchema(argv)),
};

const { argv, env } = process;
const command = findCommand(argv[2]);
const writeError = openStderr();
const processLog = new ProcessLog({
  env,
  write: writeError,
  isTerminal: () => isTerminal(STDERR),
  ...(isJournal(env.JOURNAL_STREAM, fstatSync(STDERR)) && {
    sendToJournal: (datagram) => sendDatagram(JOURNAL, datagram),
  }),
});
process.on('uncaughtException', fail);
void main().then(process.exit, fail);

/** @returns the exit status */
async function main(): Promise<number> {
  nameProcess();
  if (command !== undefined) return await COMMANDS[command](argv.slice(3));
  const invocation = parseProxyCommand(argv.slice(2), VERSION);
  return invocation.kind === 'proxy' ? await runProxy(invocation.arguments) : print(invocation.text);
}

/**
 * Names the process. Node.js calls its main thread, and so the process, MainThread; ps, pgrep, ss and the journal
 * should show the program's name. `process.title` is not used, because it would overwrite the command line, which
 * others read.
 */
function nameProcess(): void {
  try {
    writeFileSync('/proc/self/comm', 'vsock-proxy');
  } catch {
    return; // without /proc, no tool shows the name
  }
}

async function runCheckCommand(argv: readonly string[]): Promise<number> {
  const { parseCheckCommand, runCheck } = await import('./commands/check/check.ts');
  const parsed = parseCheckCommand(argv);
  if (parsed.kind === 'text') return print(parsed.text);
  const { text, exitStatus } = await runCheck(parsed.arguments, checkDependenciesOfProcess());
  return print(text, exitStatus);
}

function checkDependenciesOfProcess(): CheckDependencies {
  const resolver = createSystemResolver();
  return {
    async resolveName(name, family) {
      const { addresses } = await resolver.resolve(name, family, new AbortController().signal);
      return addresses;
    },
    // A user waits for the output: the command prints its result, or one error, and no warnings.
    readPlacement: () => readPlacementOfInstance(CHECK_METADATA_MS, processLog.open('error')('vsock_proxy')),
  };
}

async function runStatusCommand(argv: readonly string[]): Promise<number> {
  const { parseStatusCommand, runStatus } = await import('./commands/observe/status.ts');
  const parsed = parseStatusCommand(argv, env);
  if (parsed.kind === 'text') return print(parsed.text);
  const stopSignal = firstStopSignal();
  let exitStatus = 0;
  await runStatus(parsed.arguments, {
    isTerminal: isTerminal(STDOUT),
    write(text) {
      exitStatus = print(text);
    },
    wait: (seconds) =>
      Promise.race([
        new Promise<boolean>((resolve) => setTimeout(resolve, seconds * 1000, exitStatus === 0)),
        stopSignal.then(() => false),
      ]),
  });
  return exitStatus;
}

async function runDoctorCommand(argv: readonly string[]): Promise<number> {
  const { parseDoctorCommand, runDoctor } = await import('./commands/doctor/doctor.ts');
  const parsed = parseDoctorCommand(argv);
  if (parsed.kind === 'text') return print(parsed.text);
  const { describeVerdict } = await import('./commands/doctor/file.ts');
  const { runCheck } = await import('./commands/check/check.ts');
  const network = await openNetworkOfProcess();
  const { text, exitStatus } = await runDoctor(parsed.arguments, {
    host: await openHostOfProcess(),
    network,
    async requestStatus() {
      const { askJson } = await import('./observe/client.ts');
      const { controlPath } = await import('./commands/line/control.ts');
      return await askJson(controlPath({}, env), '/status');
    },
    async judge(configPath, target) {
      const report = await runCheck({ configPath, target, resolve: false, json: true }, checkDependenciesOfProcess());
      return describeVerdict(report.text);
    },
  });
  network.close();
  return print(text, exitStatus);
}

async function runProbeCommand(argv: readonly string[]): Promise<number> {
  const { parseProbeCommand, runProbe } = await import('./commands/probe.ts');
  const parsed = parseProbeCommand(argv);
  if (parsed.kind === 'text') return print(parsed.text);
  const network = await openNetworkOfProcess();
  const { text, exitStatus } = await runProbe(parsed.arguments, network);
  network.close();
  return print(text, exitStatus);
}

async function openHostOfProcess(): Promise<Host> {
  const { exists, findHolder, kernelRelease, listDirectory, readFile, runProgram } = await import('./platform/host.ts');
  const { listVsockListeners, readVsockSupport } = await import('./dataplane/vsock.ts');
  return {
    pid: process.pid,
    env,
    kernel: kernelRelease(),
    now: () => new Date(),
    read: readFile,
    list: listDirectory,
    exists,
    run: runProgram,
    vsock: readVsockSupport,
    vsockListeners: listVsockListeners,
    holderOf: findHolder,
  };
}

async function openNetworkOfProcess(): Promise<Network & { close(): void }> {
  const { openPath } = await import('./dataplane/path.ts');
  const { askConnect, shakeHands } = await import('./platform/probe.ts');
  const path = openPath((events) => openDataPlane(events, { threads: 1 }));
  const resolver = createSystemResolver();
  return {
    async dial(to, timeoutMs) {
      const dialled = await path.dial(to, timeoutMs);
      if (dialled.kind === 'failed') return dialled;
      dialled.socket.destroy();
      return { kind: 'connected', ms: dialled.ms };
    },
    async handshake(to, serverName, timeoutMs) {
      const dialled = await path.dial(to, timeoutMs);
      if (dialled.kind === 'failed') return { kind: 'failed', ms: dialled.ms, reason: dialled.errno };
      const { ms: handshakeMs, ...outcome } = await shakeHands(dialled.socket, serverName, timeoutMs);
      return outcome.kind === 'done'
        ? { ...outcome, connectMs: dialled.ms, handshakeMs }
        : { ...outcome, connectMs: dialled.ms, ms: handshakeMs };
    },
    async askProxy(proxy, target, timeoutMs) {
      const dialled = await path.dial({ family: 'tcp', ...proxy }, timeoutMs);
      return dialled.kind === 'failed' ? { errno: dialled.errno } : await askConnect(dialled.socket, target, timeoutMs);
    },
    resolve: ({ name }) => resolver.resolve(name, 'any', new AbortController().signal),
    readPlacement: () => readPlacementOfInstance(DOCTOR_METADATA_MS, processLog.open('error')('vsock_proxy'), SETTING),
    close: () => path.close(),
  };
}

async function runKmsEndpoint(argv: readonly string[]): Promise<number> {
  const { parseKmsEndpointCommand } = await import('./commands/kms-endpoint.ts');
  const parsed = parseKmsEndpointCommand(argv, env);
  if (parsed.kind === 'text') return print(parsed.text);
  const { source, output } = parsed.arguments;
  const log = processLog.open('warn')('vsock_proxy'); // it may wait for a long time, and logs why
  const endpoint = await findKmsEndpoint(source, log);
  if (output === undefined) return print(`${endpoint}\n`);
  const { writeEnvironmentFile } = await import('./platform/environment-file.ts');
  writeEnvironmentFile(output, { KMS_ENDPOINT: endpoint });
  log.info(`${output}: KMS_ENDPOINT=${endpoint}`);
  return 0;
}

async function findKmsEndpoint(source: EndpointSource, log: Log): Promise<string> {
  if (source.kind === 'endpoint') return source.host;
  const { kmsEndpoint } = await import('./aws/partitions.ts');
  if (source.kind === 'placement') return kmsEndpoint(source.placement, source.form);
  const { readPlacement } = await import('./aws/placement.ts');
  const elsewhere = 'give the endpoint: VSOCK_PROXY_KMS_ENDPOINT';
  const dependencies = { clock: systemClock, random: Math.random, log, elsewhere };
  return kmsEndpoint(await readPlacement({ ...source, ...dependencies }), source.form);
}

async function runProxy(route: ProxyRoute): Promise<number> {
  const logFor = processLog.open();
  const running = runPlan(logFor, async () => {
    const log = logFor('vsock_proxy');
    log.info('Checking allowlist configuration');
    // These are loaded here, because the schema and the YAML parser would double the time of --version and --help.
    return (await import('./config/proxy-plan.ts')).loadProxyPlan(route, log);
  });
  return await running.catch((error: unknown) => {
    if (error instanceof VsockProxyError && error.code === 'denied') {
      // AWS's proxy prints this for every target that nothing allows, and scripts look for it.
      logFor('vsock_proxy::proxy').warn(`Unable to resolve allow listed host: ${quote(route.written)}.`);
    }
    throw error;
  });
}

async function runServe(argv: readonly string[]): Promise<number> {
  const { parseServeCommand } = await import('./commands/serve.ts');
  const parsed = parseServeCommand(argv);
  if (parsed.kind === 'text') return print(parsed.text);
  const { nitroCli, watch, ...source } = parsed.arguments;
  const logFor = processLog.open('warn'); // clients of some routes get no reason for a refusal
  const log = logFor('vsock_proxy');
  let placement: Placement | undefined; // an instance never moves, so a reload needs no metadata service
  const readPlacement = async (): Promise<Placement> => {
    placement ??= await readPlacementOfInstance(SERVE_METADATA_MS, log);
    return placement;
  };
  const load = async (): Promise<Plan> => {
    log.info('Checking allowlist configuration');
    const { loadPlan } = await import('./config/proxy-plan.ts');
    return await loadPlan({ ...source, readPlacement });
  };
  let directory: Promise<EnclaveDirectory> | undefined;
  let lookUpRecords: Promise<RecordLookUp> | undefined;
  const support: RouteSupport = {
    async cidOf(name) {
      directory ??= openEnclaveDirectory(nitroCli, log);
      return (await directory).cidOf(name);
    },
    async lookUpRecords(name, type, client) {
      lookUpRecords ??= import('./dns/record-look-up.ts').then(({ createRecordLookUp }) => createRecordLookUp());
      return await (await lookUpRecords)(name, type, client);
    },
    async openLogReceiver() {
      const { openLogReceiver } = await import('./enclave/log-receiver.ts');
      return await openLogReceiver({ write: sayLine, clock: systemClock });
    },
  };
  if (!watch) return await runPlan(logFor, load, support);
  const { watchFile } = await import('./platform/file-watch.ts');
  return await runPlan(logFor, load, support, (reload) => watchFile(source.configPath, reload, { clock: systemClock }));
}

async function openEnclaveDirectory(nitroCli: string, log: Log): Promise<EnclaveDirectory> {
  const { describeEnclaves, EnclaveDirectory } = await import('./enclave/describe.ts');
  return new EnclaveDirectory({ describe: () => describeEnclaves(nitroCli), clock: systemClock, log });
}

async function runForward(argv: readonly string[]): Promise<number> {
  const { becomeProgram } = await import('./dataplane/program.ts');
  return becomeProgram('vsock-forwarder', [process.argv0, 'forward', ...argv]);
}

async function runEnclave(argv: readonly string[]): Promise<number> {
  const { runEnclaveCommand } = await import('./enclave-command.ts');
  return await runEnclaveCommand(argv, {
    env,
    hostName: hostname(),
    processLog,
    print,
    signals: process,
    unblockSignals,
    dependenciesFor: dependenciesOfProcess,
    observe,
  });
}

/** @param elsewhere what helps where there is no metadata service */
async function readPlacementOfInstance(timeoutMs: number, log: Log, elsewhere = NAMES): Promise<Placement> {
  const { readPlacement } = await import('./aws/placement.ts');
  return await readPlacement({ timeoutMs, version: 2, clock: systemClock, random: Math.random, log, elsewhere });
}

/**
 * Runs what `load` returns until a signal ends it. SIGHUP loads again, and so does a change that `watch` finds.
 * @returns the exit status
 */
async function runPlan(
  logFor: LogFor,
  load: () => Promise<Plan>,
  support: RouteSupport = {},
  watch: (reload: () => void) => void = () => undefined,
): Promise<number> {
  const stopSignal = firstStopSignal();
  const log = logFor('vsock_proxy');
  const { serve } = await import('./proxy/server.ts');
  const notifier = env.NOTIFY_SOCKET === undefined ? undefined : await openNotifierOfProcess(log);
  const starting = serve(load, { ...dependenciesOfProcess(logFor), support });
  const stopping = stopSignal.then(() => undefined);
  const observing = starting.then((proxy) => observe(proxy, log));
  observing.catch(() => undefined); // the code that awaits it below handles the rejection
  const reload = async (): Promise<void> => {
    const proxy = await Promise.race([starting, stopping]);
    if (proxy === undefined) return;
    notifier?.reloading();
    await proxy.reload();
    await (await observing)?.follow();
    notifier?.reloaded();
  };
  process.on('SIGHUP', () => void reload());
  watch(() => void reload());
  const proxy = await Promise.race([starting, stopping]);
  await Promise.race([observing, stopping]);
  if (proxy !== undefined) notifier?.ready(proxy);
  const signal = await stopSignal;
  log.info(`${signal} received: stopping. A second one ends the process at once`);
  notifier?.stopping(`Stopping: ${signal} received`, proxy?.drainMs() ?? 0);
  await proxy?.drain(); // undefined if it does not listen yet
  if (proxy !== undefined) await (await observing).close();
  return 0;
}

/** Metrics and the control socket of a proxy. @throws VsockProxyError `listen-failed` for the address in the file */
async function observe(proxy: RunningProxy, log: Log): Promise<Observation> {
  const open = (events: DataPlaneEvents) => openDataPlane(events, { threads: 1 });
  let path: Path | undefined; // it has a relay thread of its own, for requests to enclaves
  return await openObservation(proxy, log, {
    env,
    version: VERSION,
    async vsock() {
      const { exposeOnVsock, openPath } = await import('./dataplane/path.ts');
      return {
        expose: (on, port) => exposeOnVsock(open, on, port),
        fetchMetrics: async (enclave) => {
          path ??= openPath(open);
          return (await import('./observe/enclave-metrics.ts')).fetchMetrics(path, enclave);
        },
      };
    },
  });
}

function dependenciesOfProcess(logFor: LogFor): ServeDependencies {
  let activatedSockets: Promise<ReadonlyMap<string, readonly number[]>> | undefined;
  return {
    logFor,
    clock: systemClock,
    now: () => new Date(),
    onPlan: ({ logFormat }) => processLog.follow(logFormat),
    resolver: createSystemResolver(),
    openDataPlane: (events) => openDataPlane(events, { threads: relayThreads(availableParallelism()) }),
    activatedSockets() {
      activatedSockets ??= env.LISTEN_FDS === undefined ? Promise.resolve(new Map()) : takeActivatedSocketsOfProcess();
      return activatedSockets;
    },
    hasOwnVsock: hasOwnVsockOfProcess,
  };
}

/**
 * Whether vsock is local to the network namespace. If the sysctl is missing or hidden, it is not: kernels before 7.0
 * have one vsock for all namespaces.
 */
function hasOwnVsockOfProcess(): boolean {
  try {
    return readFileSync(NAMESPACE_MODE, 'latin1').trim() === 'local';
  } catch {
    return false;
  }
}

async function takeActivatedSocketsOfProcess(): Promise<ReadonlyMap<string, readonly number[]>> {
  const { takeActivatedSockets } = await import('./platform/systemd.ts');
  return takeActivatedSockets(env, process.pid);
}

async function openNotifierOfProcess(log: Log): Promise<Notifier | undefined> {
  const { openNotifier } = await import('./platform/systemd.ts');
  const monotonicMicros = () => process.hrtime.bigint() / 1000n;
  return openNotifier({ env, pid: process.pid, send: sendDatagram, clock: systemClock, monotonicMicros, log });
}

/**
 * The first signal to stop the process, after which the exit status is 0. A second signal cuts the drain short, with
 * status 128 + n, as in a shell.
 */
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

/** Writes a text that is not a log record; it becomes one if the log is not in text form. */
function say(level: Level, message: string): boolean {
  return processLog.put({ at: new Date(), level, message });
}

/** A log line of an enclave. */
function sayLine(client: string, line: string): boolean {
  const cid = /^CID (\d+)$/.exec(client)?.[1];
  const fields = { event: 'line', ...(cid !== undefined && { cid: Number(cid) }) } as const;
  return processLog.put({ at: new Date(), level: 'info', message: `${client}: ${line}`, fields });
}

function fail(error: unknown): never {
  const { text, exitStatus } = describeFailure(error, (env.RUST_BACKTRACE ?? '0') !== '0', command);
  say('error', text.trimEnd());
  process.exit(exitStatus);
}

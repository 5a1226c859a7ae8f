/**
 * Transfers through enclave, parent and server for minutes, while the processes of one side and then of the other are
 * killed at random. usage: soak.ts MINUTES [RECOVERY_MS [ENCLAVE]]
 *
 * ENCLAVE is the program of the enclave's side, build/vsock-proxy or build/vsock-enclave.
 *
 * Ends with status 0 when
 * - every transfer was complete, or failed while something was down: nothing arrived changed, nothing failed by itself;
 * - every way was open again within RECOVERY_MS (2000) after a process listened again;
 * - the side that was not killed has kept its descriptors and its memory.
 */
import { spawn } from 'node:child_process';
import { createInterface } from 'node:readline';
import { setTimeout as pause } from 'node:timers/promises';
import { BYTES, Clients, monotonicMs } from './clients.ts';
import type { Report } from './inside.ts';
import { Ledger } from './ledger.ts';
import { enterParent, INGRESS_PORT, PARENT_IP, type Role, SERVER_PORT, Stage, WAYS_OUT } from './stage.ts';
import { serveTransfers } from './transfer.ts';

/** From one kill to the next. */
const LIFE_MS = { min: 1_000, max: 5_000 };
/** Of a phase: until then, memory may grow. */
const WARM_UP = 0.25;
/** How long descriptors may take to be closed when the last transfer has ended. */
const SETTLING_MS = 10_000;
const POLL_MS = 50;
/** A way that is not open again by then will not be: the soak ends. */
const GIVE_UP_MS = 60_000;

enterParent();
const [minutes = '10', recoveryMs = '2000', program = 'build/vsock-proxy'] = process.argv.slice(2);
const ledger = new Ledger();
const problems: string[] = [];
let slowestMs = 0;
let kills = 0;

const stage = await Stage.open(program);
await serveTransfers(PARENT_IP, SERVER_PORT, BYTES);
const outside = new Clients([{ name: 'ingress', host: PARENT_IP, port: INGRESS_PORT }], (done) => ledger.enter(done));
const inside = await startInside();
const phaseMs = (Number(minutes) * 60_000) / 2;
await playPhase([stage.parent], [stage.enclave, stage.forwarder], phaseMs);
await playPhase([stage.enclave, stage.forwarder], [stage.parent], phaseMs);

problems.push(...ledger.problems);
console.log(`${ledger.report}\n${kills} kills; the slowest recovery took ${slowestMs} ms`);
for (const problem of problems.slice(0, 20)) console.log(`PROBLEM ${problem}`);
console.log(problems.length === 0 ? 'The soak has succeeded.' : `The soak has failed: ${problems.length} problems.`);
process.exit(problems.length === 0 ? 0 : 1);

/** Starts the clients in the enclave. */
async function startInside(): Promise<Pick<Clients, 'go' | 'pause'>> {
  const script = new URL('inside.ts', import.meta.url).pathname;
  const command = stage.inEnclave(process.execPath, script, `${INGRESS_PORT}`, ...WAYS_OUT);
  const child = spawn('setpriv', ['--pdeathsig', 'KILL', '--', ...command], { stdio: ['pipe', 'pipe', 'inherit'] });
  let onPaused = (): void => undefined;
  const { promise: ready, resolve } = Promise.withResolvers<void>();
  createInterface(child.stdout).on('line', (line) => {
    const report = JSON.parse(line) as Report;
    if (report === 'ready') resolve();
    else if (report === 'paused') onPaused();
    else ledger.enter(report);
  });
  await ready;
  return {
    go: () => void child.stdin.write('go\n'),
    async pause() {
      const { promise: paused, resolve } = Promise.withResolvers<void>();
      onPaused = resolve;
      child.stdin.write('pause\n');
      await paused;
    },
  };
}

/** Kills some again and again; the others live through it, and are measured. */
async function playPhase(stay: readonly Role[], die: readonly Role[], durationMs: number): Promise<void> {
  const start = monotonicMs();
  await killUntil(start + durationMs * WARM_UP, die);
  const before = stay.map((role) => ({ role, ...stage.sample(role) }));
  await killUntil(start + durationMs, die);
  for (const { role, memoryKib, descriptors } of before) {
    const settled = monotonicMs() + SETTLING_MS;
    while (stage.sample(role).descriptors > descriptors && monotonicMs() < settled) await pause(POLL_MS);
    const now = stage.sample(role);
    const figures = `memory ${memoryKib} → ${now.memoryKib} KiB, descriptors ${descriptors} → ${now.descriptors}`;
    console.log(`${role.name}, while the other side was killed: ${figures}`);
    const isFlat = now.descriptors <= descriptors && now.memoryKib <= memoryKib + role.growthKib;
    if (!isFlat) problems.push(`${role.name} has grown: ${figures}`);
  }
}

/** Returns when nothing is down and nothing under way. */
async function killUntil(end: number, roles: readonly Role[]): Promise<void> {
  outside.go();
  inside.go();
  while (monotonicMs() < end) {
    await pause(LIFE_MS.min + Math.random() * (LIFE_MS.max - LIFE_MS.min));
    const role = roles[Math.floor(Math.random() * roles.length)];
    if (role !== undefined) await killAndRestart(role);
  }
  await Promise.all([outside.pause(), inside.pause()]);
}

async function killAndRestart(role: Role): Promise<void> {
  const from = monotonicMs();
  await stage.kill(role);
  await stage.start(role);
  const to = monotonicMs();
  ledger.enterOutage({ from, to });
  const late = pause(GIVE_UP_MS, undefined, { ref: false }).then(() => {
    throw new Error(`${role.name}: no transfer on one of ${role.ways.join(', ')} for ${GIVE_UP_MS} ms after its start`);
  });
  await Promise.race([ledger.recovered(role.ways), late]);
  const tookMs = monotonicMs() - to;
  slowestMs = Math.max(slowestMs, tookMs);
  kills += 1;
  if (tookMs > Number(recoveryMs)) problems.push(`${role.name}: recovery took ${tookMs} ms at ${to} ms`);
}

/** Programs that get nothing from this one, and mounts of their own. */
import { existsSync, watch } from 'node:fs';
import { dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import { type Outcome, Program } from '../program.ts';

const PATIENCE_MS = 30_000;

/** Starts a program with this environment, beside a PATH, and no other. */
export function launch(argv: readonly string[], env: Readonly<Record<string, string>> = {}): Program {
  const variables = Object.entries({ PATH: '/usr/sbin:/usr/bin:/sbin:/bin', ...env });
  return new Program('env', ['-i', ...variables.map(([name, value]) => `${name}=${value}`), ...argv]);
}

/** The same, until it has ended. */
export function run(argv: readonly string[], env?: Readonly<Record<string, string>>): Promise<Outcome> {
  return launch(argv, env).outcome(PATIENCE_MS);
}

/** In front of a program: runs it with mounts of its own, made by these shell commands. */
export function withMounts(...commands: readonly string[]): readonly string[] {
  return ['unshare', '--mount', 'sh', '-ec', [...commands, 'exec "$@"'].join('\n'), 'sh'];
}

/** In front of a program: the kernel refuses it these system calls, by the rules of refuse.py. */
export function refusing(...rules: readonly string[]): readonly string[] {
  return ['python3', fileURLToPath(new URL('refuse.py', import.meta.url)), ...rules, '--'];
}

/** Resolves once the file is there. @throws Error with the program's output when it ends first. */
export async function untilMade(path: string, program: Program): Promise<void> {
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const watcher = watch(dirname(path), () => existsSync(path) && resolve());
  const timer = setTimeout(() => reject(new Error(`${path} is not there: ${program.command}`)), PATIENCE_MS);
  void program.ended.then((outcome) => reject(new Error(`${program.command}: ${JSON.stringify(outcome)}`)));
  if (existsSync(path)) resolve();
  try {
    await promise;
  } finally {
    clearTimeout(timer);
    watcher.close();
  }
}

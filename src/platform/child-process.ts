/**
 * What node:child_process has, loaded with the first program that is started: the bundle has it in the place of that module
 * (Makefile). commander, which every start loads, imports it for commands that are programs of their own; there are none.
 */
type Module = typeof import('node:child_process');

function lazy<Name extends 'execFile' | 'spawn'>(name: Name): Module[Name] {
  const call = (...args: readonly unknown[]): unknown =>
    Reflect.apply(process.getBuiltinModule('node:child_process')[name], undefined, args);
  return call as Module[Name];
}

export const execFile = lazy('execFile');
export const spawn = lazy('spawn');
// biome-ignore lint/style/noDefaultExport: commander imports it in this way
export default { execFile, spawn };

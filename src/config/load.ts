/** The configuration file: read, parsed and checked; a problem comes with its place. */
import { closeSync, openSync, readSync } from 'node:fs';
import { getSystemErrorMessage } from 'node:util';
import * as z from 'zod';
import { VsockProxyError } from '../errors.ts';
import { escapeControls, quoteBriefly } from '../escape.ts';
import { type FileSettings, fileSchema, keysAt, schemaAt } from './schema.ts';
import { closestWord } from './spelling.ts';
import { parseYaml } from './yaml.ts';

export interface LoadedFile {
  readonly settings: FileSettings;
  /** Where what stands at this path in the file begins, as `file:line`. */
  placeOf(path: readonly PropertyKey[]): string;
}

const MAX_BYTES = 1024 * 1024;

/** @throws VsockProxyError `config`: the first problem in the file */
export function loadFile(path: string): LoadedFile {
  return parseFile(readText(path), path);
}

/** The same for a text that was read already; `path` is for messages. */
export function parseFile(text: string, path: string): LoadedFile {
  const { value, lineAt } = parseYaml(text, path);
  const placeOf = (at: readonly PropertyKey[]) => escapeControls(`${path}:${lineAt(at)}`);
  const result = fileSchema.safeParse(value);
  if (result.success) return { settings: result.data, placeOf };
  const [first, ...others] = result.error.issues.toSorted((a, b) => lineAt(pathOf(a)) - lineAt(pathOf(b)));
  if (first === undefined) throw new VsockProxyError('internal', 'the schema refuses the file without a reason');
  throw explain(first, others, placeOf);
}

function explain(
  issue: z.core.$ZodIssue,
  others: readonly z.core.$ZodIssue[],
  placeOf: LoadedFile['placeOf'],
): VsockProxyError {
  const at = pathOf(issue);
  const meta = z.globalRegistry.get(schemaAt(issue.path));
  if (issue.code === 'unrecognized_keys') {
    const known = keysAt(issue.path);
    const meant = closestWord(String(at.at(-1)), known);
    const hint = meant === undefined ? `the keys here are ${known.join(', ')}` : `did you mean ${meant}?`;
    return configError([written(at), 'unknown key'], placeOf(at), hint);
  }
  // A value of the right type that means nothing: the AWS proxy has no phrase for that.
  const ownHint = issue.code === 'custom' ? issue.params?.hint : undefined;
  if (ownHint !== undefined) return configError([written(at), issue.message], placeOf(at), ownHint);
  const misspelt = misspeltKey(at, others);
  const hint = misspelt === undefined ? meta?.hint : `rename ${quoteBriefly(misspelt)} to ${String(at.at(-1))}`;
  return configError([meta?.head, written(at), issue.message], placeOf(at), hint);
}

/** An unknown key beside the one at this path that was probably meant for it. */
function misspeltKey(at: readonly PropertyKey[], issues: readonly z.core.$ZodIssue[]): string | undefined {
  const parent = written(at.slice(0, -1));
  return issues
    .flatMap((issue) => (issue.code === 'unrecognized_keys' && written(issue.path) === parent ? issue.keys : []))
    .find((key) => closestWord(key, [String(at.at(-1))]) !== undefined);
}

function pathOf(issue: z.core.$ZodIssue): PropertyKey[] {
  return issue.code === 'unrecognized_keys' ? [...issue.path, ...issue.keys.slice(0, 1)] : issue.path;
}

/** `allowlist[3].port` */
function written(path: readonly PropertyKey[]): string {
  return path
    .map((step) => (typeof step === 'number' ? `[${step}]` : `.${brief(String(step))}`))
    .join('')
    .replace(/^\./, '');
}

/** A key as it is, unless that would make the message unreadable. */
function brief(key: string): string {
  return /^[\w-]{1,40}$/.test(key) ? key : quoteBriefly(key);
}

function configError(parts: readonly (string | undefined)[], place: string, hint: string | undefined): VsockProxyError {
  const message = `${parts.filter((part) => part !== undefined && part !== '').join(': ')} (${place})`;
  return new VsockProxyError('config', message, hint === undefined ? {} : { hint });
}

function readText(path: string): string {
  const bytes = readBytes(path);
  try {
    return new TextDecoder('utf-8', { fatal: true }).decode(bytes);
  } catch {
    throw configError(['Could not read the file', 'it is not UTF-8 text'], escapeControls(path), 'save it as UTF-8');
  }
}

/** The whole file, which may also be a pipe such as `/dev/stdin`. */
function readBytes(path: string): Buffer {
  const descriptor = attempt('Could not open the file', path, () => openSync(path, 'r'));
  try {
    const buffer = Buffer.allocUnsafe(MAX_BYTES + 1);
    for (let length = 0; length < buffer.length; ) {
      const count = attempt('Could not read the file', path, () => readSync(descriptor, buffer, { offset: length }));
      if (count === 0) return buffer.subarray(0, length);
      length += count;
    }
  } finally {
    closeSync(descriptor);
  }
  const problem = `it is larger than ${MAX_BYTES} bytes`;
  throw configError(['Could not read the file', problem], escapeControls(path), 'is it the right file?');
}

const FILE_HINTS: Readonly<Record<string, string>> = {
  ENOENT: 'create it, or name another file with --config',
  EACCES: 'make it and its directories readable for the user that the proxy runs as',
  EISDIR: 'name a file with --config, not a directory',
};

function attempt<T>(what: string, path: string, action: () => T): T {
  try {
    return action();
  } catch (error) {
    const { code = 'EIO', errno = 0 } = error as NodeJS.ErrnoException;
    throw configError([what, code, getSystemErrorMessage(errno)], escapeControls(path), FILE_HINTS[code]);
  }
}

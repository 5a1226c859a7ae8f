/** Turns findings about a file into error messages with their lines. */
import { VsockProxyError } from '../platform/errors.ts';
import { quoteBriefly } from '../platform/escape.ts';
import { closestWord } from './read/did-you-mean.ts';
import { MISSING } from './schema/builder.ts';
import { keysOf, metaOf, schemaAt } from './schema/file.ts';

/** A problem at this path in the file. */
export interface Finding {
  readonly path: readonly PropertyKey[];
  readonly message: string;
  /** Absent: the hint of the key. */
  readonly hint?: string;
  /**
   * Whether the phrase of AWS's proxy for this key precedes the message. Default: only if the finding has no hint of
   * its own.
   */
  readonly headed?: boolean;
}

const UNKNOWN = 'unknown key';

export function isUnknownKey({ message }: Finding): boolean {
  return message === UNKNOWN;
}

export function unknownKey(parent: readonly PropertyKey[], key: string): Finding {
  return { path: [...parent, key], message: UNKNOWN };
}

/**
 * @param findings of one file, in the order of the messages
 * @param placeOf returns the `file:line` of a path
 */
export function explain(
  findings: readonly Finding[],
  placeOf: (path: readonly PropertyKey[]) => string,
): readonly VsockProxyError[] {
  const unknown = findings.filter(isUnknownKey);
  const misspelt = new Map(
    findings
      .filter(({ message }) => message === MISSING)
      .map((missing) => [missing, unknown.find((key) => isMisspelling(key.path, missing.path))]),
  );
  const renamed = new Set(misspelt.values());
  return findings
    .filter((finding) => !renamed.has(finding))
    .map((finding) => explainOne(finding, misspelt.get(finding), placeOf(finding.path)));
}

function explainOne(finding: Finding, misspelt: Finding | undefined, place: string): VsockProxyError {
  const { path, message } = finding;
  if (isUnknownKey(finding)) return explainUnknown(path, place);
  const { headed = finding.hint === undefined } = finding;
  const meta = metaOf(schemaAt(path));
  const rename = misspelt && `rename ${quoteBriefly(String(misspelt.path.at(-1)))} to ${String(path.at(-1))}`;
  const hint = rename ?? finding.hint ?? meta.hint;
  const parts = [headed ? meta.head : undefined, writtenPath(path), message];
  const text = parts.filter((part) => part !== undefined && part !== '').join(': ');
  return new VsockProxyError('config', text, { place, ...(hint !== undefined && { hint }) });
}

function explainUnknown(path: readonly PropertyKey[], place: string): VsockProxyError {
  const used = keysOf(schemaAt(path.slice(0, -1)));
  const meant = closestWord(String(path.at(-1)), used);
  const hint = meant === undefined ? `the keys here are ${used.join(', ')}` : `did you mean ${meant}?`;
  return new VsockProxyError('config', `${writtenPath(path)}: ${UNKNOWN}`, { place, hint });
}

/** Whether an unknown key is probably a misspelling of a missing key beside it. */
function isMisspelling(key: readonly PropertyKey[], missing: readonly PropertyKey[]): boolean {
  return (
    writtenPath(key.slice(0, -1)) === writtenPath(missing.slice(0, -1)) &&
    closestWord(String(key.at(-1)), [String(missing.at(-1))]) !== undefined
  );
}

/** `allowlist[3].port` */
export function writtenPath(path: readonly PropertyKey[]): string {
  return path
    .map((step) => (typeof step === 'number' ? `[${step}]` : `.${brief(String(step))}`))
    .join('')
    .replace(/^\./, '');
}

/** The key unchanged, unless it would make the message unreadable. */
function brief(key: string): string {
  return /^[\w-]{1,40}$/.test(key) ? key : quoteBriefly(key);
}

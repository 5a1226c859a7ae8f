/** Applies the schema to a value: returns it with defaults filled in, or all findings. */
import { type Finding, unknownKey } from '../problems.ts';
import { expected, type ListSize, type Output, type Schema, type Shape, type Wrong } from './builder.ts';

export type Read<Out> = { readonly settings: Out } | { readonly findings: readonly Finding[] };

/** Findings come in the order of the schema. Those of unknown keys follow those of the known keys beside them. */
export function readValue<S extends Schema>(schema: S, value: unknown): Read<Output<S>> {
  const findings: Finding[] = [];
  const settings = read(schema, value, [], findings);
  return findings.length > 0 ? { findings } : { settings: settings as Output<S> };
}

/** @param path of the value; it is changed during the walk, and restored at the end */
function read(schema: Schema, value: unknown, path: PropertyKey[], findings: Finding[]): unknown {
  switch (schema.kind) {
    case 'scalar': {
      const parsed = schema.parse(value);
      if (isRight(parsed)) return parsed;
      tell(parsed, path, findings);
      return undefined;
    }
    case 'optional':
      return value === undefined ? undefined : read(schema.inner, value, path, findings);
    case 'defaulted':
      return read(schema.inner, value === undefined ? schema.written : value, path, findings);
    case 'list':
      if (Array.isArray(value)) return readList(schema, value, path, findings);
      tell(expected('a list', value), path, findings);
      return undefined;
    case 'map':
      if (isMap(value)) return readMap(schema.keys, value, path, findings);
      tell(expected('a map', value), path, findings);
      return undefined;
  }
}

function readList(
  { item, size }: { readonly item: Schema; readonly size: ListSize },
  values: readonly unknown[],
  path: PropertyKey[],
  findings: Finding[],
): unknown[] {
  const { empty, most } = size;
  const items: unknown[] = [];
  for (let index = 0; index < values.length; index += 1) {
    path.push(index);
    items.push(read(item, values[index], path, findings));
    path.pop();
  }
  if (empty !== undefined && values.length === 0) tell(empty, path, findings);
  if (most !== undefined && values.length > most.count) tell(most, path, findings);
  return items;
}

function readMap(keys: Shape, value: Raw, path: PropertyKey[], findings: Finding[]): unknown {
  const map: Record<string, unknown> = {};
  for (const key in keys) {
    const schema = keys[key];
    if (schema === undefined) continue;
    path.push(key);
    const inner = read(schema, value[key], path, findings);
    path.pop();
    if (inner !== undefined) map[key] = inner;
  }
  for (const key in value) if (!Object.hasOwn(keys, key)) findings.push(unknownKey([...path], key));
  return map;
}

type Raw = Readonly<Record<string, unknown>>;

function isMap(value: unknown): value is Raw {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

function isRight(parsed: unknown): parsed is unknown {
  return typeof parsed !== 'object' || parsed === null || !('problem' in parsed);
}

function tell({ problem, hint, headed }: Wrong, path: readonly PropertyKey[], findings: Finding[]): void {
  findings.push({
    path: [...path],
    message: problem,
    ...(hint !== undefined && { hint }),
    ...(headed !== undefined && { headed }),
  });
}

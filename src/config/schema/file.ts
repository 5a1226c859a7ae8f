/**
 * The configuration file: every key with its type, default, range and meaning. This is the only table of keys;
 * messages, the JSON Schema and docs/configuration.md are made from it.
 */
import { defaulted, flag, type KeyMeta, list, map, NOT_USED, type Output, optional, type Schema } from './builder.ts';
import { egress, ingress } from './egress.ts';
import { enclaverKeys } from './enclaver.ts';
import { forward } from './forward.ts';
import { limits, timeouts } from './limits.ts';
import { listener } from './listener.ts';
import { log } from './log.ts';
import { metrics } from './metrics.ts';
import { ALLOW_HINT, allowlist, denylist } from './rule.ts';
import { upstreamProxyKeys } from './upstream-proxy.ts';

/** What AWS's proxy prints for a file that allows nothing. */
const MISSING_ALLOWLIST = {
  hint: `the file needs the key "allowlist" with a list of entries; ${ALLOW_HINT}`,
  head: 'No allowlist field',
};

export const fileSchema = map(
  {
    ...MISSING_ALLOWLIST,
    description: 'Configuration of vsock-proxy',
    json: { anyOf: ['allowlist', 'listeners', 'egress', 'ingress', 'forward'].map((key) => ({ required: [key] })) },
  },
  {
    allowlist: optional(
      allowlist({
        ...MISSING_ALLOWLIST,
        description: 'The targets that are allowed; all others are denied',
        absent: 'required by `vsock-proxy PORT HOST PORT`, and by listeners without one of their own',
      }),
    ),
    denylist: optional(
      denylist({
        description: 'The targets that are denied, even if an entry allows them',
        absent: 'nothing is denied',
      }),
    ),
    match_names_by_ip: defaulted(
      flag({
        description:
          "Allows a name on the command line or in `connect` also if it shares an address with a listed name, as AWS's proxy does; from then on the name counts as listed by that entry. Names that clients request are not affected: they are not resolved unless they are listed",
      }),
      false,
    ),
    listeners: optional(
      list(
        {
          description: 'What `vsock-proxy serve` listens on',
          hint: 'write a list, each item beginning with "- listen:"',
          absent: 'none',
        },
        listener,
      ),
    ),
    egress: optional(egress),
    ingress: optional(ingress),
    forward: optional(forward),
    ...upstreamProxyKeys,
    limits,
    timeouts,
    metrics: optional(metrics),
    log: optional(log),
    ...enclaverKeys,
  },
);

/** The value of the file, with all defaults. */
export type FileSettings = Output<typeof fileSchema>;

/** The schema at this path; for an unknown path, the schema of its closest known parent. */
export function schemaAt(path: readonly PropertyKey[]): Schema {
  let schema: Schema = fileSchema;
  for (const key of path) {
    const { item, keys = {} } = partsOf(schema);
    const inner = item ?? (Object.hasOwn(keys, key) ? keys[String(key)] : undefined);
    if (inner === undefined) break;
    schema = inner;
  }
  return schema;
}

/** The parts of a schema: a list has its item, a map its keys, a single value none. */
export interface Parts {
  readonly item?: Schema;
  /** The most items of a list. */
  readonly most?: number;
  readonly keys?: Readonly<Record<string, Schema>>;
  /** The value of a key that is left out, as it would be written. */
  readonly default?: unknown;
}

export function partsOf(schema: Schema): Parts {
  switch (schema.kind) {
    case 'optional':
      return partsOf(schema.inner);
    case 'defaulted':
      return { ...partsOf(schema.inner), default: schema.written };
    case 'list':
      return { item: schema.item, ...(schema.size.most && { most: schema.size.most.count }) };
    case 'map':
      return { keys: schema.keys };
    case 'scalar':
      return {};
  }
}

/** The keys of a map that have an effect; without a map, those of all maps of the file at any depth. */
export function keysOf(schema?: Schema): readonly string[] {
  if (schema !== undefined) return usedKeys(schema).map(([key]) => key);
  const keys = new Set<string>();
  const collect = (part: Schema): void => {
    const { item } = partsOf(part);
    if (item !== undefined) collect(item);
    for (const [key, value] of usedKeys(part)) {
      keys.add(key);
      collect(value);
    }
  };
  collect(fileSchema);
  return [...keys];
}

function usedKeys(schema: Schema): readonly (readonly [key: string, value: Schema])[] {
  return Object.entries(partsOf(schema).keys ?? {}).filter(([, value]) => metaOf(value).type !== NOT_USED);
}

/** The texts about the key of this schema. */
export function metaOf(schema: Schema): KeyMeta {
  return 'inner' in schema ? metaOf(schema.inner) : schema.meta;
}

/** Whether the key is required. */
export function isRequiredKey(schema: Schema): boolean {
  return !('inner' in schema);
}

/** The JSON Schema (draft 2020-12) of the configuration file, for editors. */
import type { Schema, Shape } from './builder.ts';
import { fileSchema, isRequiredKey } from './file.ts';

export type JsonSchema = Readonly<Record<string, unknown>>;

/**
 * The schema accepts a little more than the program. `vsock-proxy check` reports what a pattern cannot express, such as
 * keys that exclude each other or a wrong host name.
 */
export function describeFile(): JsonSchema {
  return { $schema: 'https://json-schema.org/draft/2020-12/schema', ...describe(fileSchema) };
}

function describe(schema: Schema): JsonSchema {
  switch (schema.kind) {
    case 'optional':
      return describe(schema.inner);
    case 'defaulted':
      return { default: schema.written, ...describe(schema.inner) };
    case 'list': {
      const { item, size, meta } = schema;
      const most = size.most && { maxItems: size.most.count };
      const least = size.empty && { minItems: 1 };
      return { type: 'array', items: describe(item), ...least, ...most, ...meta.json, description: meta.description };
    }
    case 'map':
      return { ...describeKeys(schema.keys), ...schema.meta.json, description: schema.meta.description };
    case 'scalar':
      // The hints and phrases of a key are for messages only.
      return { ...schema.meta.json, description: schema.meta.description };
  }
}

function describeKeys(keys: Shape): JsonSchema {
  const all = Object.entries(keys);
  const required = all.flatMap(([key, schema]) => (isRequiredKey(schema) ? [key] : []));
  return {
    type: 'object',
    properties: Object.fromEntries(all.map(([key, schema]) => [key, describe(schema)])),
    ...(required.length > 0 && { required }),
    additionalProperties: false,
  };
}

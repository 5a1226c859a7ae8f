/** The JSON Schema (draft 2020-12) of the configuration file, for editors. */
import * as z from 'zod/mini';
import { KEYS } from './builder.ts';
import { fileSchema } from './file.ts';

/**
 * It is a little more lenient than the program: which keys exclude each other, whether a host name is one, and what else
 * takes more than a pattern to see, `vsock-proxy check` tells.
 */
export function describeFile(): z.core.JSONSchema.BaseSchema {
  return z.toJSONSchema(fileSchema, {
    io: 'input',
    // Of what is known of a key, hints and phrases are for messages.
    metadata: z.registry(),
    override({ zodSchema, jsonSchema }) {
      const meta = KEYS.get(zodSchema);
      if (meta !== undefined) Object.assign(jsonSchema, meta.json, { description: meta.description });
    },
  });
}

/** The JSON Schema (draft 2020-12) of the configuration file, for editors. */
import * as z from 'zod';
import { fileSchema } from './schema.ts';

export function describeFile(): z.core.JSONSchema.BaseSchema {
  return z.toJSONSchema(fileSchema, { io: 'input' });
}

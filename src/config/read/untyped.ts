/** Helpers for a value of the file before the schema has checked it. */
import { parseTcpPort, type TcpPort } from '../../access/address.ts';

export type KeyPath = readonly PropertyKey[];
export type Raw = Readonly<Record<string, unknown>>;

export function asMap(value: unknown): Raw | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Raw) : undefined;
}

export function asList(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

export function asPort(value: unknown): TcpPort | undefined {
  return typeof value === 'number' || typeof value === 'string' ? parseTcpPort(String(value)) : undefined;
}

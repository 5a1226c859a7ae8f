/** TCP ports in the file: whole numbers, with or without quotes. */
import { parseTcpPort, type TcpPort } from '../../access/address.ts';
import { type PortSet, parsePorts } from '../../access/ports.ts';
import { expected, type KeyMeta, scalar, type Wrong } from './builder.ts';

const HINT = 'TCP ports are 16-bit: write a whole number from 1 to 65535';
const NUMBER = { type: 'integer', minimum: 1, maximum: 65535 };
const DIGITS = { type: 'string', pattern: '^[0-9]{1,5}$' };
const RANGE = { type: 'string', pattern: '^[0-9]{1,5}(-[0-9]{1,5})?$' };

/** One port. */
export function tcpPort(meta: KeyMeta) {
  const json = { anyOf: [NUMBER, DIGITS] };
  return scalar({ type: '1–65535', hint: HINT, ...meta, json }, (value): TcpPort | Wrong => {
    const digits = typeof value === 'number' || typeof value === 'string' ? String(value) : '';
    if (!/^-?\d{1,20}$/.test(digits)) return expected('a port', value);
    return parseTcpPort(digits) ?? { problem: `port ${digits} is outside 1–65535` };
  });
}

/** A port, a range of ports, or a list of both. */
export function portSet(meta: KeyMeta) {
  const json = { anyOf: [NUMBER, RANGE, { type: 'array', minItems: 1, items: { anyOf: [NUMBER, RANGE] } }] };
  return scalar({ type: '1–65535, `a-b`, or a list', hint: HINT, ...meta, json }, (value): PortSet | Wrong => {
    if (value === undefined) return expected('a port', value);
    const ports = parsePorts(value);
    return ports !== 'any' && 'problem' in ports ? { ...ports, headed: true } : ports;
  });
}

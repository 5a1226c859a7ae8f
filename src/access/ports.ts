/** Sets of TCP ports, as rules have them. */
import { quoteBriefly, showValue } from '../platform/escape.ts';
import { type Malformed, malformed } from '../platform/malformed.ts';
import { parseTcpPort, type TcpPort } from './address.ts';

/** A range of ports, with both ends. */
export interface PortRange {
  readonly from: TcpPort;
  readonly to: TcpPort;
}
/** At least one range, in the order of the file. */
export type PortSet = 'any' | readonly PortRange[];

const HINT = 'TCP ports are 16-bit: write a whole number from 1 to 65535, a range such as 1024-2048, or a list of both';

/** One port as a number or its digits, or a range such as `1024-2048`. */
export function parsePortRange(item: unknown): PortRange | Malformed {
  const text = typeof item === 'number' || typeof item === 'string' ? String(item) : '';
  const [, first, last = first] = /^(-?\d{1,20})(?:-(\d{1,20}))?$/.exec(text) ?? [];
  if (first === undefined || last === undefined) {
    return malformed(`expected a port or a range of ports, found ${showValue(item)}`, HINT);
  }
  const from = parseTcpPort(first);
  const to = parseTcpPort(last);
  if (from === undefined || to === undefined) {
    const outside = from === undefined ? first : last;
    return malformed(`port ${outside} is outside 1–65535`, HINT);
  }
  if (from <= to) return { from, to };
  return malformed(`${quoteBriefly(text)} ends before it begins`, `write ${to}-${from}`);
}

/** The last single port. Most of thousands of rules have the port of the rule before, and share its object. */
let lastSingle: readonly [PortRange] | undefined;

/** What `parsePortRange` takes, or a list of it. */
export function parsePorts(value: unknown): PortSet | Malformed {
  if (!Array.isArray(value)) {
    if (lastSingle !== undefined && value === lastSingle[0].from) return lastSingle;
    const range = parsePortRange(value);
    if ('problem' in range) return range;
    const single = [range] as const;
    if (range.from === range.to) lastSingle = single;
    return single;
  }
  if (value.length === 0) return malformed('the list of ports is empty', HINT);
  const ranges: PortRange[] = [];
  for (const item of value) {
    const range = parsePortRange(item);
    if ('problem' in range) return range;
    ranges.push(range);
  }
  return ranges;
}

export function coversPort(ports: PortSet, port: TcpPort): boolean {
  return ports === 'any' || ports.some(({ from, to }) => from <= port && port <= to);
}

/** `any port`, `port 443`, `ports 80, 443 and 1024–2048`. */
export function describePorts(ports: PortSet): string {
  if (ports === 'any') return 'any port';
  const [only, ...others] = ports;
  const noun = others.length === 0 && only?.from === only?.to ? 'port' : 'ports';
  return `${noun} ${enumerate(ports.map(({ from, to }) => (from === to ? `${from}` : `${from}–${to}`)))}`;
}

const MOST_SHOWN = 8;

/** `a, b and c`; a long list ends with the number of its other items. */
export function enumerate(items: readonly string[]): string {
  const shown =
    items.length > MOST_SHOWN ? [...items.slice(0, MOST_SHOWN), `${items.length - MOST_SHOWN} more`] : items;
  return shown.length < 2 ? shown.join() : `${shown.slice(0, -1).join(', ')} and ${shown.at(-1)}`;
}

import assert from 'node:assert/strict';
import {
  type IpAddress,
  parseIpAddress,
  parseTargetHost,
  parseTcpPort,
  type TcpPort,
} from '../../../src/access/address.ts';
import type { AccessRequest } from '../../../src/access/authorize.ts';
import { type PortSet, parsePorts } from '../../../src/access/ports.ts';
import {
  type Client,
  isNameRule,
  type NameRule,
  type Policy,
  parseRuleAddress,
  type Rule,
  type Target,
} from '../../../src/access/rules.ts';

export function port(number: number): TcpPort {
  const parsed = parseTcpPort(String(number));
  assert(parsed !== undefined, `${number} is a port`);
  return parsed;
}

export function ip(text: string): IpAddress {
  const parsed = parseIpAddress(text);
  assert(parsed !== undefined, `${text} is an IP address`);
  return parsed;
}

/** A policy from its allowed and denied rules; see `rules` for the notation. */
export function policy(allow: readonly string[], deny: readonly string[] = []): Policy {
  return { allow: rules('allow.yaml', allow), deny: rules('deny.yaml', deny) };
}

/**
 * Rules in the form `address`, `address ports` or `address ports cids`, as in `*.example 80,1024-2048 16,17`; `any` is
 * any port.
 */
function rules(file: string, entries: readonly string[]): Rule[] {
  return entries.map((entry, index) => {
    const [text = '', ports = 'any', cids] = entry.split(' ');
    const address = parseRuleAddress(text);
    assert(address.kind !== 'malformed', `${text} is an address`);
    const rule = { address, ports: portSet(ports), text, place: `${file}:${index + 2}` };
    return cids === undefined ? rule : { ...rule, cids: cids.split(',').map(Number) };
  });
}

export function portSet(text: string): PortSet {
  const ports = text === 'any' ? text : parsePorts(text.split(','));
  assert(typeof ports === 'string' || !('problem' in ports), `${text} are ports`);
  return ports;
}

export function nameRule(entry: string): NameRule {
  const [rule] = policy([entry]).allow;
  assert(rule !== undefined && isNameRule(rule));
  return rule;
}

/** A target of the operator, for a client without a CID, by default. */
export function request(
  policy: Policy,
  target: Target,
  client: Client = {},
  namedBy: AccessRequest['namedBy'] = 'operator',
): AccessRequest {
  return { policy, target, client, family: 'any', namedBy };
}

/** A target in the form `host port`. */
export function target(written: string): Target {
  const [host = '', number] = written.split(' ');
  return { host: parseTargetHost(host), port: port(Number(number)) };
}

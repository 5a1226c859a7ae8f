import assert from 'node:assert/strict';
import {
  type IpAddress,
  parseIpAddress,
  parseTargetHost,
  parseTcpPort,
  type TcpPort,
} from '../../src/policy/address.ts';
import { isNameRule, type NameRule, parseRuleAddress, type Rule, type Target } from '../../src/policy/rules.ts';

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

/** The rules of an allowlist, written `address port`; the first stands in line 2. */
export function allowlist(...entries: readonly string[]): Rule[] {
  return entries.map((entry, index) => {
    const [text = '', number] = entry.split(' ');
    const address = parseRuleAddress(text);
    assert(address.kind !== 'malformed', `${text} is an address`);
    return { address, port: port(Number(number)), text, place: `allow.yaml:${index + 2}` };
  });
}

export function nameRule(entry: string): NameRule {
  const [rule] = allowlist(entry);
  assert(rule !== undefined && isNameRule(rule));
  return rule;
}

/** Written `host port`. */
export function target(written: string): Target {
  const [host = '', number] = written.split(' ');
  return { host: parseTargetHost(host), port: port(Number(number)) };
}

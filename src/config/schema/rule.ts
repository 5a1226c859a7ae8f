/** Lists that allow or deny addresses, on ports, for clients. */
import { type Cidr, cidrOf } from '../../access/cidr.ts';
import { parseRuleAddress, type RuleAddress } from '../../access/rules.ts';
import { quoteBriefly } from '../../platform/escape.ts';
import { CID_ANY } from '../../platform/vsock.ts';
import { type KeyMeta, list, map, optional, text, type Wrong, wholeNumber } from './builder.ts';
import { portSet } from './port.ts';

/** The meaning of an entry's address, and its text. */
export interface WrittenAddress {
  readonly text: string;
  readonly means: RuleAddress;
}

export const ALLOW_HINT = 'an entry looks like this: - {address: kms.us-east-1.amazonaws.com, port: 443}';
const DENY_HINT = 'an entry looks like this: - {address: 10.0.0.0/8, port: 22}; without a port it is for any';

const MISSING_ADDRESS = 'No address field';
const MISSING_PORT = 'No port field or invalid type';
/** What AWS's proxy prints about such an entry before it ends. */
export const ENTRY_HEADS = [MISSING_ADDRESS, MISSING_PORT] as const;

export function allowlist(meta: KeyMeta) {
  const entry = {
    address: addressKey('reached'),
    port: portSet({ description: 'The TCP ports that may be reached', head: MISSING_PORT }),
    cids: optional(cids({ description: 'The only clients that may reach it', absent: 'all clients' })),
  };
  const item = { description: 'One service that may be reached', hint: ALLOW_HINT, head: MISSING_ADDRESS };
  return list(meta, map(item, entry));
}

export function denylist(meta: KeyMeta) {
  const entry = {
    address: addressKey('denied'),
    port: optional(portSet({ description: 'The TCP ports that are denied', absent: 'any port', head: MISSING_PORT })),
    cids: optional(cids({ description: 'The only clients to which it is denied', absent: 'all clients' })),
  };
  const item = { description: 'What may not be reached', hint: DENY_HINT, head: MISSING_ADDRESS };
  return list({ hint: DENY_HINT, ...meta }, map(item, entry));
}

function addressKey(verb: 'reached' | 'denied') {
  const forms = 'a host name, a pattern of names (`*` is one label, `**` one or more), an IP address, or a range';
  const what = verb === 'reached' ? 'The target that is allowed' : 'The target that is denied';
  return ruleAddress({ description: `${what}: ${forms} such as \`10.0.0.0/8\``, head: MISSING_ADDRESS });
}

/** An address as in `allowlist[].address` and in `egress.allow`. */
export function ruleAddress(meta: KeyMeta) {
  const hint = 'write a host name or an IP address, in quotes if it looks like a number';
  const type = 'name, pattern, IP address or range';
  return text('a host name, an IP address or a range', { hint, type, ...meta }, (written): WrittenAddress | Wrong => {
    if (written.includes('${')) return { problem: `${quoteBriefly(written)} has a placeholder`, hint: PLACEHOLDER };
    const means = parseRuleAddress(written);
    return 'problem' in means ? means : { text: written, means };
  });
}

/**
 * `connect` is filled in on each instance. Rules have no placeholders, so that every reader of the file sees what they
 * allow.
 */
const PLACEHOLDER =
  'only connect may have one; a pattern goes here, such as "kms.*.amazonaws.com", where * is one label';

/** The CIDs of clients. */
export function cids(meta: KeyMeta) {
  const range = { min: 0, max: CID_ANY - 1 };
  const cid = wholeNumber({ description: 'The CID of an enclave, or 1 for this machine itself' }, range);
  return list({ hint: 'write the CIDs of enclaves: [16, 17]', ...meta }, cid, { empty: EMPTY });
}

/** The source addresses of clients. */
export function sources(meta: KeyMeta) {
  const hint = 'write ranges of addresses: [10.0.0.0/8, "2001:db8::/32"]';
  const item = { description: 'Addresses of clients', hint, type: 'IP address or range' };
  const source = text('a range of addresses', item, (written): Cidr | Wrong => {
    const address = parseRuleAddress(written);
    if ('problem' in address) return address;
    if (address.kind === 'cidr') return address.cidr;
    if (address.kind === 'ip') return cidrOf(address.ip);
    return { problem: `${quoteBriefly(written)} is not a range of addresses`, hint };
  });
  return list({ hint, ...meta }, source, { empty: EMPTY });
}

/** An empty list would refuse every client, and is most likely a mistake. */
const EMPTY = { problem: 'the list is empty', hint: 'leave it out, or write at least one' };

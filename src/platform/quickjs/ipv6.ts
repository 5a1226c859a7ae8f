/** IPv6 addresses as text: RFC 4291 section 2.2, and RFC 5952 for the canonical form. */

const GROUPS = 8;
const GROUP = /^[\da-f]{1,4}$/i;
const IPV4_PART = /^(?:0|[1-9]\d{0,2})$/;

/** The eight groups of an address without zone or brackets; undefined for any other text. */
export function parseIpv6(text: string): readonly number[] | undefined {
  const halves = text.split('::');
  if (halves.length > 2) return undefined;
  const [head, tail] = halves.map((half) => (half === '' ? [] : half.split(':')));
  if (head === undefined) return undefined;
  // An IPv4 address may be at the end.
  const last = tail ?? head;
  const dotted = last.at(-1);
  if (dotted?.includes('.')) {
    const parts = dotted.split('.');
    if (parts.length !== 4 || !parts.every((part) => IPV4_PART.test(part) && Number(part) < 256)) return undefined;
    const [a = 0, b = 0, c = 0, d = 0] = parts.map(Number);
    last.splice(-1, 1, (a * 256 + b).toString(16), (c * 256 + d).toString(16));
  }
  const written = [...head, ...(tail ?? [])];
  if (!written.every((group) => GROUP.test(group))) return undefined;
  if (tail === undefined ? written.length !== GROUPS : written.length >= GROUPS) return undefined;
  const zeros = new Array<string>(GROUPS - written.length).fill('0');
  return [...head, ...zeros, ...(tail ?? [])].map((group) => Number.parseInt(group, 16));
}

/** The canonical form: the longest run of at least two zeros is left out, or the first of several. */
export function formatIpv6(groups: readonly number[]): string {
  let from = 0;
  let length = 1;
  for (let at = 0; at < groups.length; at += 1) {
    let end = at;
    while (groups[end] === 0) end += 1;
    if (end - at > length) [from, length] = [at, end - at];
  }
  const text = (part: readonly number[]) => part.map((group) => group.toString(16)).join(':');
  return length < 2 ? text(groups) : `${text(groups.slice(0, from))}::${text(groups.slice(from + length))}`;
}

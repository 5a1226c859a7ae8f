/**
 * The search list of resolv.conf(5). c-ares reads the servers and options of that file itself, but resolves a name only
 * as it is given.
 */
import { type Hostname, parseHostname } from '../access/address.ts';

export interface SearchList {
  readonly domains: readonly Hostname[];
  /** A name with at least this many dots is first tried unchanged. */
  readonly ndots: number;
}

/** The greatest value of ndots: resolv.conf(5). */
const MAX_NDOTS = 15;

/** The last `search` or `domain` line counts, and so does the last `ndots`. */
export function parseSearchList(text: string): SearchList {
  let domains: readonly Hostname[] = [];
  let ndots = 1;
  for (const line of text.split('\n')) {
    const [keyword, ...words] = line
      .replace(/[#;].*/, '')
      .trim()
      .split(/\s+/);
    if (keyword === 'search') domains = hostnames(words);
    if (keyword === 'domain') domains = hostnames(words.slice(0, 1));
    if (keyword !== 'options') continue;
    for (const word of words) {
      const dots = /^ndots:(\d+)$/.exec(word)?.[1];
      if (dots !== undefined) ndots = Math.min(Number(dots), MAX_NDOTS);
    }
  }
  return { domains, ndots };
}

/** The names to try for this name, in order. */
export function expandName(name: Hostname, { domains, ndots }: SearchList): readonly Hostname[] {
  const searched = hostnames(domains.map((domain) => `${name}.${domain}`));
  const dots = name.split('.').length - 1;
  return dots >= ndots ? [name, ...searched] : [...searched, name];
}

/** The texts that are host names. The root, and names that became too long, are left out. */
function hostnames(texts: readonly string[]): readonly Hostname[] {
  return texts.map(parseHostname).filter((name) => typeof name === 'string');
}

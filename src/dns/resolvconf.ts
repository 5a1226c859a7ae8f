/**
 * The search list of resolv.conf(5). c-ares reads the servers and their options from that file itself, but queries
 * for a name exactly as it is given.
 */
import { type Hostname, parseHostname } from '../access/address.ts';

export interface SearchList {
  readonly domains: readonly Hostname[];
  /** A name with at least so many dots is first tried as it is. */
  readonly ndots: number;
}

/** resolv.conf(5): not more than so many dots can be asked for. */
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

/** The names to try for this one, in order. */
export function expandName(name: Hostname, { domains, ndots }: SearchList): readonly Hostname[] {
  const searched = hostnames(domains.map((domain) => `${name}.${domain}`));
  const dots = name.split('.').length - 1;
  return dots >= ndots ? [name, ...searched] : [...searched, name];
}

/** Those of the texts that are host names: not the root, not what became too long. */
function hostnames(texts: readonly string[]): readonly Hostname[] {
  return texts.map(parseHostname).filter((name) => typeof name === 'string');
}

/**
 * What the log says of the address that clients are connected to, in the two lines of the AWS proxy. That proxy resolves
 * for a client, and again for the first one after the TTL; here names are kept resolved, and the lines tell the same: where
 * this client is connected to, for as long as that may be taken to hold.
 */
import type { IpAddress } from '../../access/address.ts';
import type { Answer } from '../../dns/resolver.ts';
import type { Clock } from '../../platform/clock.ts';
import type { Log } from '../../platform/log.ts';

/** What the AWS proxy says of an address that no DNS server has told: one of the command line, or of /etc/hosts. */
const WITHOUT_TTL_MS = 86_400_000;

export class ResolutionLog {
  readonly #server: string;
  readonly #log: Log;
  readonly #clock: Clock;
  #current: { readonly ip: IpAddress; readonly ttlMs: number } | undefined;
  /** What was told last, and until when it holds. */
  #told: { readonly ip: IpAddress; readonly until: number } | undefined;
  /** Whether the first of the two lines waits for the second. */
  #isHalfTold = false;
  #isNews = false;

  /** @param server as the operator wrote it */
  constructor(server: string, { log, clock }: { readonly log: Log; readonly clock: Clock }) {
    this.#server = server;
    this.#log = log;
    this.#clock = clock;
  }

  /** A client has come. */
  client(): void {
    if (this.#isHalfTold || (this.#told !== undefined && this.#clock.now() < this.#told.until)) return;
    this.#tell();
  }

  /** The first address to be tried from now on; what clients were told before is told anew where it has changed. */
  use(ip: IpAddress, { ttlMs, source }: Pick<Answer, 'ttlMs' | 'source'>): void {
    this.#current = { ip, ttlMs: source === 'dns' ? ttlMs : WITHOUT_TTL_MS };
    if (this.#isHalfTold) this.#tellAddress();
    else if (this.#isNews || (this.#told !== undefined && this.#told.ip.text !== ip.text)) this.#tell();
  }

  /** The address that the operator wrote. */
  useLiteral(ip: IpAddress): void {
    this.use(ip, { ttlMs: WITHOUT_TTL_MS, source: 'hosts' });
  }

  /** There is no address any more, or none yet, and somebody was warned of it: the next one is news. */
  useNone(): void {
    this.#isNews = true;
    this.#current = undefined;
  }

  #tell(): void {
    this.#log.info(`Resolving hostname: ${this.#server}.`);
    if (this.#current === undefined) this.#isHalfTold = true;
    else this.#tellAddress();
  }

  #tellAddress(): void {
    if (this.#current === undefined) return;
    const { ip, ttlMs } = this.#current;
    const ttl = Math.round(ttlMs / 1000);
    this.#log.info(`Using IP "${ip.text}" for the given server "${this.#server}". (TTL: ${ttl} secs)`);
    this.#told = { ip, until: this.#clock.now() + ttlMs };
    this.#isHalfTold = false;
    this.#isNews = false;
  }
}

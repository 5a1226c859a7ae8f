/**
 * Writes AWS's two log lines about the address to which clients are connected. AWS's proxy resolves the name for a
 * client, and again for the first client after the TTL. Here the name is always resolved. The lines say the same: to
 * which address this client is connected, and for how long that holds.
 */
import type { IpAddress } from '../../access/address.ts';
import type { Answer } from '../../dns/resolver.ts';
import type { Clock } from '../../platform/clock.ts';
import type { Log } from '../../platform/log.ts';

/** The TTL that AWS's proxy prints for an address that no DNS server gave: of the command line, or of /etc/hosts. */
const WITHOUT_TTL_MS = 86_400_000;

export class ResolutionLog {
  readonly #server: string;
  readonly #log: Log;
  readonly #clock: Clock;
  #current: { readonly ip: IpAddress; readonly ttlMs: number } | undefined;
  /** What was logged last, and until when it holds. */
  #told: { readonly ip: IpAddress; readonly until: number } | undefined;
  /** Whether the first of the two lines is written, and the second is not. */
  #isHalfTold = false;
  #isNews = false;

  /** @param server the host as the operator wrote it */
  constructor(server: string, { log, clock }: { readonly log: Log; readonly clock: Clock }) {
    this.#server = server;
    this.#log = log;
    this.#clock = clock;
  }

  /** Called when a client comes. */
  client(): void {
    if (this.#isHalfTold || (this.#told !== undefined && this.#clock.now() < this.#told.until)) return;
    this.#tell();
  }

  /** Sets the first address to try. If clients were told another address before, the new one is logged at once. */
  use(ip: IpAddress, { ttlMs, source }: Pick<Answer, 'ttlMs' | 'source'>): void {
    this.#current = { ip, ttlMs: source === 'dns' ? ttlMs : WITHOUT_TTL_MS };
    if (this.#isHalfTold) this.#tellAddress();
    else if (this.#isNews || (this.#told !== undefined && this.#told.ip.text !== ip.text)) this.#tell();
  }

  /** The address that the operator wrote. */
  useLiteral(ip: IpAddress): void {
    this.use(ip, { ttlMs: WITHOUT_TTL_MS, source: 'hosts' });
  }

  /** Called when there is no address, and a warning says so. The next address is then logged at once. */
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

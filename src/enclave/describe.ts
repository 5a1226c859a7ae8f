/** Finds the CIDs of this instance's enclaves by their names, with `nitro-cli describe-enclaves`. */
import { execFile } from 'node:child_process';
import type { Clock } from '../platform/clock.ts';
import { VsockProxyError } from '../platform/errors.ts';
import { escapeControls, quoteBriefly } from '../platform/escape.ts';
import type { Log } from '../platform/log.ts';

/** A running enclave. */
export interface Enclave {
  /** Absent: the CLI is too old to print names. */
  readonly name?: string;
  readonly cid: number;
}

/** The output of `describe-enclaves`. */
export interface Description {
  readonly text: string;
  /**
   * The command also failed, for example because one of several enclaves hangs. Enclaves that are missing in the text
   * may run.
   */
  readonly failure?: VsockProxyError;
}

export interface EnclaveDirectoryOptions {
  readonly describe: () => Promise<Description>;
  readonly clock: Clock;
  readonly log: Log;
}

/** For this long an answer is used without another call. An enclave that was started again is found afterwards. */
const FRESH_MS = 1_000;
/** For this long an answer is used while the next one is being fetched, so that clients do not wait. */
const USABLE_MS = 1_500;
/** If nitro-cli fails, the last answer is used for this long, because it is still the best guess. */
const KEPT_MS = 60_000;
const DEADLINE_MS = 5_000;
const MAX_BYTES = 1024 * 1024;
/** 1 is this machine, 2 its hypervisor, 3 the parent itself. */
const FIRST_ENCLAVE_CID = 4;
const LAST_CID = 0xffff_fffe;

/** An enclave, and the time when it was last listed. */
interface Listed extends Enclave {
  readonly at: number;
}

export class EnclaveDirectory {
  readonly #options: EnclaveDirectoryOptions;
  #enclaves: readonly Listed[] = [];
  #fetchedAt = Number.NEGATIVE_INFINITY;
  #failure: VsockProxyError | undefined;
  #fetching: Promise<void> | undefined;
  /** By name, as last listed. */
  readonly #told = new Map<string, number>();

  constructor(options: EnclaveDirectoryOptions) {
    this.#options = options;
  }

  /**
   * The result is immediate if the last answer is recent enough. The program runs only when there are requests.
   * @returns an error if there is no such enclave, or if the answer is unknown; never an exception
   */
  cidOf(name: string): number | VsockProxyError | Promise<number | VsockProxyError> {
    const ageMs = this.#options.clock.now() - this.#fetchedAt;
    if (ageMs >= FRESH_MS) this.#fetching ??= this.#fetch();
    return ageMs < USABLE_MS || this.#fetching === undefined
      ? this.#find(name)
      : this.#fetching.then(() => this.#find(name));
  }

  async #fetch(): Promise<void> {
    const { failure, enclaves } = await this.#describe();
    const at = this.#options.clock.now();
    const listed = enclaves.map((enclave) => ({ ...enclave, at }));
    const kept = failure === undefined ? [] : this.#missingFrom(listed, at);
    if (failure !== undefined && this.#failure === undefined) this.#tell(failure, listed, kept);
    this.#enclaves = [...listed, ...kept];
    this.#failure = failure;
    this.#fetchedAt = at;
    this.#fetching = undefined;
  }

  /** The present output, as far as it is valid, and why it may be incomplete. */
  async #describe(): Promise<{ readonly enclaves: readonly Enclave[]; readonly failure?: VsockProxyError }> {
    let failure: VsockProxyError | undefined;
    try {
      const description = await this.#options.describe();
      ({ failure } = description);
      return { enclaves: parseEnclaves(description.text), ...(failure && { failure }) };
    } catch (error) {
      // The error of the command says more than its missing output.
      return { enclaves: [], failure: failure ?? (error instanceof VsockProxyError ? error : asError(error)) };
    }
  }

  /**
   * Enclaves from earlier answers. They are kept only briefly, because a CID may go to another enclave when its own has
   * ended.
   */
  #missingFrom(listed: readonly Enclave[], now: number): readonly Listed[] {
    return this.#enclaves.filter(
      ({ name, cid, at }) => now - at <= KEPT_MS && !listed.some((each) => each.name === name || each.cid === cid),
    );
  }

  #tell({ line }: VsockProxyError, listed: readonly Listed[], kept: readonly Listed[]): void {
    const { log } = this.#options;
    if (listed.length > 0) log.warn(`describe-enclaves has failed, and what it printed is used: ${line}`);
    else if (kept.length > 0) log.warn(`The CIDs of enclaves stay as they were for now: ${line}`);
  }

  #find(name: string): number | VsockProxyError {
    const [enclave, another] = this.#enclaves.filter((each) => each.name === name);
    if (enclave === undefined) return this.#failure ?? notRunning(name, this.#enclaves);
    if (another !== undefined) return ambiguous(name, enclave.cid, another.cid);
    if (this.#told.get(name) !== enclave.cid) {
      this.#told.set(name, enclave.cid);
      this.#options.log.info(`The enclave ${quoteBriefly(name)} has CID ${enclave.cid}`);
    }
    return enclave.cid;
  }
}

/**
 * The running enclaves in the output of `describe-enclaves`: a list of maps, of which only these keys are used.
 * @throws VsockProxyError `metadata`
 */
export function parseEnclaves(text: string): readonly Enclave[] {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    throw unreadable(`it is not JSON: ${quoteBriefly(text)}`);
  }
  if (!Array.isArray(value)) throw unreadable('it is not a list');
  return value.flatMap((item: unknown, index) => {
    if (typeof item !== 'object' || item === null) throw unreadable(`[${index}] is not a map`);
    const { EnclaveName: name, EnclaveCID: cid, State: state } = item as Readonly<Record<string, unknown>>;
    if (state !== 'RUNNING') return [];
    if (name !== undefined && typeof name !== 'string') throw unreadable(`[${index}].EnclaveName is not a text`);
    if (typeof cid !== 'number' || !Number.isInteger(cid) || cid < FIRST_ENCLAVE_CID || cid > LAST_CID) {
      throw unreadable(`[${index}].EnclaveCID is not the CID of an enclave`);
    }
    return [{ ...(name !== undefined && { name }), cid }];
  });
}

/**
 * Runs the program, without a shell. A program that ends with a status other than 0 may still print a list.
 * @throws VsockProxyError `metadata` if it printed none, or could not be run
 */
export function describeEnclaves(program: string): Promise<Description> {
  const { promise, resolve, reject } = Promise.withResolvers<Description>();
  const limits = { timeout: DEADLINE_MS, maxBuffer: MAX_BYTES, killSignal: 'SIGKILL' } as const;
  execFile(program, ['describe-enclaves'], limits, (failure, stdout, stderr) => {
    if (failure === null) return resolve({ text: stdout });
    const { code, killed } = failure;
    const words = escapeControls(stderr.trim().split('\n', 1)[0] ?? '').slice(0, 200);
    const status = typeof code === 'number' ? `status ${code}` : (code ?? 'ended by a signal');
    const reason = killed === true ? `no answer within ${DEADLINE_MS / 1000} s` : status;
    const hint =
      code === 'ENOENT'
        ? 'install the package aws-nitro-enclaves-cli, or name the program with --nitro-cli'
        : 'its user must be in the group ne, and may run it by hand to see more';
    const message = `${escapeControls(program)} describe-enclaves: ${reason}${words === '' ? '' : `: ${words}`}`;
    const error = new VsockProxyError('metadata', message, { hint, cause: failure });
    if (typeof code === 'number' && stdout.trim() !== '') resolve({ text: stdout, failure: error });
    else reject(error);
  });
  return promise;
}

function unreadable(problem: string): VsockProxyError {
  return new VsockProxyError('metadata', `What describe-enclaves prints cannot be understood: ${problem}`, {
    hint: '--nitro-cli names a program that prints what nitro-cli does',
  });
}

function notRunning(name: string, running: readonly Enclave[]): VsockProxyError {
  return new VsockProxyError('metadata', `no enclave with the name ${quoteBriefly(name)} runs`, {
    hint: describeRunning(running),
  });
}

/** The most enclaves that one line names. */
const MOST_NAMED = 5;

function describeRunning(running: readonly Enclave[]): string {
  if (running.length === 0) return 'none runs at all; it is looked for again when the next client comes';
  const names = running.flatMap(({ name }) => (name === undefined ? [] : [quoteBriefly(name)]));
  if (names.length > 0) return `those that run are ${names.slice(0, MOST_NAMED).join(', ')}`;
  const cids = running.slice(0, MOST_NAMED).map(({ cid }) => cid);
  return `this nitro-cli is too old to tell names; say which enclave with --enclave-cid: what runs has ${cids.length === 1 ? 'CID' : 'CIDs'} ${cids.join(', ')}`;
}

function ambiguous(name: string, one: number, other: number): VsockProxyError {
  return new VsockProxyError(
    'metadata',
    `more than one enclave has the name ${quoteBriefly(name)}: CIDs ${one}, ${other}`,
    {
      hint: 'give each its own with nitro-cli run-enclave --enclave-name, or say which with --enclave-cid',
    },
  );
}

function asError(error: unknown): VsockProxyError {
  return new VsockProxyError('metadata', `the enclaves could not be described: ${String(error)}`, { cause: error });
}

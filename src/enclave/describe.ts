/** The CIDs of this instance's enclaves by their names, as `nitro-cli describe-enclaves` tells them. */
import { execFile } from 'node:child_process';
import type { Clock } from '../platform/clock.ts';
import { VsockProxyError } from '../platform/errors.ts';
import { escapeControls, quoteBriefly } from '../platform/escape.ts';
import type { Log } from '../platform/log.ts';

/** An enclave that runs. */
export interface Enclave {
  readonly name: string;
  readonly cid: number;
}

export interface EnclaveDirectoryOptions {
  /** What is printed now. */
  readonly describe: () => Promise<string>;
  readonly clock: Clock;
  readonly log: Log;
}

/** So long an answer is taken as it is; an enclave that was started again is found as soon as it is over. */
const FRESH_MS = 1_000;
/** So long it is used while the next one is being fetched, so that those who keep coming do not wait. */
const USABLE_MS = 1_500;
/** So long it is used while nobody can tell: what was true a moment ago is more likely to be than nothing. */
const KEPT_MS = 60_000;
const DEADLINE_MS = 5_000;
const MAX_BYTES = 1024 * 1024;
/** 1 is this machine, 2 the host under it, 3 the parent itself. */
const FIRST_ENCLAVE_CID = 4;
const LAST_CID = 0xffff_fffe;

export class EnclaveDirectory {
  readonly #options: EnclaveDirectoryOptions;
  #enclaves: readonly Enclave[] = [];
  #fetchedAt = Number.NEGATIVE_INFINITY;
  #toldAt = Number.NEGATIVE_INFINITY;
  #failure: VsockProxyError | undefined;
  #fetching: Promise<void> | undefined;
  /** By name, as last told. */
  readonly #told = new Map<string, number>();

  constructor(options: EnclaveDirectoryOptions) {
    this.#options = options;
  }

  /**
   * At once where the last answer is fresh enough. Nothing is asked while nobody asks.
   * @returns an error where there is no such enclave, or nobody can tell; never an exception
   */
  cidOf(name: string): number | VsockProxyError | Promise<number | VsockProxyError> {
    const ageMs = this.#options.clock.now() - this.#fetchedAt;
    if (ageMs >= FRESH_MS) this.#fetching ??= this.#fetch();
    return ageMs < USABLE_MS || this.#fetching === undefined
      ? this.#find(name)
      : this.#fetching.then(() => this.#find(name));
  }

  async #fetch(): Promise<void> {
    const { describe, clock, log } = this.#options;
    try {
      this.#enclaves = parseEnclaves(await describe());
      this.#toldAt = clock.now();
      this.#failure = undefined;
    } catch (error) {
      const failure = error instanceof VsockProxyError ? error : asError(error);
      // A CID is free for another enclave when its own has ended.
      if (clock.now() - this.#toldAt > KEPT_MS) this.#enclaves = [];
      else if (this.#failure === undefined) log.warn(`The CIDs of enclaves stay as they were for now: ${failure.line}`);
      this.#failure = failure;
    } finally {
      this.#fetchedAt = clock.now();
      this.#fetching = undefined;
    }
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
 * Those that run, of what `describe-enclaves` prints: a list of maps, of which only these keys matter.
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
    // Old ones have no name, and so are nobody's who is asked for by name.
    if (state !== 'RUNNING' || name === undefined) return [];
    if (typeof name !== 'string') throw unreadable(`[${index}].EnclaveName is not a text`);
    if (typeof cid !== 'number' || !Number.isInteger(cid) || cid < FIRST_ENCLAVE_CID || cid > LAST_CID) {
      throw unreadable(`[${index}].EnclaveCID is not the CID of an enclave`);
    }
    return [{ name, cid }];
  });
}

/**
 * Runs the program, without a shell.
 * @throws VsockProxyError `metadata`
 */
export function describeEnclaves(program: string): Promise<string> {
  const { promise, resolve, reject } = Promise.withResolvers<string>();
  const limits = { timeout: DEADLINE_MS, maxBuffer: MAX_BYTES, killSignal: 'SIGKILL' } as const;
  execFile(program, ['describe-enclaves'], limits, (failure, stdout, stderr) => {
    if (failure === null) return resolve(stdout);
    const { code, killed } = failure;
    const words = escapeControls(stderr.trim().split('\n', 1)[0] ?? '').slice(0, 200);
    const status = typeof code === 'number' ? `status ${code}` : (code ?? 'ended by a signal');
    const reason = killed === true ? `no answer within ${DEADLINE_MS / 1000} s` : status;
    const hint =
      code === 'ENOENT'
        ? 'install the package aws-nitro-enclaves-cli, or name the program with --nitro-cli'
        : 'its user must be in the group ne, and may run it by hand to see more';
    const message = `${escapeControls(program)} describe-enclaves: ${reason}${words === '' ? '' : `: ${words}`}`;
    reject(new VsockProxyError('metadata', message, { hint, cause: failure }));
  });
  return promise;
}

function unreadable(problem: string): VsockProxyError {
  return new VsockProxyError('metadata', `What describe-enclaves prints cannot be understood: ${problem}`, {
    hint: '--nitro-cli names a program that prints what nitro-cli does',
  });
}

function notRunning(name: string, others: readonly Enclave[]): VsockProxyError {
  const running = others.slice(0, 5).map((each) => quoteBriefly(each.name));
  return new VsockProxyError('metadata', `no enclave with the name ${quoteBriefly(name)} runs`, {
    hint:
      running.length === 0
        ? 'none runs at all; it is looked for again when the next client comes'
        : `those that run are ${running.join(', ')}`,
  });
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

/** Trying again: bounded, with jittered waits, the bound counting only attempts that moved nothing. */

import type { Environment } from "../environment.ts";
import { Backoff } from "../transport/backoff.ts";
import { BlobGone, TransferInterrupted, TransferRefused } from "./errors.ts";

/** In a row, moving nothing; after that the person is told, and it goes on when the relay is there again. */
const ATTEMPTS = 5;
const PASSING = new Set([408, 409, 423, 425, 429]);
const GONE = new Set([404, 410]);

/** The relay answered in a way, or not at all, that another attempt may mend. */
export class TryAgain extends Error {}

/** The relay's base URL and a bearer token for its blobs. */
export interface Granted {
  readonly base: string;
  readonly token: string;
}

/** Gets a token: called again when the last one has expired. Raises RelayError. */
export type Access = () => Promise<Granted>;

/** The tokens of one transfer: asked for anew after every fault, so that it is noticed when the relay is away. */
export class Grants {
  readonly #access: Access;
  #granted: Promise<Granted> | null = null;

  constructor(access: Access) {
    this.#access = access;
  }

  get(): Promise<Granted> {
    this.#granted ??= this.#access();
    return this.#granted;
  }

  /** The next one is another. */
  drop(): void {
    this.#granted = null;
  }
}

/** Raise what an unsuccessful status means: TryAgain, BlobGone or TransferRefused. */
export function checkStatus(status: number, grants: Grants): void {
  if (status >= 200 && status < 300) return;
  if (status === 401) {
    grants.drop();
    throw new TryAgain("the token has expired");
  }
  if (PASSING.has(status) || status >= 500) throw new TryAgain(`HTTP status ${status}`);
  if (GONE.has(status)) throw new BlobGone();
  throw new TransferRefused(status);
}

/** The attempts of one transfer. */
export class Attempts {
  readonly #environment: Environment;
  #backoff: Backoff;
  #failed = 0;

  constructor(environment: Environment) {
    this.#environment = environment;
    this.#backoff = new Backoff(environment.fraction);
  }

  /** Something was transferred: the count begins anew. */
  moved(): void {
    this.#failed = 0;
    this.#backoff = new Backoff(this.#environment.fraction);
  }

  /** Wait before the next attempt; raises `error` if none would mend it, TransferInterrupted after the last. */
  async waitAfter(error: unknown, signal: AbortSignal): Promise<void> {
    if (!(error instanceof TryAgain)) throw error;
    this.#failed += 1;
    if (this.#failed >= ATTEMPTS) throw new TransferInterrupted();
    await this.#environment.sleep(this.#backoff.nextDelayMs(), signal);
    signal.throwIfAborted();
  }
}

/** Uploading a spool file by tus 1.0 (https://tus.io/protocols/resumable-upload). */

import type { HttpRequest, HttpResponse, HttpStack, UploadOptions } from "tus-js-client";
import { Upload as Tus } from "tus-js-client";
import type { Environment } from "../environment.ts";
import { CoachRelayError } from "../errors.ts";
import { WireError } from "../wire/errors.ts";
import type { BlobId } from "../wire/ids.ts";
import { parseBlobId } from "../wire/ids.ts";
import { BlobGone } from "./errors.ts";
import type { Access, Granted } from "./retrying.ts";
import { Attempts, checkStatus, Grants, TryAgain } from "./retrying.ts";

const FIRST_PIECE = 1024 * 1024;
const LARGEST_PIECE = 4 * 1024 * 1024;
/** What even a poor connection moves in one go. */
const SMALLEST_PIECE = 128 * 1024;
/** A piece that takes less may grow: a cut costs about this long. */
const SOON_MS = 2000;
const REQUEST_MS = 120_000;
/** Uploads begun anew because the relay had lost the one before; then something else is wrong. */
const MAX_ANEW = 3;

export interface UploadTask {
  /** The sealed file: the same bytes at every attempt. */
  readonly sealed: Blob;
  readonly access: Access;
  readonly environment: Environment;
  /** The upload that an earlier run began. */
  readonly blob: BlobId | null;
  /** Keep it, to go on with it after a reload: called before anything is sent under it. */
  remember(blob: BlobId | null): Promise<void>;
  progress(done: number): void;
  readonly signal: AbortSignal;
  /** Tests give their own. */
  readonly httpStack?: HttpStack;
}

/**
 * Upload what the relay does not have yet; resolves with the blob's id when it has everything. Raises
 * TransferInterrupted, TransferRefused, BlobGone, or the signal's reason; the relay keeps what it has taken.
 */
export async function upload(task: UploadTask): Promise<BlobId> {
  const attempts = new Attempts(task.environment);
  const grants = new Grants(task.access);
  let [blob, piece, anew] = [task.blob, FIRST_PIECE, 0];
  while (true) {
    try {
      const attempt = new Attempt(task, grants, await grants.get(), blob, piece, () => attempts.moved());
      try {
        return await attempt.run();
      } finally {
        [blob, piece] = [attempt.blob, Math.max(SMALLEST_PIECE, attempt.piece >> 1)];
      }
    } catch (error) {
      task.signal.throwIfAborted();
      if (error instanceof BlobGone && ++anew <= MAX_ANEW) {
        blob = null;
        await task.remember(null);
      } else await attempts.waitAfter(error, task.signal);
    }
  }
}

/** Give an upload up: the relay erases what it has of it. */
export async function giveUp(blob: BlobId, access: Access): Promise<void> {
  await erase(blob, access, "");
}

/** The message about it was taken back: the relay erases it. True: it has, or never had it, or does not let us. */
export const withdraw = (blob: BlobId, access: Access): Promise<boolean> =>
  erase(blob, access, "?retracted=1");

async function erase(blob: BlobId, access: Access, why: string): Promise<boolean> {
  const { base, token } = await access();
  const headers = { "Tus-Resumable": "1.0.0", Authorization: `Bearer ${token}` };
  const { status } = await fetch(`${base}/v1/blobs/${blob}${why}`, { method: "DELETE", headers, ...PLAIN });
  return status < 500 && status !== 401 && status !== 429;
}

/** What every request to the blobs is: the token is for this relay alone, and nothing of it is kept. */
export const PLAIN = { redirect: "error", credentials: "omit", cache: "no-store" } as const;

/**
 * One run of tus-js-client. It believes a server more than we do a relay: what each answer says is checked here,
 * before the library acts on it, and a refusal of this check ends the run.
 */
class Attempt {
  readonly #task: UploadTask;
  readonly #grants: Grants;
  readonly #granted: Granted;
  readonly #moved: () => void;
  readonly #tus: Tus;
  #settle: { resolve(blob: BlobId): void; reject(error: unknown): void } | null = null;
  #failed: unknown = null;
  #offset = 0;
  #sentAt = 0;
  blob: BlobId | null;
  piece: number;

  constructor(
    task: UploadTask,
    grants: Grants,
    granted: Granted,
    blob: BlobId | null,
    piece: number,
    moved: () => void,
  ) {
    this.#task = task;
    this.#grants = grants;
    this.#granted = granted;
    this.blob = blob;
    this.piece = piece;
    this.#moved = moved;
    this.#tus = new Tus(task.sealed, this.#options());
  }

  run(): Promise<BlobId> {
    const { signal } = this.#task;
    return new Promise<BlobId>((resolve, reject) => {
      this.#settle = { resolve, reject };
      signal.addEventListener("abort", () => this.#stop(signal.reason), { once: true });
      if (signal.aborted) this.#stop(signal.reason);
      else this.#tus.start();
    });
  }

  #stop(reason: unknown): void {
    void this.#tus.abort(false);
    this.#settle?.reject(reason);
  }

  #url(blob: BlobId): string {
    return `${this.#granted.base}/v1/blobs/${blob}`;
  }

  #options(): UploadOptions {
    const { sealed, progress, httpStack } = this.#task;
    return {
      endpoint: `${this.#granted.base}/v1/blobs`,
      uploadUrl: this.blob && this.#url(this.blob),
      uploadSize: sealed.size,
      chunkSize: this.piece,
      headers: { Authorization: `Bearer ${this.#granted.token}` },
      retryDelays: [], // we try again ourselves: an attempt that moved nothing is counted
      storeFingerprintForResuming: false,
      fingerprint: async () => "",
      fileReader: { openFile: async () => sourceOf(sealed) },
      ...(httpStack && { httpStack }),
      onProgress: (done) => progress(Math.min(done, sealed.size)),
      onBeforeRequest: (request) => this.#before(request),
      onAfterResponse: (request, response) => this.#after(request, response),
      onSuccess: () => this.#succeeded(),
      onError: () => {
        if (this.#failed === null) this.#grants.drop();
        this.#settle?.reject(this.#failed ?? new TryAgain("no answer"));
      },
      // The relay names the upload; where it is, we know.
      onUploadUrlAvailable: () => {
        if (this.blob !== null) this.#tus.url = this.#url(this.blob);
      },
    };
  }

  #succeeded(): void {
    if (this.blob === null || this.#offset !== this.#task.sealed.size) {
      this.#settle?.reject(new TryAgain("it ended before its end"));
    } else this.#settle?.resolve(this.blob);
  }

  #before(request: HttpRequest): void {
    const underlying: unknown = request.getUnderlyingObject();
    if (typeof XMLHttpRequest !== "undefined" && underlying instanceof XMLHttpRequest) {
      underlying.timeout = REQUEST_MS;
    }
    this.#sentAt = this.#task.environment.nowMs();
  }

  async #after(request: HttpRequest, response: HttpResponse): Promise<void> {
    try {
      checkStatus(response.getStatus(), this.#grants);
      const method = request.getMethod();
      if (method === "POST") await this.#created(response);
      else if (method === "HEAD") this.#found(response);
      else if (method === "PATCH") this.#taken(response);
    } catch (error) {
      const known = error instanceof CoachRelayError || error instanceof TryAgain;
      this.#failed = known ? error : new TryAgain("an answer without sense");
      throw error;
    }
  }

  async #created(response: HttpResponse): Promise<void> {
    const location = response.getHeader("Location") ?? "";
    try {
      this.blob = parseBlobId(location.replace(/\/+$/, "").split("/").at(-1));
    } catch (error) {
      if (!(error instanceof WireError)) throw error;
      throw new TryAgain("the relay named no upload");
    }
    await this.#task.remember(this.blob);
  }

  #found(response: HttpResponse): void {
    const { size } = this.#task.sealed;
    this.#offset = number(response, "Upload-Offset");
    if (number(response, "Upload-Length") !== size || this.#offset > size) throw new BlobGone();
  }

  #taken(response: HttpResponse): void {
    const { environment, sealed } = this.#task;
    const offset = number(response, "Upload-Offset");
    if (offset <= this.#offset || offset > Math.min(this.#offset + this.piece, sealed.size)) {
      throw new TryAgain("the relay's offset makes no sense");
    }
    this.#offset = offset;
    this.#moved();
    if (environment.nowMs() - this.#sentAt < SOON_MS) {
      this.piece = Math.min(LARGEST_PIECE, this.piece * 2);
      this.#tus.options.chunkSize = this.piece;
    }
  }
}

function number(response: HttpResponse, header: string): number {
  const said = response.getHeader(header) ?? "";
  if (!/^\d{1,15}$/.test(said)) throw new TryAgain(`the relay's ${header} is no number`);
  return Number(said);
}

/** Slices of a file on disk go to the network as they are: nothing of them is held here. */
const sourceOf = (sealed: Blob) => ({
  size: sealed.size,
  slice: async (start: number, end: number) => ({
    value: sealed.slice(start, end),
    done: end >= sealed.size,
  }),
  close: () => undefined,
});

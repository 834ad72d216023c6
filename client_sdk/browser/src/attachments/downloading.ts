/** Downloading a sealed file into a spool, in ranges (RFC 9110 section 14), resumable at any byte. */

import type { Environment } from "../environment.ts";
import type { BlobId } from "../wire/ids.ts";
import { SealedFileExtended, SealedFileTruncated } from "./errors.ts";
import type { Access } from "./retrying.ts";
import { Attempts, checkStatus, Grants, TryAgain } from "./retrying.ts";
import type { SpoolFile } from "./spool.ts";
import { PLAIN } from "./uploading.ts";

/** Silence, not slowness, ends a request. */
const SILENCE_MS = 30_000;
/** Written between two flushes: a crash costs no more. */
const FLUSH_BYTES = 8 * 1024 * 1024;
const CONTENT_RANGE = /^bytes (\d{1,15})-(\d{1,15})\/(\d{1,15})$/;
const RANGE_NOT_SATISFIABLE = 416;

export interface DownloadTask {
  readonly blob: BlobId;
  readonly sealedSize: number;
  readonly spool: SpoolFile;
  readonly access: Access;
  readonly environment: Environment;
  progress(done: number): void;
  readonly signal: AbortSignal;
  /** Tests give their own. */
  readonly fetch?: typeof fetch;
}

/**
 * Fetch what is missing; when it resolves the spool is complete and durable, and `open` checks it. Never stores
 * more than the sender sealed. Raises TransferInterrupted, TransferRefused, BlobGone, StorageFailed, the signal's
 * reason, or SealedFileTruncated or SealedFileExtended as soon as the relay names another size.
 */
export async function download(task: DownloadTask): Promise<void> {
  const attempts = new Attempts(task.environment);
  const grants = new Grants(task.access);
  const { spool, sealedSize, signal } = task;
  if (spool.size > sealedSize) spool.truncate(0);
  task.progress(spool.size);
  while (spool.size !== sealedSize) {
    try {
      await fetchRest(task, grants, attempts);
    } catch (error) {
      signal.throwIfAborted();
      await attempts.waitAfter(error, signal);
    }
  }
  spool.flush();
}

async function fetchRest(task: DownloadTask, grants: Grants, attempts: Attempts): Promise<void> {
  const { spool, sealedSize, signal, environment } = task;
  const watch = new Silence(environment, signal);
  try {
    const response = await answer(task, grants, watch.signal);
    await checkRange(response, task);
    const reader = response.body?.getReader();
    let unflushed = 0;
    while (reader !== undefined) {
      const { done, value } = await read(reader, grants);
      if (done) break;
      if (spool.size + value.length > sealedSize) {
        throw new SealedFileExtended("The relay sends more than the sender sealed: nothing of it was kept.");
      }
      spool.append(value);
      watch.heard();
      attempts.moved();
      task.progress(spool.size);
      unflushed += value.length;
      if (unflushed < FLUSH_BYTES) continue;
      spool.flush();
      unflushed = 0;
    }
  } finally {
    watch.end();
  }
  if (spool.size !== sealedSize) throw new TryAgain("the answer ended early");
}

async function answer(task: DownloadTask, grants: Grants, signal: AbortSignal): Promise<Response> {
  const { base, token } = await grants.get();
  const headers = { Authorization: `Bearer ${token}`, Range: `bytes=${task.spool.size}-` };
  const ask = task.fetch ?? fetch;
  const response = await ask(`${base}/v1/blobs/${task.blob}`, { headers, signal, ...PLAIN }).catch(() => {
    grants.drop();
    throw new TryAgain("no answer");
  });
  if (response.status === RANGE_NOT_SATISFIABLE) throw tooShort();
  checkStatus(response.status, grants);
  return response;
}

async function checkRange(response: Response, { spool, sealedSize }: DownloadTask): Promise<void> {
  let total: number;
  if (response.status === 206) {
    const [, start, , all] = CONTENT_RANGE.exec(response.headers.get("Content-Range") ?? "") ?? [];
    if (Number(start) !== spool.size) throw new TryAgain("the relay answered with another range");
    total = Number(all);
  } else {
    spool.truncate(0);
    const said = response.headers.get("Content-Length");
    if (said === null) return;
    total = Number(said);
  }
  if (total < sealedSize) throw tooShort();
  if (total > sealedSize) {
    throw new SealedFileExtended("The relay has more than the sender sealed: nothing of it was kept.");
  }
}

const tooShort = () =>
  new SealedFileTruncated("The relay has less of this file than its sender sealed: it was not opened.");

async function read(
  reader: ReadableStreamDefaultReader<Uint8Array>,
  grants: Grants,
): Promise<ReadableStreamReadResult<Uint8Array>> {
  try {
    return await reader.read();
  } catch {
    grants.drop();
    throw new TryAgain("the answer broke off");
  }
}

/** Aborts a request on which nothing comes, or with the transfer. */
class Silence {
  readonly #abort = new AbortController();
  readonly #outer: AbortSignal;
  readonly #environment: Environment;
  #timer = new AbortController();
  readonly #stop = () => this.#abort.abort();

  constructor(environment: Environment, outer: AbortSignal) {
    this.#environment = environment;
    this.#outer = outer;
    outer.addEventListener("abort", this.#stop);
    if (outer.aborted) this.#stop();
    this.heard();
  }

  get signal(): AbortSignal {
    return this.#abort.signal;
  }

  heard(): void {
    this.#timer.abort();
    const timer = new AbortController();
    this.#timer = timer;
    void this.#environment.sleep(SILENCE_MS, timer.signal).then(() => {
      if (!timer.signal.aborted) this.#stop();
    });
  }

  end(): void {
    this.#timer.abort();
    this.#outer.removeEventListener("abort", this.#stop);
  }
}

/** Files on their way in: downloaded into a spool (on after a reload), checked whole, then given to the page. */

import { download } from "../attachments/downloading.ts";
import { SealedFileInvalid, TransferCancelled, TransferInterrupted } from "../attachments/errors.ts";
import { harmlessType, safeName } from "../attachments/names.ts";
import { checkSizes, open } from "../attachments/sealing.ts";
import type { SpoolFile } from "../attachments/spool.ts";
import type { Bytes } from "../bytes.ts";
import type { File as Named } from "../content/messages.ts";
import { CoachRelayError, RelayError } from "../errors.ts";
import type { FilesHost } from "./host.ts";
import { MAX_TRANSFERS, RETRY_MS } from "./host.ts";
import { Moving } from "./moving.ts";
import { spoolIn } from "./records.ts";
import { Slots } from "./slots.ts";

/** Plaintext held here at once: what is opened goes to the browser's own store piece by piece. */
const HELD_BYTES = 1024 * 1024;

interface Incoming {
  readonly engagement: string;
  readonly moving: Moving;
  readonly opened: Promise<Blob>;
}

export class Downloads {
  readonly #host: FilesHost;
  readonly #slots = new Slots(MAX_TRANSFERS);
  readonly #all = new Map<string, Incoming>();

  constructor(host: FilesHost) {
    this.#host = host;
  }

  transfers(engagement: string) {
    const found = [...this.#all.values()].filter((one) => one.engagement === engagement);
    return found.map(({ moving }) => moving.shown);
  }

  has(id: string): boolean {
    return this.#all.has(id);
  }

  /** Fetch, check and open the file of a message. Raises AttachmentError or RelayError; then nothing is given. */
  async open(engagement: string, id: string): Promise<Blob> {
    const known = this.#all.get(id);
    if (known !== undefined) return known.opened;
    const named = await this.#host.fileIn(engagement, id);
    const begun = this.#all.get(id); // asked for twice at once
    if (begun !== undefined) return begun.opened;
    const [name, { size }] = [safeName(named.name), named];
    const shown = { id, engagement, direction: "down", name, size, state: "waiting" } as const;
    const moving = new Moving(shown, (transfer) => this.#host.tell(transfer));
    const opened = this.#fetch(engagement, named, moving).finally(() => this.#all.delete(id));
    this.#all.set(id, { engagement, moving, opened });
    return opened;
  }

  async #fetch(engagement: string, named: Named, moving: Moving): Promise<Blob> {
    const { spools } = this.#host;
    const name = spoolIn(named.blob);
    try {
      const blob = await moving.until((signal) => this.#untilDone(engagement, named, moving, signal));
      moving.be("done");
      await spools.remove(name);
      return blob;
    } catch (error) {
      if (error instanceof SealedFileInvalid || error instanceof TransferCancelled) await spools.remove(name);
      if (error instanceof CoachRelayError) moving.be("failed", { code: error.code, message: error.message });
      throw error;
    }
  }

  async #untilDone(engagement: string, named: Named, moving: Moving, signal: AbortSignal): Promise<Blob> {
    while (true) {
      try {
        moving.be("waiting");
        return await this.#slots.held(() => this.#once(engagement, named, moving, signal));
      } catch (error) {
        signal.throwIfAborted();
        if (!(error instanceof TransferInterrupted || error instanceof RelayError)) throw error;
        moving.be("waiting", { code: error.code, message: error.message });
        await this.#host.connectionOr(RETRY_MS, signal);
        signal.throwIfAborted();
      }
    }
  }

  async #once(engagement: string, named: Named, moving: Moving, signal: AbortSignal): Promise<Blob> {
    const { spools, environment, access } = this.#host;
    const { blob, sealedSize } = named;
    checkSizes(named);
    signal.throwIfAborted();
    const spool = await spools.open(spoolIn(blob));
    try {
      await download({
        blob,
        sealedSize,
        spool,
        environment,
        signal,
        access: () => access(engagement),
        progress: (done) => {
          moving.be("moving");
          moving.moved(done, sealedSize);
        },
      });
      return await opened(named, spool, signal);
    } finally {
      spool.close();
    }
  }

  pause(id: string): void {
    this.#all.get(id)?.moving.pause();
  }

  resume(id: string): void {
    this.#all.get(id)?.moving.resume();
  }

  cancel(id: string): void {
    this.#all.get(id)?.moving.cancel();
  }

  destroy(): void {
    for (const { moving } of this.#all.values()) moving.pause();
  }
}

/** Every check is done before the last piece is: nobody gets anything of a file that is not whole and unaltered. */
async function opened(named: Named, spool: SpoolFile, signal: AbortSignal): Promise<Blob> {
  const parts: Blob[] = [];
  let [held, size]: [Bytes[], number] = [[], 0];
  for await (const piece of open(named, async (at, length) => spool.read(at, length), spool.size)) {
    signal.throwIfAborted();
    held.push(piece);
    size += piece.length;
    if (size < HELD_BYTES) continue;
    parts.push(new Blob(held as BlobPart[]));
    [held, size] = [[], 0];
  }
  return new Blob([...parts, ...(held as BlobPart[])], { type: harmlessType(named.mediaType) });
}

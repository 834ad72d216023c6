/** Files on their way out: sealed once into a spool, uploaded (on after a reload), then named in a message. */

import {
  AttachmentError,
  SpoolMissing,
  TransferCancelled,
  TransferInterrupted,
} from "../attachments/errors.ts";
import { safeName } from "../attachments/names.ts";
import type { SealedFile } from "../attachments/sealing.ts";
import { seal } from "../attachments/sealing.ts";
import { giveUp, upload } from "../attachments/uploading.ts";
import type { Bytes } from "../bytes.ts";
import { hex, unhex } from "../bytes.ts";
import { file } from "../content/messages.ts";
import { CoachRelayError, RelayError, UsageError } from "../errors.ts";
import type { BlobId } from "../wire/ids.ts";
import type { FilesHost } from "./host.ts";
import { MAX_TRANSFERS, RETRY_MS } from "./host.ts";
import { Moving } from "./moving.ts";
import type { UploadRecord } from "./records.ts";
import { parseUpload, serializeUpload, spoolOut, uploadName } from "./records.ts";
import { Slots } from "./slots.ts";
import { reading } from "./source.ts";
import { sentBlob } from "./withdrawn.ts";

/** Waiting in this browser, of all conversations: each takes space. */
const MAX_UPLOADS = 256;
const UNKNOWN_TYPE = "application/octet-stream";
const MEDIA_TYPE = /^[A-Za-z0-9!#$&^_.+-]{1,63}\/[A-Za-z0-9!#$&^_.+-]{1,63}$/;

interface Outgoing {
  readonly engagement: string;
  readonly moving: Moving;
  record: UploadRecord | null;
}

export class Uploads {
  readonly #host: FilesHost;
  readonly #slots = new Slots(MAX_TRANSFERS);
  readonly #all = new Map<string, Outgoing>();
  #fault: (error: unknown) => void;

  constructor(host: FilesHost, fault: (error: unknown) => void) {
    this.#host = host;
    this.#fault = fault;
  }

  /** Go on with what an earlier page did not finish, and delete what belongs to nothing. */
  async begin(): Promise<void> {
    const prefix = "upload/";
    for (const [name, data] of await this.#host.vault.scan(prefix)) {
      const [engagement = ""] = name.slice(prefix.length).split("/");
      this.#goOn(engagement, parseUpload(data));
    }
    // Those too that are being sealed, of which nothing else is kept yet.
    const known = new Set([...this.#all.keys()].map((id) => spoolOut(unhex(id))));
    for (const name of await this.#host.spools.names()) {
      if (name.startsWith("out-") && !known.has(name)) await this.#host.spools.remove(name);
    }
  }

  #goOn(engagement: string, record: UploadRecord): void {
    const id = hex(record.id);
    if (this.#all.has(id)) return;
    const { name, size, paused, failure } = record;
    const state = paused ? "paused" : failure !== null ? "failed" : "waiting";
    const shown = { id, engagement, direction: "up", name, size, state } as const;
    const moving = new Moving(shown, (transfer) => this.#host.tell(transfer));
    const one: Outgoing = { engagement, moving, record };
    this.#all.set(id, one);
    if (failure !== null) moving.be("failed", failure);
    else this.#background(one);
  }

  transfers(engagement: string) {
    const found = [...this.#all.values()].filter((one) => one.engagement === engagement);
    return found.map(({ moving }) => moving.shown);
  }

  has(id: string): boolean {
    return this.#all.has(id);
  }

  /** Seal a file and begin to upload it; resolves with its message's id when it is safe in this browser. */
  async send(engagement: string, id: Bytes, source: File): Promise<string> {
    if (await this.#begun(engagement, id)) return hex(id);
    if (this.#all.size >= MAX_UPLOADS) {
      throw new UsageError("Too many files wait to be sent. Wait until some have gone, or cancel them.");
    }
    const { tell, vault, spools } = this.#host;
    const name = safeName(source.name);
    const shown = {
      id: hex(id),
      engagement,
      direction: "up",
      name,
      size: source.size,
      state: "sealing",
    } as const;
    const one: Outgoing = { engagement, moving: new Moving(shown, tell), record: null };
    this.#all.set(hex(id), one);
    try {
      const sealed = await one.moving.until((signal) => this.#seal(source, id, one.moving, signal));
      const mediaType = MEDIA_TYPE.test(source.type) ? source.type : UNKNOWN_TYPE;
      const base = { id, name, mediaType, blob: null, failure: null };
      one.record = { ...base, ...sealed, paused: one.moving.paused };
      await vault.write([{ name: uploadName(engagement, id), value: serializeUpload(one.record) }]);
    } catch (error) {
      this.#all.delete(hex(id));
      if (error instanceof CoachRelayError && !(error instanceof TransferCancelled)) {
        one.moving.be("failed", { code: error.code, message: error.message });
      }
      await spools.remove(spoolOut(id));
      throw error;
    }
    this.#background(one);
    return hex(id);
  }

  /** The page asks again where it does not know whether a tab that was closed had come so far. */
  async #begun(engagement: string, id: Bytes): Promise<boolean> {
    const { vault, said } = this.#host;
    if ((await vault.get(uploadName(engagement, id))) !== null) return true;
    return (await said(engagement, hex(id))) || this.#all.has(hex(id));
  }

  async #seal(source: File, id: Bytes, moving: Moving, signal: AbortSignal): Promise<SealedFile> {
    moving.be("sealing");
    const spool = await this.#host.spools.open(spoolOut(id));
    try {
      spool.truncate(0);
      const sink = async (piece: Bytes) => {
        signal.throwIfAborted();
        spool.append(piece);
      };
      const sealed = await seal(source.size, reading(source), sink, this.#host.environment.rng);
      spool.flush();
      return sealed;
    } finally {
      spool.close();
    }
  }

  #background(one: Outgoing): void {
    void this.#upload(one).catch((error: unknown) => {
      if (!(error instanceof TransferCancelled)) this.#fault(error);
    });
  }

  async #upload(one: Outgoing): Promise<void> {
    try {
      const blob = await one.moving.until((signal) => this.#uploadUntilDone(one, signal));
      await this.#done(one, blob);
    } catch (error) {
      if (error instanceof TransferCancelled) throw error;
      if (!(error instanceof AttachmentError)) throw error;
      // It stays, so that the person sees it, and may try again or remove it.
      const { code, message } = error;
      await this.#keep(one, { failure: { code, message } });
      one.moving.be("failed", { code, message });
    }
  }

  async #uploadUntilDone(one: Outgoing, signal: AbortSignal): Promise<BlobId> {
    const { connectionOr } = this.#host;
    while (true) {
      try {
        one.moving.be("waiting");
        return await this.#slots.held(() => this.#uploadOnce(one, signal));
      } catch (error) {
        signal.throwIfAborted();
        if (!(error instanceof TransferInterrupted || error instanceof RelayError)) throw error;
        one.moving.be("waiting", { code: error.code, message: error.message });
        await connectionOr(RETRY_MS, signal);
        signal.throwIfAborted();
      }
    }
  }

  async #uploadOnce(one: Outgoing, signal: AbortSignal): Promise<BlobId> {
    const record = recordOf(one);
    const { spools, environment, access } = this.#host;
    signal.throwIfAborted();
    const sealed = await spools.blob(spoolOut(record.id));
    if (sealed.size !== record.sealedSize) throw new SpoolMissing();
    return upload({
      sealed,
      environment,
      signal,
      access: () => access(one.engagement),
      blob: record.blob,
      remember: (blob) => this.#keep(one, { blob }),
      progress: (done) => {
        one.moving.be("moving");
        one.moving.moved(done, sealed.size);
      },
    });
  }

  /** The message is queued, and what was kept for it is gone, in one step. */
  async #done(one: Outgoing, blob: BlobId): Promise<void> {
    const { id, name, mediaType, size, key, sealedSize, sealedHash } = recordOf(one);
    const named = file({ name, mediaType, size, blob, key, sealedSize, sealedHash });
    const writes = [
      { name: uploadName(one.engagement, id), value: null },
      sentBlob(one.engagement, hex(id), blob),
    ];
    await this.#host.say(one.engagement, named, id, writes);
    this.#all.delete(hex(id));
    one.moving.be("done");
    await this.#host.spools.remove(spoolOut(id));
  }

  async #keep(one: Outgoing, changes: Partial<UploadRecord>): Promise<void> {
    if (!this.#all.has(hex(recordOf(one).id))) return; // cancelled meanwhile
    one.record = { ...recordOf(one), ...changes };
    const value = serializeUpload(one.record);
    await this.#host.vault.write([{ name: uploadName(one.engagement, one.record.id), value }]);
  }

  async pause(id: string): Promise<void> {
    const one = this.#all.get(id);
    if (one === undefined || one.moving.shown.state === "failed") return;
    one.moving.pause();
    if (one.record !== null) await this.#keep(one, { paused: true });
  }

  /** Go on with what was paused, or has failed. */
  async resume(id: string): Promise<void> {
    const one = this.#all.get(id);
    if (one === undefined) return;
    const hasFailed = one.moving.shown.state === "failed";
    if (one.record !== null) await this.#keep(one, { paused: false, failure: null });
    if (hasFailed) this.#background(one);
    else one.moving.resume();
  }

  /** Nothing of it stays, here or at the relay. */
  async cancel(id: string): Promise<void> {
    const one = this.#all.get(id);
    if (one === undefined) return;
    this.#all.delete(id);
    one.moving.cancel();
    if (one.record === null) return; // it is being sealed: that ends, and removes what there is
    const { id: message, blob } = one.record;
    await this.#host.vault.write([{ name: uploadName(one.engagement, message), value: null }]);
    await this.#host.spools.remove(spoolOut(message));
    if (blob === null) return;
    // What the relay is not told now it erases by itself after a day.
    await giveUp(blob, () => this.#host.access(one.engagement)).catch(() => undefined);
  }

  destroy(): void {
    for (const { moving } of this.#all.values()) moving.pause();
  }
}

function recordOf({ record }: Outgoing): UploadRecord {
  if (record === null) throw new UsageError("The file is still being sealed.");
  return record;
}

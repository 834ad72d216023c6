/**
 * Sealing and opening files (docs/PROTOCOL.md section 11), chunk by chunk: memory does not depend on the size.
 * What `open` yields before its end is not to be shown: only the end tells that the file is whole.
 */

import { sha256 as hasher } from "@noble/hashes/sha2.js";
import type { Bytes, Rng } from "../bytes.ts";
import { equal } from "../bytes.ts";
import { paddedLength } from "../content/padding.ts";
import { sodium } from "../crypto.ts";
import { UsageError } from "../errors.ts";
import { MAX_BLOB_BYTES } from "../wire/limits.ts";
import { AttachmentTooLarge, SealedFileAltered, SealedFileExtended, SealedFileTruncated } from "./errors.ts";

/** Plaintext of every chunk but the last: large enough that the tags cost nothing, small enough to hold. */
export const CHUNK_BYTES = 64 * 1024;
const TAG_BYTES = 17;
const HEADER_BYTES = 24;
const KEY_BYTES = 32;
const TAG_MESSAGE = 0;
const TAG_FINAL = 3;
const ALTERED = "The file is not what its sender sealed: the relay or somebody else altered or replaced it.";

/** What the message about a file carries so that its receiver can check and open it. */
export interface SealedFile {
  readonly key: Bytes;
  readonly size: number;
  readonly sealedSize: number;
  readonly sealedHash: Bytes;
}

/** The bytes of the sealed file of a file of `size` bytes. */
export function sealedSize(size: number): number {
  const padded = paddedLength(size);
  return HEADER_BYTES + padded + TAG_BYTES * Math.ceil(padded / CHUNK_BYTES);
}

/** Whether a file can have these sizes; raises SealedFileAltered before anything of it is fetched. */
export function checkSizes(sealed: SealedFile): void {
  const fits = sealed.sealedSize === sealedSize(sealed.size) && sealed.sealedSize <= MAX_BLOB_BYTES;
  if (!fits) throw new SealedFileAltered(ALTERED);
}

/** Reads so many bytes from a place of the file. */
export type ReadAt = (offset: number, length: number) => Promise<Bytes>;
/** Takes the next piece of the sealed file. */
export type Sink = (sealed: Bytes) => Promise<void>;

/** Seal a file under a fresh key; raises AttachmentTooLarge, and what `read` and `sink` raise. */
export async function seal(size: number, read: ReadAt, sink: Sink, rng: Rng): Promise<SealedFile> {
  if (size > MAX_BLOB_BYTES || sealedSize(size) > MAX_BLOB_BYTES) {
    throw new AttachmentTooLarge(`The file has ${size} bytes; the relay takes ${MAX_BLOB_BYTES}, sealed.`);
  }
  const key = rng(KEY_BYTES);
  const { state, header } = sodium.crypto_secretstream_xchacha20poly1305_init_push(key);
  const hash = hasher.create();
  const put = async (piece: Bytes) => {
    hash.update(piece);
    await sink(piece);
  };
  await put(header);
  const total = paddedLength(size);
  for (let at = 0; at < total; at += CHUNK_BYTES) {
    const chunk = await padded(size, read, at, Math.min(CHUNK_BYTES, total - at));
    const tag = at + CHUNK_BYTES >= total ? TAG_FINAL : TAG_MESSAGE;
    await put(sodium.crypto_secretstream_xchacha20poly1305_push(state, chunk, null, tag));
  }
  return { key, size, sealedSize: sealedSize(size), sealedHash: hash.digest() };
}

async function padded(size: number, read: ReadAt, at: number, length: number): Promise<Bytes> {
  const wanted = Math.max(0, Math.min(length, size - at));
  const plain = wanted > 0 ? await read(at, wanted) : new Uint8Array();
  if (plain.length !== wanted) throw new UsageError("The file became shorter while it was sealed.");
  const chunk = new Uint8Array(length);
  chunk.set(plain);
  return chunk;
}

/**
 * Open a sealed file: yields its bytes piece by piece. Raises SealedFileTruncated, SealedFileExtended or
 * SealedFileAltered; nothing that came before an error may be used.
 */
export async function* open(
  sealed: SealedFile,
  read: ReadAt,
  actualSize: number,
): AsyncGenerator<Bytes, void> {
  checkSizes(sealed);
  if (actualSize < sealed.sealedSize) throw new SealedFileTruncated("The sealed file ends too early.");
  if (actualSize > sealed.sealedSize) throw new SealedFileExtended("Something follows the end of the file.");
  const hash = hasher.create();
  let at = 0;
  const next = async (length: number) => {
    const piece = await read(at, length);
    if (piece.length !== length) throw new SealedFileTruncated("The sealed file ends too early.");
    at += length;
    hash.update(piece);
    return piece;
  };
  const state = sodium.crypto_secretstream_xchacha20poly1305_init_pull(await next(HEADER_BYTES), sealed.key);
  for (let left = paddedLength(sealed.size), written = 0; left > 0; ) {
    const length = Math.min(CHUNK_BYTES, left);
    left -= length;
    const chunk = pull(state, await next(length + TAG_BYTES), left > 0 ? TAG_MESSAGE : TAG_FINAL);
    const plain = chunk.subarray(0, Math.max(0, sealed.size - written));
    if (chunk.subarray(plain.length).some((byte) => byte !== 0)) throw new SealedFileAltered(ALTERED);
    written += plain.length;
    if (plain.length > 0) yield plain;
  }
  if (!equal(hash.digest(), sealed.sealedHash)) throw new SealedFileAltered(ALTERED);
}

type State = Parameters<typeof sodium.crypto_secretstream_xchacha20poly1305_pull>[0];

function pull(state: State, sealed: Bytes, wanted: number): Bytes {
  const opened = sodium.crypto_secretstream_xchacha20poly1305_pull(state, sealed, null);
  // libsodium answers false for a tag that does not verify.
  if (!opened || opened.tag !== wanted) throw new SealedFileAltered(ALTERED);
  return opened.message;
}

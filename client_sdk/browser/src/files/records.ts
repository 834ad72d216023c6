/** What the vault keeps of a file that is on its way out, so that a reload costs nothing. */

import type { Bytes } from "../bytes.ts";
import { hex } from "../bytes.ts";
import { RecordInvalid } from "../errors.ts";
import { PackingError, pack, unpack } from "../msgpack.ts";
import { bytes, number, text } from "../packed.ts";
import { WireError } from "../wire/errors.ts";
import type { BlobId } from "../wire/ids.ts";
import { parseBlobId } from "../wire/ids.ts";

const FORMAT = 1;

export interface UploadRecord {
  /** Of the message that will name it. */
  readonly id: Bytes;
  readonly name: string;
  readonly mediaType: string;
  readonly size: number;
  readonly key: Bytes;
  readonly sealedSize: number;
  readonly sealedHash: Bytes;
  /** The upload at the relay, once there is one. */
  readonly blob: BlobId | null;
  readonly paused: boolean;
  /** Why it cannot be sent: a code and a sentence. */
  readonly failure: { readonly code: string; readonly message: string } | null;
}

export const uploadsOf = (engagement: string): string => `upload/${engagement}/`;
export const uploadName = (engagement: string, id: Bytes): string => uploadsOf(engagement) + hex(id);
/** The spool files: of what goes out by its message, of what comes in by its blob. */
export const spoolOut = (id: Bytes): string => `out-${hex(id)}`;
export const spoolIn = (blob: BlobId): string => `in-${blob}`;

export const serializeUpload = (record: UploadRecord): Bytes =>
  pack([
    FORMAT,
    record.id,
    record.name,
    record.mediaType,
    record.size,
    record.key,
    record.sealedSize,
    record.sealedHash,
    record.blob,
    record.paused,
    record.failure && [record.failure.code, record.failure.message],
  ]);

/** Decode from the vault; raises RecordInvalid. */
export function parseUpload(data: Bytes): UploadRecord {
  try {
    const values = unpack(data);
    const [format, id, name, mediaType, size, key, sealedSize, sealedHash, blob, paused, failure] =
      Array.isArray(values) ? values : [];
    if (format !== FORMAT) throw new PackingError("another form");
    const [code, message] = Array.isArray(failure) ? failure : [];
    return {
      id: bytes(id),
      name: text(name),
      mediaType: text(mediaType),
      size: number(size),
      key: bytes(key),
      sealedSize: number(sealedSize),
      sealedHash: bytes(sealedHash),
      blob: blob === null ? null : parseBlobId(blob),
      paused: paused === true,
      failure: failure === null ? null : { code: text(code), message: text(message) },
    };
  } catch (error) {
    if (!(error instanceof PackingError || error instanceof WireError)) throw error;
    throw new RecordInvalid("What is stored about a file is damaged. Send the file again.");
  }
}

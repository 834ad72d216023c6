/** The running hash of a stream that every member computes alike (docs/PROTOCOL.md section 8). */

import type { Bytes } from "../bytes.ts";
import { u64 } from "../bytes.ts";
import { sha256 } from "../crypto.ts";
import { UsageError } from "../errors.ts";
import type { EntryKind } from "../wire/fields.ts";
import { label } from "../wire/ids.ts";

export const HASH_BYTES = 32;
/** Of suite 3, and of X-Wing. */
const AUTHENTICATOR_BYTES = [32, 64];

/** What of an entry is hashed; `bodyHash` is SHA-256 of the body: own entries come back without their body. */
export interface HashedEntry {
  readonly seq: number;
  readonly kind: EntryKind;
  readonly afterCommit: number;
  readonly bodyHash: Bytes;
}

/** entry(e), 32 bytes. */
export const entryHash = ({ seq, kind, afterCommit, bodyHash }: HashedEntry): Bytes =>
  sha256(label("entry"), u64(seq), u64(kind), u64(afterCommit), fixed(bodyHash, "A body's hash"));

/** S at an accepted commit: from the new epoch's authenticator and the commit's `entryHash`. */
export function afterCommit(epochAuthenticator: Bytes, entry: Bytes): Bytes {
  if (!AUTHENTICATOR_BYTES.includes(epochAuthenticator.length)) {
    throw new UsageError("An epoch authenticator has the length of no suite's.");
  }
  return sha256(label("commit"), epochAuthenticator, fixed(entry, "An entry's hash"));
}

/** S at any other entry (a message, or a void commit): from the S before it and its `entryHash`. */
export const afterEntry = (previous: Bytes, entry: Bytes): Bytes =>
  sha256(label("stream"), fixed(previous, "A stream hash"), fixed(entry, "An entry's hash"));

/** Fixed lengths are what makes the concatenations above unambiguous. */
function fixed(value: Bytes, what: string): Bytes {
  if (value.length !== HASH_BYTES) throw new UsageError(`${what} is not ${HASH_BYTES} bytes.`);
  return value;
}

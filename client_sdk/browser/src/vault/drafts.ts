/** What somebody began to write in a conversation and has not sent: one record for each, until it is sent or emptied. */

import type { Bytes } from "../bytes.ts";
import { utf8 } from "../bytes.ts";
import { UsageError } from "../errors.ts";
import { PackingError, pack, unpack } from "../msgpack.ts";
import type { EngagementId } from "../wire/ids.ts";
import type { Vault } from "./vault.ts";

/** Twice what one message holds: what is too long to be sent can still be taken apart. */
export const DRAFT_BYTES = 64 * 1024;
const FORMAT = 1;

export interface Draft {
  readonly text: string;
  /** The id of what it answers. */
  readonly replyTo: string | null;
}

const recordName = (engagement: EngagementId): string => `draft/${engagement}`;

/** Raises VaultCorrupt. What an other version wrote is no draft. */
export async function readDraft(vault: Vault, engagement: EngagementId): Promise<Draft | null> {
  const data = await vault.get(recordName(engagement));
  return data && parsed(data);
}

/** Keep it, or with null erase it; raises UsageError over 64 KiB, VaultFull or VaultUnavailable. */
export async function keepDraft(vault: Vault, engagement: EngagementId, draft: Draft | null): Promise<void> {
  if (draft !== null && utf8(draft.text).length > DRAFT_BYTES)
    throw new UsageError(`A draft holds at most ${DRAFT_BYTES} bytes.`);
  const value = draft && pack([FORMAT, draft.text, draft.replyTo]);
  await vault.write([{ name: recordName(engagement), value }]);
}

function parsed(data: Bytes): Draft | null {
  try {
    const fields = unpack(data);
    const [format, text, replyTo] = Array.isArray(fields) ? fields : [];
    if (format !== FORMAT || typeof text !== "string") return null;
    return { text, replyTo: typeof replyTo === "string" ? replyTo : null };
  } catch (error) {
    if (error instanceof PackingError) return null;
    throw error;
  }
}

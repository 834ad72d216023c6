/** Pages of the history, read by a cursor: what a page costs does not depend on how long the history is. */

import { text } from "../bytes.ts";
import { UsageError } from "../errors.ts";
import type { Vault } from "../vault/vault.ts";
import type { EngagementId } from "../wire/ids.ts";
import type { Stored } from "./history.ts";
import { fromSeq, historyName, indexName, parseStored, placeOf } from "./history.ts";

/** More than a screen ever shows; bounds the memory of one call. */
export const LONGEST_PAGE = 500;

const start = (engagement: EngagementId): string => historyName(engagement, "");

/** At most so many of the newest items, or of those before an item, the oldest first; raises UsageError. */
export async function itemsBefore(
  vault: Vault,
  engagement: EngagementId,
  limit: number,
  before: string | null,
): Promise<readonly Stored[]> {
  if (!Number.isInteger(limit) || limit < 1 || limit > LONGEST_PAGE) {
    throw new UsageError(`A page of the history holds 1 to ${LONGEST_PAGE} items.`);
  }
  let end = `${start(engagement)}\uffff`;
  if (before !== null) {
    const place = await vault.get(indexName(engagement, before));
    if (place === null) {
      throw new UsageError("The item to continue from is not in the history any more. Begin at the newest.");
    }
    end = historyName(engagement, text(place));
  }
  return (await vault.newest(start(engagement), end, limit)).map(parseStored).reverse();
}

/** The newest items, the newest first. */
export async function newestItems(
  vault: Vault,
  engagement: EngagementId,
  limit: number,
): Promise<readonly Stored[]> {
  return [...(await itemsBefore(vault, engagement, limit, null))].reverse();
}

/** This person's items behind one position up to another: at most a page of them, the newest. */
export async function mineBetween(
  vault: Vault,
  engagement: EngagementId,
  from: number,
  to: number,
): Promise<readonly Stored[]> {
  const [lower, upper] = [from, to].map((seq) => historyName(engagement, fromSeq(seq + 1)));
  const found = await vault.newest(lower ?? "", upper ?? "", LONGEST_PAGE);
  return found.map(parseStored).filter((stored) => stored.mine);
}

/** The whole history of a conversation, the oldest first, so many items at a time. */
export async function* itemsFrom(
  vault: Vault,
  engagement: EngagementId,
  limit: number,
): AsyncGenerator<readonly Stored[]> {
  const end = `${start(engagement)}\uffff`;
  let from = start(engagement);
  while (true) {
    const page = (await vault.oldest(from, end, limit)).map(parseStored);
    if (page.length > 0) yield page;
    const last = page.at(-1);
    if (last === undefined || page.length < limit) return;
    from = `${historyName(engagement, placeOf(last))}\u0000`;
  }
}

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
const behind = (engagement: EngagementId): string => `${start(engagement)}\uffff`;

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
  let end = behind(engagement);
  if (before !== null) {
    const place = await vault.get(indexName(engagement, before));
    if (place === null) {
      throw new UsageError("The item to continue from is not in the history any more. Begin at the newest.");
    }
    end = historyName(engagement, text(place));
  }
  return (await vault.newest(start(engagement), end, limit)).map(parseStored).reverse();
}

/**
 * What this person said or changed, the newest first: at most `most`, back to the page of the history in which this
 * position stands.
 */
export async function mineBackTo(
  vault: Pick<Vault, "newest">,
  engagement: EngagementId,
  seq: number,
  most: number,
): Promise<readonly Stored[]> {
  const found: Stored[] = [];
  let end = behind(engagement);
  for (;;) {
    const page = (await vault.newest(start(engagement), end, LONGEST_PAGE)).map(parseStored);
    found.push(...page.filter(({ mine, acts }) => mine || acts.length > 0));
    const last = page.at(-1);
    if (last === undefined || page.length < LONGEST_PAGE || found.length >= most) return found.slice(0, most);
    if (last.seq > 0 && last.seq <= seq) return found.slice(0, most);
    end = historyName(engagement, placeOf(last));
  }
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
  const end = behind(engagement);
  let from = start(engagement);
  while (true) {
    const page = (await vault.oldest(from, end, limit)).map(parseStored);
    if (page.length > 0) yield page;
    const last = page.at(-1);
    if (last === undefined || page.length < limit) return;
    from = `${historyName(engagement, placeOf(last))}\u0000`;
  }
}

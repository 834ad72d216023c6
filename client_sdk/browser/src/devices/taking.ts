/** Rows of a history that another device wrote, taken into this one. */

import { hex, utf8 } from "../bytes.ts";
import { amended } from "../content/amending.ts";
import { take } from "../engine/amending.ts";
import type { Stored, StoredAct } from "../engine/history.ts";
import { historyName, indexName, placeOf, serializeStored, storedKind } from "../engine/history.ts";
import type { Work } from "../engine/work.ts";
import type { Row } from "./rows.ts";

/**
 * Keep the rows up to a position, in one transaction with what else is done in this step. An item that is here
 * already stays as it is, unless `anew`. Nobody is told of each item.
 */
export async function keepRows(
  work: Work,
  rows: readonly Row[],
  { upTo, anew }: { readonly upTo: number; readonly anew: boolean },
): Promise<void> {
  const kept = new Map<string, Stored | null>();
  const before = new Map<string, Stored>();
  const find = async (id: string): Promise<Stored | null> => {
    const changed = kept.get(id);
    if (changed !== undefined) return changed;
    const known = await work.find(id);
    if (known !== null) before.set(id, known);
    return known;
  };
  const acts: StoredAct[] = [];
  for (const row of rows) {
    if ("act" in row) acts.push(row.act);
    else if ("gone" in row) {
      if ((await find(row.gone)) !== null) kept.set(row.gone, null);
    } else if (row.item.seq <= upTo) {
      const known = await find(row.item.id);
      if (known === null) kept.set(row.item.id, row.item);
      else if (anew) kept.set(row.item.id, { ...row.item, order: known.order, acts: known.acts });
    }
  }
  for (const act of acts.filter(({ seq }) => seq <= upTo)) {
    const about = hex(act.what.message);
    const target = await find(about);
    if (target === null)
      await take(work, act); // it is held until its message comes
    else kept.set(about, { ...target, acts: [...target.acts.filter(({ id }) => id !== act.id), act] });
  }
  for (const [id, stored] of kept) put(work, id, stored, before.get(id) ?? null);
}

function put(work: Work, id: string, stored: Stored | null, before: Stored | null): void {
  const { engagement } = work;
  if (before !== null && (stored === null || placeOf(before) !== placeOf(stored))) {
    work.put(historyName(engagement, placeOf(before)), null);
  }
  if (stored === null) {
    work.put(indexName(engagement, id), null);
    return;
  }
  const { retracted } = amended(stored.acts, stored.user, storedKind(stored));
  const whole = retracted ? { ...stored, envelope: null } : stored;
  work.put(historyName(engagement, placeOf(whole)), serializeStored(whole));
  work.put(indexName(engagement, id), utf8(placeOf(whole)));
}

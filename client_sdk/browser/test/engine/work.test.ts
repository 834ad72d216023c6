import { describe, expect, test } from "vitest";
import type { Bytes } from "../../src/bytes.ts";
import { utf8 } from "../../src/bytes.ts";
import type { Stored } from "../../src/engine/history.ts";
import { historyName, indexName, placeOf, serializeStored } from "../../src/engine/history.ts";
import { findStored } from "../../src/engine/work.ts";
import { parseEngagementId } from "../../src/wire/ids.ts";

const ENGAGEMENT = parseEngagementId("eng_AAAAAAAAAAAAAAAAAAAAAA");
const ID = "ab".repeat(16);
const from = { user: "anna", device: "d", mine: true, sentMs: 1, envelope: null, notice: null, acts: [] };
const waits: Stored = { id: ID, seq: 0, order: 7, ...from };
const placed: Stored = { ...waits, seq: 3, order: 0 };

/** A store with these items, in which `between` happens before each look at an item. */
function storeOf(item: Stored, between: (records: Map<string, Bytes>) => void) {
  const records = new Map<string, Bytes>();
  put(records, item);
  const read = async (name: string) => {
    if (name.startsWith("history/")) between(records);
    return records.get(name) ?? null;
  };
  return { read };
}

function put(records: Map<string, Bytes>, item: Stored): void {
  records.set(historyName(ENGAGEMENT, placeOf(item)), serializeStored(item));
  records.set(indexName(ENGAGEMENT, item.id), utf8(placeOf(item)));
}

describe("an item is looked for outside a step", () => {
  test("one that gets its place between the two looks is found there", async () => {
    const store = storeOf(waits, (records) => {
      records.delete(historyName(ENGAGEMENT, placeOf(waits)));
      put(records, placed);
    });
    expect((await findStored(store, ENGAGEMENT, ID))?.seq).toBe(3);
  });

  test("one that is erased between the two looks is gone", async () => {
    expect(
      await findStored(
        storeOf(waits, (records) => records.clear()),
        ENGAGEMENT,
        ID,
      ),
    ).toBeNull();
  });

  test("one that stands nowhere although its record says where is gone, and nobody looks for ever", async () => {
    const looks: number[] = [];
    const store = storeOf(waits, (records) => {
      looks.push(records.size);
      records.delete(historyName(ENGAGEMENT, placeOf(waits)));
    });
    expect(await findStored(store, ENGAGEMENT, ID)).toBeNull();
    expect(looks).toHaveLength(1);
  });
});

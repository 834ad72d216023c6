import "fake-indexeddb/auto";
import { beforeAll, describe, expect, test, vi } from "vitest";
import { hex, utf8 } from "../../src/bytes.ts";
import { text } from "../../src/content/messages.ts";
import { ready } from "../../src/crypto.ts";
import type { Stored } from "../../src/engine/history.ts";
import { historyName, indexName, placeOf, serializeStored } from "../../src/engine/history.ts";
import { itemsBefore, mineBackTo, mineBetween } from "../../src/engine/pages.ts";
import { Vault } from "../../src/vault/vault.ts";
import { parseEngagementId, parsePortalId, parseUserId } from "../../src/wire/ids.ts";

const ENGAGEMENT = parseEngagementId("eng_AAAAAAAAAAAAAAAAAAAAAA");
const MOST = 10_000;
const idOf = (seq: number): string =>
  hex(Uint8Array.from({ length: 16 }, (_, i) => (seq >> (8 * (i % 4))) & 255));

function stored(seq: number, order = seq): Stored {
  const attest = { epoch: 0, seq: 0, hash: new Uint8Array(32) };
  const id = idOf(order);
  const bytes = Uint8Array.from({ length: 16 }, (_, i) => Number.parseInt(id.slice(2 * i, 2 * i + 2), 16));
  const content = text(`message ${order}`);
  const envelope = { id: bytes, counter: 1, attest, closings: [], sentMs: 1, content };
  const from = { user: "anna", device: "d", mine: order % 2 === 0, sentMs: 1 };
  return { id, seq, order, ...from, envelope, notice: null, acts: [] };
}

async function filled(user: string, items: readonly Stored[]): Promise<Vault> {
  const vault = await Vault.open(parsePortalId("growth"), parseUserId(user));
  for (let at = 0; at < items.length; at += 500) {
    const writes = items.slice(at, at + 500).flatMap((one) => [
      { name: historyName(ENGAGEMENT, placeOf(one)), value: serializeStored(one) },
      { name: indexName(ENGAGEMENT, one.id), value: utf8(placeOf(one)) },
    ]);
    await vault.write(writes);
  }
  return vault;
}

beforeAll(ready);

describe("pages of the history", () => {
  test("a page of ten thousand messages opens as many records as it shows", { timeout: 60_000 }, async () => {
    const vault = await filled(
      "many",
      Array.from({ length: MOST }, (_, at) => stored(at + 1)),
    );
    const opening = vi.spyOn(crypto.subtle, "decrypt");
    const newest = await itemsBefore(vault, ENGAGEMENT, 50, null);
    expect(newest.map(({ seq }) => seq)).toEqual(Array.from({ length: 50 }, (_, at) => MOST - 49 + at));
    expect(opening).toHaveBeenCalledTimes(50);
    const before = await itemsBefore(vault, ENGAGEMENT, 50, idOf(5000));
    expect(before.at(-1)?.seq).toBe(4999);
    expect(opening).toHaveBeenCalledTimes(101); // and where the item stands
    opening.mockRestore();
    vault.close();
  });

  test("what waits stands behind all that has a position, in the order in which it was said", async () => {
    const vault = await filled("waits", [stored(0, 7), stored(3), stored(0, 6), stored(4)]);
    const shown = await itemsBefore(vault, ENGAGEMENT, 10, null);
    expect(shown.map(({ seq, order }) => [seq, order])).toEqual([
      [3, 3],
      [4, 4],
      [0, 6],
      [0, 7],
    ]);
    expect((await mineBetween(vault, ENGAGEMENT, 3, 4)).map(({ seq }) => seq)).toEqual([4]);
    vault.close();
  });

  test("what this person said is read back to a position, however many pages that takes, the newest first", async () => {
    const all = Array.from({ length: 1999 }, (_, at) => stored(at + 1));
    const vault = await filled("back", [...all, stored(0, 2000)]);
    const found = await mineBackTo(vault, ENGAGEMENT, 700, 1000);
    const mine = found.map(({ order }) => order);
    expect(mine.slice(0, 3)).toEqual([2000, 1998, 1996]);
    expect(mine.filter((one) => one > 700)).toHaveLength(650);
    expect(mine.at(-1)).toBeGreaterThan(500); // nothing is read behind the page of the position
    expect((await mineBackTo(vault, ENGAGEMENT, 700, 600)).at(-1)?.order).toBe(802);
    expect(await mineBackTo(vault, ENGAGEMENT, 0, MOST)).toHaveLength(1000);
    vault.close();
  });

  test("a page that is too long, or begins nowhere, is refused", async () => {
    const vault = await filled("none", []);
    await expect(itemsBefore(vault, ENGAGEMENT, 501, null)).rejects.toThrow("1 to 500");
    await expect(itemsBefore(vault, ENGAGEMENT, 5, idOf(1))).rejects.toThrow("not in the history any more");
    vault.close();
  });
});

/** How much is unread, as the portal's page is told: whenever it changes, and only then. */

import { expect, test } from "vitest";
import type { Item, RoomApi, RoomEvents } from "../../src/api.ts";
import type { Portal } from "../../src/frame/portal.ts";
import { tellOfRoom } from "../../src/frame/telling.ts";
import { text } from "../element/double.ts";

const settled = () => new Promise((done) => setTimeout(done));

async function told(items: Item[], readTo: number) {
  const listeners = new Map<string, (detail: never) => void>();
  const state = { readTo };
  const room = {
    on: (event: string, listener: (detail: never) => void) => {
      listeners.set(event, listener);
      return () => undefined;
    },
    state: async () => state,
    history: async () => items,
  } as unknown as RoomApi;
  const heard: [string, unknown][] = [];
  const tell = (event: string, detail: unknown) => void heard.push([event, detail]);
  await tellOfRoom(room, { tell } as unknown as Portal);
  const happens = async <E extends keyof RoomEvents>(event: E, detail: RoomEvents[E]) => {
    listeners.get(event)?.(detail as never);
    await settled();
  };
  return { heard, happens, state };
}

const counts = (heard: [string, unknown][]) =>
  heard.filter(([event]) => event === "unread").map(([, detail]) => (detail as { count: number }).count);

test("what was unread at the beginning, what comes, and that it was read", async () => {
  const before = [1, 2, 3].map((seq) => text("ben", `${seq}`, { seq }));
  const { heard, happens, state } = await told(before, 2);
  expect(counts(heard)).toEqual([1]);
  await happens("message", text("ben", "4", { seq: 4 }));
  await happens("changed", null);
  expect(counts(heard)).toEqual([1, 2]);
  expect(heard.at(-1)).toEqual(["message", expect.objectContaining({ kind: "text", unread: 2 })]);
  state.readTo = 4;
  await happens("changed", null);
  await happens("message", text("anna", "mine", { seq: 5 }));
  expect(counts(heard)).toEqual([1, 2, 0]);
});

test("what was taken back is not to be read; an own message is not either", async () => {
  const item = text("ben", "1", { seq: 3 });
  const { heard, happens } = await told([item], 0);
  await happens("message", { ...item, kind: "retracted" });
  await happens("message", text("anna", "mine", { seq: 4 }));
  expect(counts(heard)).toEqual([1, 0]);
  expect(JSON.stringify(heard)).not.toContain('mine":"');
});

test("with nothing unread nothing is told", async () => {
  const { heard } = await told([text("ben", "1", { seq: 1 })], 1);
  expect(heard).toEqual([]);
});

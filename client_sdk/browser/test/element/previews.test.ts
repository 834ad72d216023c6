/** Previews are made once: however many are drawn, nothing is fetched again and again. */

import { afterEach, expect, test } from "vitest";
import type { FileItem } from "../../src/api.ts";
import { Previews } from "../../src/element/model/previews.ts";
import { DoubleRoom, file } from "./double.ts";
import { picture, settled } from "./scenes.ts";

/** On the tallest screen, with a page beyond either end. */
const MOST_DRAWN = 200;

let previews: Previews | undefined;

afterEach(() => previews?.close());

/** All are drawn, and drawn anew as often as one of them changes; how often each file was fetched. */
async function fetches(room: DoubleRoom, items: readonly FileItem[]): Promise<number[]> {
  const drawn = new Previews(room);
  previews = drawn;
  let rounds = 0;
  const draw = (): void => {
    if (rounds++ < 1000) for (const item of items) drawn.of(item);
  };
  drawn.follow(draw);
  draw();
  for (let waits = 0; waits < 200 && items.some((item) => drawn.of(item) === "loading"); waits++)
    await settled();
  await settled();
  return items.map(({ id }) => room.asked.filter((asked) => asked === `openFile ${id}`).length);
}

const images = (count: number): FileItem[] =>
  Array.from({ length: count }, (_, at) => file("ben", `${at}.png`, "image/png", 100));

test("of files that say they are images and are none", async () => {
  const room = new DoubleRoom();
  const items = images(MOST_DRAWN);
  for (const { id } of items) room.files.set(id, new Blob(["no image"]));
  expect(await fetches(room, items)).toEqual(items.map(() => 1));
  expect(items.map((item) => previews?.of(item))).toEqual(items.map(() => "failed"));
});

test("of images, and what was drawn last is forgotten last", async () => {
  const room = new DoubleRoom();
  const [first, ...others] = images(MOST_DRAWN);
  const small = await picture(8, 8);
  for (const { id } of [first as FileItem, ...others]) room.files.set(id, small);
  expect(await fetches(room, [first as FileItem, ...others])).toEqual(Array(MOST_DRAWN).fill(1));
  const kept = previews?.of(first as FileItem);
  const more = images(MOST_DRAWN);
  for (const { id } of more) room.files.set(id, small);
  for (const item of more) {
    await previews?.make(item);
    previews?.of(first as FileItem);
  }
  expect(previews?.of(first as FileItem)).toBe(kept);
});

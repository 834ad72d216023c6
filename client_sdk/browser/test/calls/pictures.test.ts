/** Whether pictures of the other side come. */

import { expect, test } from "vitest";
import { Pictures, picturesOf } from "../../src/calls/pictures.ts";

test("pictures that arrive are counted, and nothing else is", () => {
  const report = new Map([
    ["in", { type: "inbound-rtp", kind: "video", framesDecoded: 7 }],
    ["sound", { type: "inbound-rtp", kind: "audio", framesDecoded: 100 }],
    ["out", { type: "outbound-rtp", kind: "video", framesDecoded: 100 }],
    ["young", { type: "inbound-rtp", kind: "video" }],
  ]);
  expect(picturesOf(report)).toBe(7);
  expect(picturesOf(new Map())).toBe(0);
});

test("a picture is still after two looks without a new one, and moves with the next", () => {
  const pictures = new Pictures();
  const seen = [0, 0, 0, 10, 10, 20, 20, 20, 20, 21].map((count) => {
    pictures.take(count);
    return pictures.come;
  });
  expect(seen).toEqual([true, true, true, true, true, true, true, false, false, true]);
});

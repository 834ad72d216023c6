import { expect, test } from "vitest";
import type { Look, Quality } from "../../src/calls/quality.ts";
import { qualityOf, Steady } from "../../src/calls/quality.ts";

const look = (fields: Partial<Look> = {}): Look => ({
  received: 1000,
  lost: 0,
  lostThere: 0,
  roundTrip: 0.02,
  jitter: 0.002,
  path: "host",
  ...fields,
});

test.each<[Partial<Look>, Quality]>([
  [{}, "good"],
  [{ roundTrip: null, received: 3 }, "unknown"],
  [{ lost: 40 }, "weak"],
  [{ lost: 150 }, "poor"],
  [{ lostThere: 0.05 }, "weak"],
  [{ lostThere: 0.2 }, "poor"],
  [{ roundTrip: 0.4 }, "weak"],
  [{ jitter: 0.2 }, "poor"],
])("%o is %s", (fields, told) => expect(qualityOf(null, look(fields))).toBe(told));

test("what was lost before the last look does not count", () => {
  const before = look({ lost: 200 });
  expect(qualityOf(before, look({ received: 2000, lost: 200 }))).toBe("good");
});

test("a person is told the first one at once, a worse one the second time, a better one the third time", () => {
  const steady = new Steady();
  const told = (...seen: Quality[]): string => seen.map((one) => steady.take(one)).join(" ");
  expect(told("unknown", "good")).toBe("unknown good");
  expect(told("weak", "good", "weak", "good")).toBe("good good good good");
  expect(told("weak", "weak", "good", "good", "good")).toBe("good weak weak weak good");
  expect(told("poor", "weak", "poor", "poor")).toBe("good good good poor");
});

import fc from "fast-check";
import { describe, expect, test } from "vitest";
import type { Act } from "../../src/content/amending.ts";
import { amended, mayAmend, thatCount } from "../../src/content/amending.ts";
import { edit, REACTIONS, reaction, retract } from "../../src/content/amendments.ts";

const MESSAGE = new Uint8Array(16);
const USERS = ["anna", "ben", "cleo"];

const what = fc.oneof(
  fc.constantFrom("one", "two", "three").map((text) => edit(MESSAGE, text)),
  fc.constant(retract(MESSAGE)),
  fc
    .tuple(fc.constantFrom(...REACTIONS.slice(0, 2)), fc.boolean())
    .map(([emoji, on]) => reaction(MESSAGE, emoji, on)),
);
const acts = fc
  .array(fc.record({ user: fc.constantFrom(...USERS), what }), { maxLength: 12 })
  .map((found) => found.map((act, at): Act => ({ ...act, seq: at + 1, order: 0 })));

describe("what becomes of a message", () => {
  test("does not depend on the order in which the amendments come", () => {
    fc.assert(
      fc.property(acts, fc.nat(), (given, turn) => {
        const turned = [
          ...given.slice(turn % (given.length + 1)),
          ...given.slice(0, turn % (given.length + 1)),
        ];
        expect(amended(turned.toReversed(), "anna", "text")).toEqual(amended(given, "anna", "text"));
      }),
    );
  });

  test("is the same when what does not count is forgotten", () => {
    fc.assert(
      fc.property(acts, fc.nat(), (given, at) => {
        const some = given.slice(0, at % (given.length + 1));
        const later = given.slice(some.length);
        const forgotten = [...thatCount(some), ...later];
        expect(new Set(thatCount(forgotten))).toEqual(new Set(thatCount(given)));
      }),
    );
  });

  test("only the author edits and takes back, and only a text is edited", () => {
    const by = (user: string, kind: string, one = edit(MESSAGE, "x")) =>
      mayAmend({ user, what: one }, "anna", kind);
    expect([by("anna", "text"), by("ben", "text"), by("anna", "checkin")]).toEqual([true, false, false]);
    expect(mayAmend({ user: "ben", what: retract(MESSAGE) }, "anna", "text")).toBe(false);
    expect(mayAmend({ user: "ben", what: reaction(MESSAGE, "👍") }, "anna", "file")).toBe(true);
    for (const fixed of ["receipt", "profile", "call.invite", "call.ended", "edit"]) {
      expect(mayAmend({ user: "anna", what: retract(MESSAGE) }, "anna", fixed)).toBe(false);
    }
  });

  test("what waits on this device counts last", () => {
    const placed: Act = { seq: 9, order: 1, user: "anna", what: edit(MESSAGE, "placed") };
    const waits: Act = { seq: 0, order: 2, user: "anna", what: edit(MESSAGE, "waits") };
    expect(amended([waits, placed], "anna", "text").text).toBe("waits");
  });
});

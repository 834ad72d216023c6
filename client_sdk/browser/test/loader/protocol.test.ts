import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { isHello, parseToPage } from "../../src/loader/protocol.ts";

const event = (name: string, detail: unknown) => ({ kind: "event", event: name, detail });

describe("what the frame says to the page", () => {
  it("greets", () => {
    expect(isHello({ coachRelay: 1, kind: "hello" })).toBe(true);
    for (const other of [null, "hello", { kind: "hello" }, { coachRelay: 2, kind: "hello" }, [1]])
      expect(isHello(other)).toBe(false);
  });

  it("tells that something came, never what", () => {
    const detail = { id: "ab", kind: "text", mine: false, unread: 3 };
    const said = parseToPage(event("message", { ...detail, text: "How was the week?", sender: "anna" }));
    expect(said).toEqual(event("message", detail));
  });

  it("tells how much is unread, as a number alone", () => {
    expect(parseToPage(event("unread", { count: 2, text: "How was the week?" }))).toEqual(
      event("unread", { count: 2 }),
    );
    for (const count of [-1, 1.5, "2", Number.NaN, undefined])
      expect(parseToPage(event("unread", { count }))).toBeNull();
  });

  it.each([
    event("message", { id: "ab", kind: "poem", mine: false, unread: 3 }),
    event("message", { id: "ab", kind: "text", mine: false, unread: -1 }),
    event("message", { id: "a".repeat(65), kind: "text", mine: false, unread: 1 }),
    event("plaintext", {}),
    event("toString", {}),
    event("error", { code: "x", message: "m".repeat(1025) }),
    event("left", null),
    { kind: "token", id: "1" },
    { kind: "token", id: -1 },
    { kind: "navigate", to: "https://evil.example" },
    ["token"],
  ])("is nothing if it is %j", (said) => expect(parseToPage(said)).toBeNull());

  it("never raises, whatever it is", () => {
    fc.assert(fc.property(fc.anything({ withNullPrototype: true }), (said) => void parseToPage(said)));
  });
});

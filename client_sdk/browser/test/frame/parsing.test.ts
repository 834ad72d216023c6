import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { ancestorsOf, isOrigin, parseStart, parseStyles, parseToFrame } from "../../src/frame/parsing.ts";
import { MAX_TEXT, VERSION } from "../../src/loader/protocol.ts";

const start = {
  coachRelay: VERSION,
  kind: "start",
  relay: "https://r.example",
  engagement: "eng_x",
  name: "Anna",
};

describe("what the page says to the frame", () => {
  it("starts it, with what it knows and nothing more", () => {
    const said = { ...start, theme: "dark", styles: { "--coach-relay-accent": "#123" }, more: "x" };
    const all = { ...start, iceTransportPolicy: "all" };
    expect(parseStart(said)).toEqual({ ...all, theme: "dark", styles: { "--coach-relay-accent": "#123" } });
    expect(parseStart(start)).toEqual({ ...all, theme: "auto", styles: {} });
    const hidden = { ...start, iceTransportPolicy: "relay" };
    expect(parseStart(hidden)).toEqual({ ...hidden, theme: "auto", styles: {} });
  });

  it.each([
    null,
    "start",
    [],
    {},
    { ...start, coachRelay: 2 },
    { ...start, kind: "hello" },
    { ...start, relay: 7 },
    { ...start, engagement: "e".repeat(65) },
    { ...start, name: "n".repeat(257) },
    { ...start, iceTransportPolicy: "Relay" },
  ])("is nothing if it is %j", (said) => expect(parseStart(said)).toBeNull());

  it("gives tokens of a length that there is", () => {
    expect(parseToFrame({ kind: "token", id: 1, token: "t" })).toEqual({ kind: "token", id: 1, token: "t" });
    expect(parseToFrame({ kind: "token", id: 1, token: null })).toEqual({
      kind: "token",
      id: 1,
      token: null,
    });
    expect(parseToFrame({ kind: "token", id: 1, token: "t".repeat(MAX_TEXT + 1) })).toBeNull();
    expect(parseToFrame({ kind: "token", id: 1.5, token: "t" })).toBeNull();
    expect(parseToFrame({ kind: "read", id: 1 })).toBeNull();
  });

  it("never raises, whatever it is", () => {
    fc.assert(
      fc.property(fc.anything({ withNullPrototype: true, withObjectString: true }), (said) => {
        parseStart(said);
        parseToFrame(said);
        parseStyles(said);
      }),
    );
  });

  it("dresses it in the styles that there are", () => {
    const styles = {
      "--coach-relay-accent": "red",
      "--coach-relay-nothing": "red",
      "background-image": "url(https://evil.example)",
      "--coach-relay-text": "x".repeat(201),
      "--coach-relay-radius": 4,
    };
    expect(parseStyles(styles)).toEqual({ "--coach-relay-accent": "red" });
  });
});

describe("who may embed the frame", () => {
  it("is who the header names, exactly", () => {
    const policy =
      "default-src 'none'; Frame-Ancestors https://a.example http://localhost:8080; base-uri 'none'";
    expect([...ancestorsOf(policy)]).toEqual(["https://a.example", "http://localhost:8080"]);
  });

  it("is nobody where the header names nobody exactly", () => {
    for (const policy of [
      null,
      "",
      "default-src https://a.example",
      "frame-ancestors 'none'",
      "frame-ancestors 'self' * https: https://*.example https://a.example/path a.example",
    ])
      expect(ancestorsOf(policy).size).toBe(0);
  });

  it("is an origin as browsers write it", () => {
    expect(["https://a.example", "http://localhost:1"].every(isOrigin)).toBe(true);
    for (const other of [
      "",
      "null",
      "*",
      "https://A.example",
      "https://a.example/",
      "https://a.example:443",
      "ftp://a",
    ])
      expect(isOrigin(other)).toBe(false);
  });
});

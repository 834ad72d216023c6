import { beforeAll, describe, expect, test } from "vitest";
import type { Bytes } from "../../src/bytes.ts";
import { ready } from "../../src/crypto.ts";
import { LinkCodeInvalid, LinkTampered, RecoveryWordsInvalid } from "../../src/devices/errors.ts";
import { UsageError } from "../../src/errors.ts";
import type { Introduction, Side } from "../../src/identity/linking.ts";
import { Greeting, isHello, LinkSecret } from "../../src/identity/linking.ts";
import { checkRecoveryWord, recoverySeed, recoveryWords } from "../../src/identity/recovery.ts";
import { parsePortalId, parseUserId } from "../../src/wire/ids.ts";
import { some } from "../vectors/make.ts";

beforeAll(ready);

const SECRET = new LinkSecret(some("secret", 16));

function greet(side: Side, changes: Partial<Introduction> = {}, secret = SECRET): Greeting {
  const self = {
    portal: parsePortalId("growth"),
    user: parseUserId("anna"),
    deviceKey: some(`${side} key`, 32),
    name: side,
    ...changes,
  };
  let count = 0;
  return new Greeting(secret, side, self, (length) => some(`${side} ${count++}`, length));
}

function meeting() {
  const [known, fresh] = [greet("known"), greet("new")];
  return { known: known.meet(fresh.body).session, fresh: fresh.meet(known.body).session };
}

const flipped = (body: Bytes, at: number): Bytes => body.map((byte, i) => (i === at ? byte ^ 1 : byte));

describe("the words", () => {
  const typed = SECRET.words.join(" ");

  test.each([
    ` ${typed.toUpperCase()} `,
    typed.replaceAll(" ", ", "),
    SECRET.code,
    SECRET.code.toLowerCase(),
  ])("%s", (text) => expect(LinkSecret.read(text).code).toBe(SECRET.code));

  test.each([
    ["", "these are 0"],
    [typed.split(" ").slice(1).join(" "), "these are 11"],
    [typed.replace(/^\w+/, "zebu"), "“zebu” is none"],
    [[...SECRET.words].reverse().join(" "), "not in the order shown"],
    ["COACH-LINK:1234", "not one for linking"],
    [`COACH-LINK:${"G".repeat(32)}`, "not one for linking"],
  ])("refused: %s", (text, why) => {
    expect(() => LinkSecret.read(text)).toThrow(LinkCodeInvalid);
    expect(() => LinkSecret.read(text)).toThrow(why);
  });
});

describe("a meeting", () => {
  test("each introduces itself", () => {
    const { hello } = greet("known").meet(greet("new", { name: "Laptop" }).body);
    expect(hello.name).toBe("Laptop");
    expect(hello.deviceKey).toEqual(some("new key", 32));
  });

  test.each<[string, Bytes]>([
    ["its own greeting, sent back", greet("known").body],
    ["of another user", greet("new", { user: parseUserId("ben") }).body],
    ["of another portal", greet("new", { portal: parsePortalId("other") }).body],
    ["of the same device", greet("new", { deviceKey: some("known key", 32) }).body],
    ["under another secret", greet("new", {}, new LinkSecret(some("other", 16))).body],
    ["altered", flipped(greet("new").body, 60)],
    ["cut short", greet("new").body.slice(0, -1)],
    ["empty", new Uint8Array()],
    ["without a name", greet("new", { name: "" }).body],
    ["with a name that is too long", greet("new", { name: "x".repeat(65) }).body],
  ])("a greeting is refused: %s", (_, body) => {
    expect(() => greet("known").meet(body)).toThrow(LinkTampered);
  });

  test("what is said comes, once and in order", () => {
    const { known, fresh } = meeting();
    const [one, two] = [known.seal("one", 1, some("x", 5)), known.seal("two")];
    expect(isHello(one)).toBe(false);
    expect(() => fresh.open(two)).toThrow(LinkTampered);
    expect(fresh.open(one)).toEqual(["one", 1, some("x", 5)]);
    expect(() => fresh.open(one)).toThrow(LinkTampered);
    expect(fresh.open(two)).toEqual(["two"]);
    expect(() => known.open(known.seal("three"))).toThrow(LinkTampered);
  });

  test("what does not open changes nothing", () => {
    const { known, fresh } = meeting();
    const body = known.seal("one");
    for (let at = 0; at < body.length; at += 7) {
      expect(() => fresh.open(flipped(body, at))).toThrow(LinkTampered);
    }
    expect(fresh.open(body)).toEqual(["one"]);
  });

  test("nothing of an earlier meeting opens in a later one", () => {
    const earlier = meeting().known.seal("grant");
    const [known, fresh] = [greet("known", { name: "again" }), greet("new")];
    known.meet(fresh.body);
    expect(() => fresh.meet(known.body).session.open(earlier)).toThrow(LinkTampered);
  });

  test("short messages have one length, and long ones an end", () => {
    const { known } = meeting();
    expect(known.seal("done").length).toBe(known.seal("have", "eng_AAAAAAAAAAAAAAAAAAAAAA").length);
    expect(() => known.seal("people", new Uint8Array(48 * 1024))).toThrow(UsageError);
  });
});

describe("the recovery words", () => {
  const seed = some("seed", 16);
  const words = recoveryWords(seed);

  test("four letters of each are enough, with numbers and commas", () => {
    const typed = words.map((word, at) => `${at + 1}. ${word.slice(0, 4).toUpperCase()}`).join(",\n");
    expect(recoverySeed(typed)).toEqual(seed);
  });

  test.each([
    [words.slice(1).join(" "), "these are 11"],
    [words.with(2, "zzzz").join(" "), "Word 3 is not one"],
    [[...words].reverse().join(" "), "two have changed places"],
    ["a ".repeat(2000), "far more"],
  ])("refused: %s", (typed, why) => {
    expect(() => recoverySeed(typed)).toThrow(RecoveryWordsInvalid);
    expect(() => recoverySeed(typed)).toThrow(why);
  });

  test("a word of the page is asked for", () => {
    expect(() => checkRecoveryWord(seed, 5, ` ${words[4]} `)).not.toThrow();
    expect(() => checkRecoveryWord(seed, 5, words[5] ?? "")).toThrow("Word 5 is another one on your page");
    expect(() => checkRecoveryWord(seed, 5, "")).toThrow(RecoveryWordsInvalid);
    expect(() => checkRecoveryWord(seed, 13, "x")).toThrow(UsageError);
  });
});

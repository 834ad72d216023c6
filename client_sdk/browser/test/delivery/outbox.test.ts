import { describe, expect, test } from "vitest";
import { utf8 } from "../../src/bytes.ts";
import { sha256 } from "../../src/crypto.ts";
import { Outbox } from "../../src/delivery/outbox.ts";
import { OutboxFull, UsageError } from "../../src/errors.ts";
import { COMMIT, MESSAGE } from "../../src/wire/fields.ts";
import { codeOf } from "./alarms.ts";

const id = (name: string) => utf8(name.padEnd(16, "."));
const hash = sha256(utf8("body"));

/** An outbox with these messages, encrypted and sent. */
function sent(...names: readonly string[]): Outbox {
  let box = new Outbox();
  for (const name of names) box = box.enqueue(id(name));
  for (const name of names) box = box.encrypted(id(name), 1, hash);
  return box.sent();
}

test("counters are consecutive, and what is answered goes when it comes back", () => {
  let box = sent("a", "b");
  expect(box.items.map(({ counter, messageCounter }) => [counter, messageCounter])).toEqual([
    [1, 1],
    [2, 2],
  ]);
  box = box.appended(1, 7);
  const [after, item] = box.ownEntry({ seq: 7, kind: MESSAGE, afterCommit: 1, counter: 1 });
  expect([item.seq, after.lastCounter, after.items.length]).toEqual([7, 1, 1]);
});

test("stale: everything behind is queued again, and nothing is encrypted before the late answers came", () => {
  const [box, action] = sent("a", "b", "c").refused(1, "stale");
  expect(action).toBe("encrypt_afresh");
  expect(box.items.every((item) => item.state === "queued")).toBe(true);
  expect([...box.late]).toEqual([2, 3]);
  expect(box.nextToEncrypt).toBeNull();
  const [later] = box.refused(2, "counter_gap");
  const [ready] = later.refused(3, "counter_gap");
  expect(ready.nextToEncrypt?.id).toEqual(id("a"));
  expect(ready.nextCounter).toBe(1);
});

test("a commit goes first, alone, and is dropped when it loses its race", () => {
  const box = new Outbox().enqueue(id("a")).enqueueCommit(id("commit"));
  expect(box.nextToEncrypt?.kind).toBe(COMMIT);
  expect(() => box.enqueueCommit(id("other"))).toThrow(UsageError);
  expect(() => box.encrypted(id("a"), 1, hash)).toThrow(UsageError);
  const flying = box.encrypted(id("commit"), 1, hash).sent();
  expect(flying.nextToEncrypt).toBeNull();
  const [after, action] = flying.refused(1, "stale");
  expect([action, after.items.length]).toEqual(["discard", 1]);
});

test.each(["not_on_roster", "too_many_devices"])("%s: the commit is dropped, a message waits", (code) => {
  const flying = new Outbox().enqueue(id("a")).offerCommit(id("commit"), 1, hash).sent();
  const [after, action] = flying.refused(1, code);
  expect([action, after.items.map(({ kind }) => kind)]).toEqual(["discard_and_wait", [MESSAGE]]);
  expect(sent("a").refused(1, code)[1]).toBe("stop");
});

test("a commit behind a stale message is dropped with it", () => {
  const [box, action] = sent("a", "b").offerCommit(id("commit"), 7, hash).sent().refused(1, "stale");
  expect(action).toBe("encrypt_afresh");
  expect(box.items.map(({ kind, state }) => [kind, state])).toEqual([
    [MESSAGE, "queued"],
    [MESSAGE, "queued"],
  ]);
  expect([...box.late]).toEqual([2, 3]);
  const [later] = box.refused(2, "counter_gap");
  const [ready] = later.refused(3, "counter_gap");
  expect(ready.nextToEncrypt?.id).toEqual(id("a"));
  expect(ready.offerCommit(id("next"), 7, hash).nextCounter).toBe(2);
});

test("what was not answered is sent again, the identical item", () => {
  const box = sent("a");
  expect(box.toSend).toEqual([]);
  expect(box.disconnected().toSend.map(({ counter }) => counter)).toEqual([1]);
});

describe("lies of a relay are alarms", () => {
  test.each([
    ["ahead", "stream_rolled_back"],
    ["conflict", "cloned_device"],
  ])("refused %s", (code, alarm) => {
    expect(codeOf(() => sent("a").refused(1, code))).toBe(alarm);
  });
  test("an answer about a counter never used", () => {
    expect(codeOf(() => sent("a").appended(2, 9))).toBe("cloned_device");
  });
  test("two positions for one entry", () => {
    expect(codeOf(() => sent("a").appended(1, 5).appended(1, 6))).toBe("relay_contradiction");
    const own = { seq: 6, kind: MESSAGE, afterCommit: 1, counter: 1 };
    expect(codeOf(() => sent("a").appended(1, 5).ownEntry(own))).toBe("relay_contradiction");
  });
  test("entries out of order, or another kind", () => {
    const box = sent("a", "b");
    const own = { seq: 5, kind: MESSAGE, afterCommit: 1, counter: 2 };
    expect(codeOf(() => box.ownEntry(own))).toBe("relay_contradiction");
    expect(codeOf(() => box.ownEntry({ ...own, counter: 1, kind: COMMIT }))).toBe("relay_contradiction");
    expect(codeOf(() => box.ownEntry({ ...own, counter: 3 }))).toBe("cloned_device");
  });
  test("counters at the relay that cannot be", () => {
    const box = sent("a").appended(1, 5);
    expect(codeOf(() => box.checkOpened(2))).toBe("cloned_device");
    expect(codeOf(() => box.checkOpened(0))).toBe("stream_rolled_back");
    expect(codeOf(() => box.checkOpened(1))).toBe("none");
  });
});

test("a refusal after the entry was acknowledged contradicts it", () => {
  const box = sent("a").appended(1, 5);
  expect(codeOf(() => box.refused(1, "stale"))).toBe("relay_contradiction");
  expect(codeOf(() => box.refused(1, "entry_too_big"))).toBe("relay_contradiction");
});

test("setBack: what was acknowledged and lost goes again; refused, it has the number that it has inside", () => {
  const box = sent("a", "b").appended(1, 7).appended(2, 8).setBack(0);
  expect(box.items.map(({ state, counter }) => [state, counter])).toEqual([
    ["encrypted", 1],
    ["encrypted", 2],
  ]);
  expect([box.lastCounter, box.lastMessageCounter]).toEqual([0, 0]);
  const [late, action] = box.sent().refused(1, "stale");
  const [after] = late.refused(2, "counter_gap");
  expect([action, after.nextMessageCounter]).toEqual(["encrypt_afresh", 1]);
});

test("it is bounded", () => {
  let box = new Outbox();
  for (let i = 0; i < 1000; i++) box = box.enqueue(id(String(i)));
  expect(() => box.enqueue(id("one more"))).toThrow(OutboxFull);
});

test("passed over: what is stored is done, all else stays as it is", () => {
  const box = sent("a", "b").enqueue(id("c"));
  const [after, done] = box.passedOver(1);
  expect(done.map((item) => item.counter)).toEqual([1]);
  expect(after.items.map((item) => [item.id, item.state])).toEqual([
    [id("b"), "sent"],
    [id("c"), "queued"],
  ]);
  expect([after.lastCounter, after.lastMessageCounter]).toEqual([1, 1]);
});

test("rejoining: what is stored is done, the rest is queued, a commit is dropped", () => {
  const box = sent("a", "b").enqueue(id("c")).enqueueCommit(id("d"));
  const [after, done] = box.rejoining(1);
  expect(done.map((item) => item.counter)).toEqual([1]);
  expect(after.items.map((item) => [item.id, item.state])).toEqual([
    [id("b"), "queued"],
    [id("c"), "queued"],
  ]);
});

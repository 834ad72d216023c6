import fc from "fast-check";
import { expect, test } from "vitest";
import type { Bytes } from "../../src/bytes.ts";
import { utf8 } from "../../src/bytes.ts";
import { sha256 } from "../../src/crypto.ts";
import { AttestLog } from "../../src/delivery/attest.ts";
import { Outbox } from "../../src/delivery/outbox.ts";
import type { History, Passed } from "../../src/delivery/repair.ts";
import {
  afterIncarnation,
  Comparison,
  MOST_HISTORIES,
  MOST_LOSSES,
  parsePassed,
  serializePassed,
  UNSAID,
} from "../../src/delivery/repair.ts";
import { RecordInvalid } from "../../src/errors.ts";
import { pack } from "../../src/msgpack.ts";
import { COMMIT, MESSAGE } from "../../src/wire/fields.ts";
import type { Entry } from "../../src/wire/frames.ts";
import { codeOf } from "./alarms.ts";

const DAY = 86_400;

/** One entry of a stream in these tests: what it says, and whether it is ours. */
interface Said {
  readonly text: string;
  readonly own: boolean;
  readonly commits: boolean;
}

/** What a device remembers that read all of this, and its log behind each entry. */
function read(stream: readonly Said[]): readonly (readonly [Passed, AttestLog])[] {
  const found: (readonly [Passed, AttestLog])[] = [];
  let counter = 0;
  let before: AttestLog | null = null;
  for (const [at, { text, own, commits }] of stream.entries()) {
    const [seq, bodyHash] = [at + 1, sha256(utf8(text))];
    const kind = commits || at === 0 ? COMMIT : MESSAGE;
    const afterCommit: number = before?.lastCommit ?? 0;
    const entry = { seq, kind, afterCommit, bodyHash };
    const began = { epoch: (before?.epoch ?? 0) + 1, authenticator: new Uint8Array(32).fill(seq) };
    if (own) counter += 1;
    const log: AttestLog =
      before === null
        ? AttestLog.begin(entry, began)
        : kind === COMMIT
          ? before.afterCommit(entry, began)
          : before.afterEntry(entry);
    const hash = log.attest.hash;
    found.push([{ ...entry, hash, epoch: log.epoch, counter: own ? counter : 0, at: 0, ...UNSAID }, log]);
    before = log;
  }
  return found;
}

/** The same as the relay delivers it. */
const delivered = (
  { seq, kind, afterCommit, counter }: Passed,
  { own, text }: Said,
): [Entry, Bytes | null] => {
  const body = own ? null : utf8(text);
  return [{ seq, kind, afterCommit, timeMs: 0, counter, body }, body && sha256(body)];
};

const isSame = (mine: Passed, other: Passed): boolean =>
  mine.kind === other.kind &&
  mine.afterCommit === other.afterCommit &&
  mine.counter === other.counter &&
  (mine.counter > 0 || mine.bodyHash.join() === other.bodyHash.join());

const entries = fc.record({
  text: fc.constantFrom("a", "b", "c"),
  own: fc.boolean(),
  commits: fc.boolean(),
});
const streams = fc.array(entries, { minLength: 1, maxLength: 20 });

test("the longest common beginning is found, whatever the relay kept, erased and took since", () => {
  fc.assert(
    fc.property(streams, fc.nat(20), streams, fc.integer({ min: 1, max: 30 }), fc.nat(), (...given) => {
      const [mine, kept, added, first, from] = given;
      const theirs = [...mine.slice(0, kept), ...added];
      const [rows, others] = [read(mine), read(theirs)].map((found) => found.map(([row]) => row));
      if (rows === undefined || others === undefined) return;
      const upto = Math.min(mine.length, theirs.length);
      const since = 1 + (from % upto);
      const comparison = new Comparison(rows.slice(since - 1, upto), upto, first, 1);
      for (const [at, said] of theirs.entries()) {
        const row = others[at];
        if (at + 1 >= first && row !== undefined) comparison.feed(...delivered(row, said));
      }
      const lookedAt = Math.max(since, first);
      const differs = rows
        .slice(0, upto)
        .findIndex((row, at) => at + 1 >= lookedAt && !isSame(row, others[at] ?? row));
      const same = differs < 0 ? upto : differs;
      if (lookedAt > upto) expect(comparison.agreed, "all of it is erased").toBe(upto);
      else if (same >= lookedAt) expect(comparison.agreed).toBe(same);
      else if (lookedAt === since && since > 1) expect(comparison.agreed, "further back").toBe(-1);
      else expect(comparison.agreed).toBe(lookedAt - 1);
    }),
  );
});

test("the newest commit that stands alone counts too", () => {
  const stream = ["a", "b", "c"].map((text) => ({ text, own: false, commits: false }));
  const comparison = new Comparison(
    read(stream).map(([row]) => row),
    3,
    3,
    1,
  );
  const other = utf8("other");
  comparison.feed(
    { seq: 1, kind: COMMIT, afterCommit: 0, timeMs: 0, counter: 0, body: other },
    sha256(other),
  );
  expect(comparison.agreed).toBe(-1);
});

test("the log of any earlier moment is known, but for epochs whose keys are gone", () => {
  fc.assert(
    fc.property(streams, fc.nat(), (stream, back) => {
      const found = read(stream);
      const at = 1 + (back % stream.length);
      const rows = found.slice(0, at).map(([row]) => row);
      const [, wanted] = found[at - 1] ?? [];
      const closings = found.at(-1)?.[1].closings ?? [];
      expect(AttestLog.at(rows, closings)?.serialize()).toEqual(wanted?.serialize());
      const last = rows.at(-1);
      if (last !== undefined) {
        expect(
          AttestLog.at([...rows.slice(0, -1), { ...last, hash: new Uint8Array() }], closings),
        ).toBeNull();
      }
    }),
  );
  expect(AttestLog.at([], [])).toBeNull();
});

test("what is remembered of an entry is stored, and refused when it is damaged", () => {
  const [[row] = []] = read([{ text: "a", own: true, commits: false }]);
  if (row === undefined) throw new Error("nothing was read");
  const attest = { epoch: 1, seq: 1, hash: new Uint8Array(32) };
  const full = { ...row, id: utf8("id"), about: utf8("it"), device: "00".repeat(16), number: 7, attest };
  expect(parsePassed(serializePassed(full))).toEqual(full);
  expect(parsePassed(serializePassed(row))).toEqual(row);
  for (const wrong of [pack([1]), pack([2, [], [], "", null]), pack("x"), Uint8Array.of(0xc1)]) {
    expect(() => parsePassed(wrong)).toThrow(RecordInvalid);
  }
});

const some = (n: number): Bytes => new Uint8Array(16).fill(n);

test("incarnations that return, or that come too often, are an alarm", () => {
  const often = (times: number, lost: boolean, apart = 60) => {
    let known: readonly History[] = [];
    for (let n = 0; n < times; n++) {
      known = afterIncarnation(known, some(n), some(n + 1), { at: n * apart, lost });
    }
    return known;
  };
  expect(often(MOST_LOSSES, true)).toHaveLength(MOST_LOSSES);
  expect(codeOf(() => often(MOST_LOSSES + 1, true))).toBe("stream_replaced");
  expect(codeOf(() => often(MOST_HISTORIES + 1, false))).toBe("stream_replaced");
  expect(often(MOST_LOSSES + 1, true, DAY)).toHaveLength(MOST_LOSSES + 1);
  const known = often(2, false, DAY);
  const at = { at: 9 * DAY, lost: false };
  expect(codeOf(() => afterIncarnation(known, some(2), some(0), at))).toBe("stream_replaced");
  expect(codeOf(() => afterIncarnation(known, some(2), some(9), at))).toBe("none");
});

const id = (name: string): Bytes => utf8(name.padEnd(16, "."));
const hash = sha256(utf8("body"));

function stored(...names: readonly string[]): Outbox {
  let box = new Outbox();
  for (const name of names) box = box.enqueue(id(name));
  for (const name of names) box = box.encrypted(id(name), 1, hash);
  box = box.sent();
  for (const at of names.keys()) box = box.appended(at + 1, at + 2);
  return box;
}

test("what the relay had acknowledged and then lost is sent once more, the identical bytes", () => {
  const box = stored("a", "b", "c");
  expect(box.lastSeenCounter).toBe(0);
  const back = box.setBack(1);
  expect(back.items.map(({ state, counter, seq }) => [state, counter, seq])).toEqual([
    ["acknowledged", 1, 2],
    ["encrypted", 2, 0],
    ["encrypted", 3, 0],
  ]);
  expect(back.lastCounter).toBe(1);
  expect(codeOf(() => box.setBack(4))).toBe("cloned_device");
  const seen = box.ownEntry({ seq: 2, kind: MESSAGE, afterCommit: 1, counter: 1 })[0];
  expect(seen.lastSeenCounter).toBe(1);
  expect(codeOf(() => seen.setBack(0))).toBe("stream_rolled_back");
});

test("lost messages go first, keep their numbers inside, and commits are dropped", () => {
  const box = stored("a").enqueue(id("new")).enqueueCommit(id("commit"));
  const repairing = box.repairing([id("x"), id("y")], 4, 2);
  expect(repairing.items.map((item) => item.id)).toEqual([id("x"), id("y"), id("a"), id("new")]);
  expect(repairing.items.every(({ state }) => state === "queued")).toBe(true);
  const first = repairing.encrypted(id("x"), 1, hash);
  expect([first.items[0]?.counter, first.items[0]?.messageCounter]).toEqual([5, 3]);
  const offered = repairing.offerCommit(id("lost"), 9, hash);
  expect(offered.items[0]).toMatchObject({ kind: COMMIT, counter: 5, afterCommit: 9, state: "encrypted" });
  expect(offered.nextToEncrypt, "nothing new before it is back").toBeNull();
});

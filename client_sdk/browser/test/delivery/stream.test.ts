import { expect, test } from "vitest";
import { utf8 } from "../../src/bytes.ts";
import { sha256 } from "../../src/crypto.ts";
import { AttestLog } from "../../src/delivery/attest.ts";
import { MessageCounters } from "../../src/delivery/counters.ts";
import { checkOpened } from "../../src/delivery/cursor.ts";
import { dueMs, NO_RECEIPTS, receiptSent, received, sent } from "../../src/delivery/receipts.ts";
import { RecordInvalid } from "../../src/errors.ts";
import { COMMIT, MESSAGE } from "../../src/wire/fields.ts";
import type { RelayFrames } from "../../src/wire/frames.ts";
import { parseEngagementId } from "../../src/wire/ids.ts";
import { codeOf } from "./alarms.ts";

const bodyHash = sha256(utf8("x"));
const authenticator = new Uint8Array(32);
const begin = () => AttestLog.begin({ seq: 5, afterCommit: 0, bodyHash }, { epoch: 1, authenticator });
const message = (seq: number, afterCommit = 5) => ({ seq, kind: MESSAGE, afterCommit, bodyHash });
const DEVICE = "00".repeat(16);

test("entries that are left out, or name another commit, are noticed", () => {
  expect(codeOf(() => begin().afterEntry(message(7)))).toBe("stream_skipped");
  expect(codeOf(() => begin().afterEntry(message(5)))).toBe("stream_skipped");
  expect(codeOf(() => begin().afterEntry(message(6, 4)))).toBe("stream_forked");
  expect(
    codeOf(() =>
      begin()
        .afterEntry({ ...message(6), kind: COMMIT })
        .afterEntry(message(7)),
    ),
  ).toBe("stream_forked");
});

test("attestations are compared wherever both sides have them", () => {
  const log = begin().afterEntry(message(6)).afterEntry(message(7));
  const good = log.attest;
  log.check(good, [], 8);
  const other = { ...good, hash: bodyHash };
  expect(codeOf(() => log.check(other, [], 8))).toBe("stream_forked");
  expect(codeOf(() => log.check({ ...good, epoch: 2 }, [], 8))).toBe("stream_forked");
  expect(codeOf(() => log.check({ ...good, seq: 8 }, [], 8))).toBe("stream_forked");
  expect(codeOf(() => log.check({ ...good, seq: 4 }, [], 8))).toBe("stream_forked");
  const next = log.afterCommit({ seq: 8, afterCommit: 5, bodyHash }, { epoch: 2, authenticator });
  next.check(next.attest, [good], 9);
  expect(codeOf(() => next.check(next.attest, [other], 9))).toBe("stream_forked");
  expect(codeOf(() => next.check(next.attest, [{ ...good, epoch: 2 }], 9))).toBe("stream_forked");
  expect(next.closingsSince(1)).toEqual([good]);
  expect(next.closingsSince(2)).toEqual([]);
});

test("only the newest 256 positions are held", () => {
  let log = begin();
  for (let seq = 6; seq < 300; seq++) log = log.afterEntry(message(seq));
  const again = AttestLog.parse(log.serialize());
  expect(again.hashAt(299 - 255)).toEqual(log.hashAt(299 - 255));
  expect(again.hashAt(299 - 256)).toBeNull();
  expect(again.hashAt(300)).toBeNull();
  expect(() => AttestLog.parse(utf8("x"))).toThrow(RecordInvalid);
});

test("a device's counters have no gap; one not heard before may begin anywhere", () => {
  const counters = new MessageCounters().after(DEVICE, 4);
  expect(codeOf(() => counters.check(DEVICE, 5))).toBe("none");
  expect(codeOf(() => counters.check(DEVICE, 6))).toBe("stream_gap");
  expect(codeOf(() => counters.check(DEVICE, 4))).toBe("stream_gap");
  expect(codeOf(() => counters.without(DEVICE).check(DEVICE, 9))).toBe("none");
  expect(codeOf(() => MessageCounters.parse(counters.serialize()).check(DEVICE, 9))).toBe("stream_gap");
});

test("an opened stream continues what is stored, or is an alarm", () => {
  const opened: RelayFrames["Opened"] = {
    frame: "Opened",
    request: 1,
    stream: parseEngagementId("eng_AAAAAAAAAAAAAAAAAAAAAA"),
    incarnation: new Uint8Array(16),
    head: 10,
    lastCommit: 5,
    first: 3,
    cursor: 7,
    lastCounter: 0,
    member: true,
  };
  const at = { seq: 8, lastCommit: 5 };
  expect(checkOpened(opened, at)).toBe("read");
  expect(checkOpened({ ...opened, member: false }, at)).toBe("wait");
  expect(checkOpened({ ...opened, first: 10 }, at)).toBe("rejoin");
  expect(codeOf(() => checkOpened({ ...opened, head: 7 }, at))).toBe("stream_rolled_back");
  expect(codeOf(() => checkOpened({ ...opened, lastCommit: 4 }, at))).toBe("stream_rolled_back");
  expect(codeOf(() => checkOpened({ ...opened, cursor: 10 }, at))).toBe("cloned_device");
  expect(codeOf(() => checkOpened({ ...opened, cursor: 9, first: 11 }, at))).toBe("cloned_device");
  expect(checkOpened({ ...opened, cursor: 9 }, at)).toBe("anew");
  expect(checkOpened({ ...opened, cursor: 9, first: 11, lastCommit: 10 }, at)).toBe("anew");
});

test("a receipt is owed after silence alone, at most one in five seconds", () => {
  const owed = received(NO_RECEIPTS, false);
  expect(dueMs(NO_RECEIPTS, 10)).toBeNull();
  expect(dueMs(owed, 10)).toBe(10);
  expect(dueMs(sent(owed), 10)).toBeNull();
  expect(dueMs(received(receiptSent(10), true), 20)).toBeNull();
  expect(dueMs(received(receiptSent(10), false), 20)).toBe(5010);
  expect(dueMs(received(receiptSent(9000), false), 20)).toBe(20);
});

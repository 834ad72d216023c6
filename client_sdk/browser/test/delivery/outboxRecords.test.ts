import { expect, test } from "vitest";
import { utf8 } from "../../src/bytes.ts";
import { sha256 } from "../../src/crypto.ts";
import { Outbox } from "../../src/delivery/outbox.ts";
import { parseOutbox, serializeOutbox } from "../../src/delivery/outboxRecords.ts";
import { RecordInvalid } from "../../src/errors.ts";

const id = (name: string) => utf8(name.padEnd(16, "."));

test("what is stored is what is read, on the next connection and on later ones", () => {
  const queued = new Outbox().enqueue(id("a")).enqueue(id("b"));
  const box = queued.encrypted(id("a"), 1, sha256(utf8("body")));
  const again = parseOutbox(serializeOutbox(box));
  expect(again).toEqual(box);
  expect([again.nextCounter, again.nextMessageCounter]).toEqual([2, 2]);
});

test("a damaged record is not used", () => {
  const whole = serializeOutbox(new Outbox().enqueue(id("a")));
  for (const data of [utf8("x"), whole.subarray(0, -1)]) {
    expect(() => parseOutbox(data)).toThrow(RecordInvalid);
  }
});

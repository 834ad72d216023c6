/** An outbox in the vault. */

import type { Bytes } from "../bytes.ts";
import { RecordInvalid } from "../errors.ts";
import type { Value } from "../msgpack.ts";
import { PackingError, pack, unpack } from "../msgpack.ts";
import { Outbox } from "./outbox.ts";
import type { OutboxItem } from "./outboxItems.ts";
import { STATES } from "./outboxItems.ts";

const FORMAT = 1;

/** Encode for the vault. */
export function serializeOutbox(box: Outbox): Bytes {
  const items = box.items.map(
    ({ id, kind, state, counter, messageCounter, afterCommit, bodyHash, seq }) =>
      [id, kind, state, counter, messageCounter, afterCommit, bodyHash, seq] as const,
  );
  return pack([FORMAT, box.lastCounter, box.highestCounter, box.lastMessageCounter, items]);
}

/** Decode from the vault; raises RecordInvalid. */
export function parseOutbox(data: Bytes): Outbox {
  try {
    const values = unpack(data);
    const [format, last, highest, lastMessage, items] = Array.isArray(values) ? values : [];
    if (format !== FORMAT || !Array.isArray(items)) throw new PackingError("another form");
    return new Outbox({
      items: items.map(parseItem),
      lastCounter: number(last),
      highestCounter: number(highest),
      lastMessageCounter: number(lastMessage),
    });
  } catch (error) {
    if (!(error instanceof PackingError)) throw error;
    throw new RecordInvalid("A stored outbox is damaged. Set this browser up anew.");
  }
}

function parseItem(value: Value): OutboxItem {
  const [id, kind, stored, counter, messageCounter, afterCommit, bodyHash, seq] = Array.isArray(value)
    ? value
    : [];
  const state = STATES.find((one) => one === stored);
  const typed = id instanceof Uint8Array && bodyHash instanceof Uint8Array && (kind === 0 || kind === 1);
  if (!typed || state === undefined) throw new PackingError("a field of another form");
  const counters = { counter: number(counter), messageCounter: number(messageCounter) };
  return { id, kind, state, ...counters, afterCommit: number(afterCommit), bodyHash, seq: number(seq) };
}

function number(value: Value | undefined): number {
  if (typeof value === "number" && value >= 0) return value;
  throw new PackingError("a number of another form");
}

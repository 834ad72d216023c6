/** The items of an outbox: an automaton for each, in one table; and what each refusal of the relay means to it. */

import { SecurityAlarm } from "../alarms.ts";
import type { Bytes } from "../bytes.ts";
import type { EntryKind } from "../wire/fields.ts";

/**
 * How far an item has come. `encrypted`: ciphertext and counter are stored, it may have been sent on an earlier
 * connection; `sent`: handed to the present one, not answered; `acknowledged`: durable at the relay, it goes
 * when it comes back in the stream.
 */
export const STATES = ["queued", "encrypted", "sent", "acknowledged"] as const;
export type ItemState = (typeof STATES)[number];

export type OutboxEvent =
  | "encrypt"
  | "send"
  | "disconnect"
  | "appended"
  | "seen"
  | "stale"
  | "race_lost"
  | "not_taken"
  | "out_of_order"
  | "stored_long_ago"
  | "retry_later"
  | "ahead"
  | "conflict"
  | "stopped"
  | "fault";

/**
 * What the engine does then: `encrypt_afresh` when the stream is processed up to the newest commit; `send_again`
 * `toSend`; `wait`: the same after a back-off; `read_on`: it is stored, where, the stream will show; `stop`: tell
 * the person; `give_up`: it can never be sent, what came after it is queued again; `discard`: the commit's state;
 * `discard_and_wait`: that, and whatever follows is sent after a back-off.
 */
export type Action =
  | "none"
  | "encrypt_afresh"
  | "send_again"
  | "wait"
  | "read_on"
  | "stop"
  | "give_up"
  | "discard"
  | "discard_and_wait"
  | "done"
  | "alarm_rolled_back"
  | "alarm_cloned";

type Then = readonly [ItemState | null, Action];
type Row = Readonly<Partial<Record<OutboxEvent, Then>>>;

const IN_FLIGHT: Row = {
  appended: ["acknowledged", "none"],
  seen: [null, "done"],
  stale: ["queued", "encrypt_afresh"],
  race_lost: [null, "discard"],
  not_taken: [null, "discard_and_wait"],
  out_of_order: ["encrypted", "send_again"],
  stored_long_ago: ["acknowledged", "read_on"],
  retry_later: ["encrypted", "wait"],
  ahead: ["encrypted", "alarm_rolled_back"],
  conflict: ["encrypted", "alarm_cloned"],
  stopped: ["queued", "stop"],
  fault: [null, "give_up"],
  disconnect: ["encrypted", "none"],
};

/** state -> event -> (next state, null: removed; what to do). What is not here is a contradiction. */
export const TRANSITIONS: Readonly<Record<ItemState, Row>> = {
  queued: { encrypt: ["encrypted", "none"], disconnect: ["queued", "none"] },
  encrypted: { send: ["sent", "none"], ...IN_FLIGHT },
  sent: IN_FLIGHT,
  acknowledged: {
    appended: ["acknowledged", "none"],
    seen: [null, "done"],
    disconnect: ["acknowledged", "none"],
    stored_long_ago: ["acknowledged", "none"],
    retry_later: ["acknowledged", "none"],
    stopped: ["acknowledged", "stop"],
    ahead: ["acknowledged", "alarm_rolled_back"],
    conflict: ["acknowledged", "alarm_cloned"],
  },
};

/** What each refusal of an append means (docs/PROTOCOL.md section 2.3). */
export const REFUSALS: ReadonlyMap<string, OutboxEvent> = new Map([
  ["stale", "stale"],
  ["ahead", "ahead"],
  ["counter_gap", "out_of_order"],
  ["duplicate", "stored_long_ago"],
  ["conflict", "conflict"],
  ["not_member", "stopped"],
  ["not_on_roster", "not_taken"],
  ["too_many_devices", "not_taken"],
  ["ended", "stopped"],
  ["not_found", "stopped"],
  ["entry_too_big", "fault"],
  ["bundle_invalid", "fault"],
  ["blob_not_found", "fault"],
  ["rate_limited", "retry_later"],
  ["store_full", "retry_later"],
  ["store_unavailable", "retry_later"],
  ["internal", "retry_later"],
]);

/** One entry to be sent; what is 0 or empty is known once it is encrypted, `seq` once acknowledged. */
export interface OutboxItem {
  readonly id: Bytes;
  readonly kind: EntryKind;
  readonly state: ItemState;
  readonly counter: number;
  readonly messageCounter: number;
  readonly afterCommit: number;
  readonly bodyHash: Bytes;
  readonly seq: number;
}

const NOTHING = new Uint8Array();

/** As it waits, before it is encrypted (again). */
export const queued = ({ id, kind }: Pick<OutboxItem, "id" | "kind">): OutboxItem => ({
  id,
  kind,
  state: "queued",
  counter: 0,
  messageCounter: 0,
  afterCommit: 0,
  bodyHash: NOTHING,
  seq: 0,
});

/** Whether it has a counter. */
export const inFlight = (item: OutboxItem): boolean => item.state !== "queued";

/** What an event does to it; raises SecurityAlarm for what the relay cannot rightly say of it. */
export function step(item: OutboxItem, event: OutboxEvent): Then {
  const then = TRANSITIONS[item.state][event];
  if (then === undefined) {
    throw new SecurityAlarm("relay_contradiction", { counter: item.counter, state: item.state, event });
  }
  return then;
}

/**
 * The outbox of one conversation: what waits, in which order and under which counters; what each answer of the relay
 * does to it. The ciphertext stays in the vault under the item's id. Items keep their order; those in flight have
 * consecutive counters.
 */

import { SecurityAlarm } from "../alarms.ts";
import type { Bytes } from "../bytes.ts";
import { equal } from "../bytes.ts";
import { OutboxFull, UsageError } from "../errors.ts";
import type { EntryKind } from "../wire/fields.ts";
import { COMMIT, MESSAGE } from "../wire/fields.ts";
import type { Action, OutboxEvent, OutboxItem } from "./outboxItems.ts";
import { inFlight, queued, REFUSALS, step } from "./outboxItems.ts";

/** Items in one outbox: far more than a person writes while offline; bounds memory and the stored record. */
export const MOST_WAITING = 1000;
/** Half of the answers that the relay remembers for a device, so that a retry always gets its first answer. */
export const MOST_IN_FLIGHT = 32;

interface Parts {
  readonly items: readonly OutboxItem[];
  readonly lastCounter: number;
  readonly highestCounter: number;
  readonly lastMessageCounter: number;
  readonly late: ReadonlySet<number>;
}

const EMPTY: Parts = { items: [], lastCounter: 0, highestCounter: 0, lastMessageCounter: 0, late: new Set() };

/** Where and how an entry of this device came back. */
export interface OwnEntry {
  readonly seq: number;
  readonly kind: EntryKind;
  readonly afterCommit: number;
  readonly counter: number;
}

/**
 * The items in order, those in flight first. Each step gives the next outbox.
 *
 * `lastCounter` is the highest counter known to be stored at the relay, `highestCounter` the highest ever used,
 * `lastMessageCounter` that of the last stored message (the counter *inside* messages). `late` are counters sent
 * on this connection whose answer is still to come although it is clear by now: nothing is encrypted before it
 * has come, so that no counter stands for two entries at once.
 */
export class Outbox implements Parts {
  readonly items: readonly OutboxItem[];
  readonly lastCounter: number;
  readonly highestCounter: number;
  readonly lastMessageCounter: number;
  readonly late: ReadonlySet<number>;

  constructor(parts: Partial<Parts> = {}) {
    const all = { ...EMPTY, ...parts };
    this.items = all.items;
    this.lastCounter = all.lastCounter;
    this.highestCounter = all.highestCounter;
    this.lastMessageCounter = all.lastMessageCounter;
    this.late = all.late;
  }

  #with(parts: Partial<Parts>): Outbox {
    return new Outbox({ ...this, ...parts });
  }

  // Taking in

  /** Queue a message; raises OutboxFull. */
  enqueue(id: Bytes): Outbox {
    return this.#withRoom([...this.items, queued({ id, kind: MESSAGE })]);
  }

  /** Queue a commit before all messages not encrypted yet; raises UsageError if one waits already. */
  enqueueCommit(id: Bytes): Outbox {
    if (this.items.some((item) => item.kind === COMMIT)) {
      throw new UsageError("A commit waits already. One at a time: the next needs the epoch of this one.");
    }
    const at = this.inFlight.length;
    return this.#withRoom([
      ...this.items.slice(0, at),
      queued({ id, kind: COMMIT }),
      ...this.items.slice(at),
    ]);
  }

  #withRoom(items: readonly OutboxItem[]): Outbox {
    if (items.length > MOST_WAITING) {
      throw new OutboxFull(
        `${MOST_WAITING} messages wait to be sent already. This one was not taken: connect first.`,
      );
    }
    return this.#with({ items });
  }

  // Sending

  /** The items that have a counter. */
  get inFlight(): readonly OutboxItem[] {
    return this.items.filter(inFlight);
  }

  /**
   * The item to be encrypted now, or null. While a commit is in flight nothing is: the epoch that follows is not
   * settled yet.
   */
  get nextToEncrypt(): OutboxItem | null {
    const flying = this.inFlight;
    const blocked = flying.length >= MOST_IN_FLIGHT || flying.some((item) => item.kind === COMMIT);
    if (this.late.size > 0 || blocked) return null;
    return this.items.find((item) => !inFlight(item)) ?? null;
  }

  /** The counter of the next append. */
  get nextCounter(): number {
    return Math.max(this.lastCounter, ...this.items.map((item) => item.counter)) + 1;
  }

  /** The counter inside the next message. */
  get nextMessageCounter(): number {
    return Math.max(this.lastMessageCounter, ...this.items.map((item) => item.messageCounter)) + 1;
  }

  /** `nextToEncrypt` was encrypted, with `nextCounter` (and `nextMessageCounter` inside). */
  encrypted(id: Bytes, afterCommit: number, bodyHash: Bytes): Outbox {
    const item = this.nextToEncrypt;
    if (item === null || !equal(item.id, id)) {
      throw new UsageError("Only the next item in order can be encrypted.");
    }
    const [state] = step(item, "encrypt");
    const counter = this.nextCounter;
    const messageCounter = item.kind === MESSAGE ? this.nextMessageCounter : 0;
    const numbered = { ...item, state: state ?? "encrypted", counter, messageCounter, afterCommit, bodyHash };
    return this.#put(numbered).#with({ highestCounter: Math.max(this.highestCounter, counter) });
  }

  /** The items to be handed to the connection now, in order. */
  get toSend(): readonly OutboxItem[] {
    return this.items.filter((item) => item.state === "encrypted");
  }

  /** All of `toSend` was handed to the connection. */
  sent(): Outbox {
    return this.#all("send", this.toSend);
  }

  /** The connection ended: what was not answered is sent again, the identical bytes. */
  disconnected(): Outbox {
    return this.#all("disconnect", this.items).#with({ late: new Set() });
  }

  // Answers

  /** The relay stored this counter's entry at `seq`; raises SecurityAlarm. */
  appended(counter: number, seq: number): Outbox {
    const item = this.#byCounter(counter);
    if (item === undefined) {
      if (counter <= this.lastCounter) return this; // it came back in the stream before this answer
      throw this.#unknown(counter, seq);
    }
    if (item.seq !== 0 && item.seq !== seq) {
      throw new SecurityAlarm("relay_contradiction", { counter, seq: item.seq, now: seq });
    }
    const [state] = step(item, "appended");
    return this.#stored(item).#put({ ...item, state: state ?? "acknowledged", seq });
  }

  /**
   * The relay refused the entry with this counter; the outbox then, and what to do. Raises SecurityAlarm
   * (`stream_rolled_back` for `ahead`, `cloned_device` for `conflict`, `relay_contradiction`); the outbox is kept.
   */
  refused(counter: number, code: string): readonly [Outbox, Action] {
    if (this.late.has(counter)) {
      const late = new Set([...this.late].filter((one) => one !== counter));
      return [this.#with({ late }), "none"];
    }
    const item = this.#byCounter(counter);
    if (item === undefined) return [this, "none"]; // it came back in the stream before this answer
    let event = REFUSALS.get(code) ?? "retry_later";
    if (event === "stale" && item.kind === COMMIT) event = "race_lost";
    if (event === "not_taken" && item.kind === MESSAGE) event = "stopped"; // it adds nobody: this relay takes none
    const [state, action] = step(item, event);
    if (action === "alarm_rolled_back") {
      throw new SecurityAlarm("stream_rolled_back", { counter, after_commit: item.afterCommit });
    }
    if (action === "alarm_cloned")
      throw new SecurityAlarm("cloned_device", { counter, own_hash: item.bodyHash });
    if (state === null) return [this.#requeuedFrom(counter).#without(item), action];
    if (state === "queued") return [this.#requeuedFrom(counter), action];
    const box = state === "acknowledged" ? this.#stored(item) : this;
    return [box.#put({ ...item, state }), action];
  }

  /**
   * An entry of this device's came back: the outbox without it, and the item. Raises SecurityAlarm:
   * `cloned_device` for a counter this outbox never used; `relay_contradiction` for one that the relay had
   * refused, or stored elsewhere, differently or out of order.
   */
  ownEntry({ seq, kind, afterCommit, counter }: OwnEntry): readonly [Outbox, OutboxItem] {
    const item = this.#byCounter(counter);
    if (item === undefined) throw this.#unknown(counter, seq);
    const same = kind === item.kind && afterCommit === item.afterCommit;
    if (!same || (item.seq !== 0 && item.seq !== seq) || item !== this.items[0]) {
      throw new SecurityAlarm("relay_contradiction", {
        counter,
        seq,
        acknowledged_seq: item.seq,
        after_commit: afterCommit,
        own_after_commit: item.afterCommit,
      });
    }
    step(item, "seen");
    return [this.#stored(item).#without(item), { ...item, seq }];
  }

  /** Whether the relay's last counter for us is possible, which has to have `least`; raises SecurityAlarm. */
  checkOpened(lastCounter: number, least = this.lastCounter): void {
    const facts = { relay_counter: lastCounter };
    if (lastCounter > this.highestCounter) {
      throw new SecurityAlarm("cloned_device", { ...facts, own_counter: this.highestCounter });
    }
    if (lastCounter < least) {
      throw new SecurityAlarm("stream_rolled_back", { ...facts, own_counter: least });
    }
  }

  /**
   * This device joins anew, past entries it will not read: the outbox then, and what is done. Done is what the
   * relay has stored, up to `lastCounter`; the rest is queued again, a commit dropped.
   */
  rejoining(lastCounter: number): readonly [Outbox, readonly OutboxItem[]] {
    this.checkOpened(lastCounter);
    const [settled, done] = this.passedOver(lastCounter);
    const kept = settled.items.filter(({ kind }) => kind === MESSAGE);
    return [settled.#with({ items: kept.map(queued) }), done];
  }

  /** What the relay has stored, up to `lastCounter`, will not be read: the outbox without it, and what that is. */
  passedOver(lastCounter: number): readonly [Outbox, readonly OutboxItem[]] {
    const done = this.inFlight.filter((item) => item.counter <= lastCounter);
    const settled = this.#with({
      lastCounter: Math.max(this.lastCounter, lastCounter),
      lastMessageCounter: Math.max(this.lastMessageCounter, ...done.map((item) => item.messageCounter)),
      items: this.items.filter((item) => !done.includes(item)),
    });
    return [settled, done];
  }

  // Repair

  /** The counter of our last entry that has come back in the stream. */
  get lastSeenCounter(): number {
    return this.lastCounter - this.inFlight.filter((item) => item.counter <= this.lastCounter).length;
  }

  /**
   * The relay lost entries that it had acknowledged and not delivered yet: they are sent once more. Raises
   * SecurityAlarm if that cannot be all.
   */
  setBack(lastCounter: number): Outbox {
    this.checkOpened(lastCounter, this.lastSeenCounter);
    const again = (item: OutboxItem) => item.state === "acknowledged" && item.counter > lastCounter;
    const lost = this.inFlight.filter((item) => item.counter > lastCounter && item.kind === MESSAGE);
    return this.#with({
      items: this.items.map((item) => (again(item) ? { ...item, state: "encrypted", seq: 0 } : item)),
      lastCounter: Math.min(this.lastCounter, lastCounter),
      // Encrypted afresh, should it be refused, it has the number again that it has inside now.
      lastMessageCounter: Math.min(this.lastMessageCounter, ...lost.map((item) => item.messageCounter - 1)),
    });
  }

  /**
   * The relay lost entries: our messages among them, in their order, are to be sent once more. They stand before
   * what was not stored yet, and keep their numbers (`lastMessageCounter` is that before the first); appends are
   * numbered on from what the relay has stored. Commits are dropped.
   */
  repairing(lost: readonly Bytes[], lastCounter: number, lastMessageCounter: number): Outbox {
    const again = lost.map((id) => queued({ id, kind: MESSAGE }));
    const isLost = (item: OutboxItem) => lost.some((id) => equal(id, item.id));
    const waiting = this.items.filter((item) => item.kind === MESSAGE && !isLost(item));
    const items = [...again, ...waiting.map(queued)];
    return this.#with({ items, lastCounter, lastMessageCounter, late: new Set() });
  }

  /** A commit that the stream had before is offered again, before all that waits. */
  offerCommit(id: Bytes, afterCommit: number, bodyHash: Bytes): Outbox {
    return this.enqueueCommit(id).encrypted(id, afterCommit, bodyHash);
  }

  /** With these of its items alone, in this order. */
  keeping(items: readonly OutboxItem[]): Outbox {
    return this.#with({ items });
  }

  /** The relay's count of what it has of us is the one that counts, whatever this device had. */
  startingOver(lastCounter: number): Outbox {
    return this.#with({ lastCounter, highestCounter: Math.max(this.highestCounter, lastCounter) });
  }

  /** These are said (again), behind what is in flight and before all that waits. */
  saidAgain(ids: readonly Bytes[]): Outbox {
    const again = ids.map((id) => queued({ id, kind: MESSAGE }));
    return this.#with({
      items: [...this.inFlight, ...again, ...this.items.filter((item) => !inFlight(item))],
    });
  }

  /** Without a commit that lost its race before it was answered. */
  dropped(id: Bytes): Outbox {
    return this.#with({ items: this.items.filter((item) => !equal(item.id, id)) });
  }

  // Inside

  #byCounter(counter: number): OutboxItem | undefined {
    return this.items.find((item) => inFlight(item) && item.counter === counter);
  }

  #unknown(counter: number, seq: number): SecurityAlarm {
    if (counter <= this.highestCounter) return new SecurityAlarm("relay_contradiction", { counter, seq });
    return new SecurityAlarm("cloned_device", { counter, seq, own_counter: this.highestCounter });
  }

  #stored(item: OutboxItem): Outbox {
    return this.#with({
      lastCounter: Math.max(this.lastCounter, item.counter),
      lastMessageCounter: Math.max(this.lastMessageCounter, item.messageCounter),
    });
  }

  /**
   * An entry was refused for good, so what is in flight behind it is, too. Messages are queued again. A commit is
   * dropped, as everywhere: whoever made it makes another if it is still due, while one that only waited would keep
   * messages from being encrypted for an epoch to come.
   */
  #requeuedFrom(counter: number): Outbox {
    const gone = (item: OutboxItem) => inFlight(item) && item.counter >= counter;
    const late = this.items.filter((item) => item.state === "sent" && item.counter > counter);
    return this.#with({
      items: this.items
        .filter((item) => !gone(item) || item.kind === MESSAGE)
        .map((item) => (gone(item) ? queued(item) : item)),
      late: new Set([...this.late, ...late.map((item) => item.counter)]),
    });
  }

  #all(event: OutboxEvent, items: readonly OutboxItem[]): Outbox {
    let box: Outbox = this;
    for (const item of items) box = box.#put({ ...item, state: step(item, event)[0] ?? item.state });
    return box;
  }

  #put(item: OutboxItem): Outbox {
    return this.#with({ items: this.items.map((one) => (equal(one.id, item.id) ? item : one)) });
  }

  #without(item: OutboxItem): Outbox {
    return this.dropped(item.id);
  }
}

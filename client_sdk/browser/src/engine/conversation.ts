/** One conversation on this device: steps one after the other, each stored before anything of it is said. */

import { alarmFrom, SecurityAlarm } from "../alarms.ts";
import type { Bytes } from "../bytes.ts";
import { equal, hex } from "../bytes.ts";
import type { Content } from "../content/messages.ts";
import { profile, receipt } from "../content/messages.ts";
import { checkOpened } from "../delivery/cursor.ts";
import { dueMs } from "../delivery/receipts.ts";
import type { Environment } from "../environment.ts";
import { CoachRelayError, OutboxFull, RelayError, UsageError, VaultCorrupt } from "../errors.ts";
import { checkFeatures } from "../identity/conversation.ts";
import { leavesToRemove, placesBefore } from "../identity/membership.ts";
import { safetyNumber } from "../identity/safety.ts";
import { checkMaySend, verifiedBy } from "../identity/trust.ts";
import type { Link } from "../transport/link.ts";
import type { Vault } from "../vault/vault.ts";
import type { DeviceFrames, Engagement, RelayFrame, RelayFrames } from "../wire/frames.ts";
import type { EngagementId } from "../wire/ids.ts";
import { parseUserId } from "../wire/ids.ts";
import { admit, create, waitingDevices } from "./admitting.ts";
import type { Message, Stored } from "./history.ts";
import { messageOf, parseStored } from "./history.ts";
import { dropPending, take } from "./receiving.ts";
import { appendFrame, encryptNext, parseWaiting, queue } from "./sending.ts";
import type { Raised, State } from "./state.ts";
import { NEW_STATE, parseState } from "./state.ts";
import type { Book, Shared } from "./work.ts";
import { Work } from "./work.ts";

const WAIT_PER_PLACE_MS = 2000; // PROTOCOL 7: a random part of it for each place behind the first
const RETRY_MS = 1000;
const REFUSED_MS = 60_000; // claiming a device's key packages again and again would use them up

/** A person of the conversation, as the page gets it. */
export interface Person {
  readonly user: string;
  readonly name: string;
  readonly role: string;
  readonly me: boolean;
  readonly devices: number;
  readonly trust: "me" | "unverified" | "verified" | "changed";
}

export interface ConversationEvents {
  message(message: Message): void;
  changed(): void;
  alarm(alarm: { readonly code: string; readonly message: string }): void;
  keyPackagesSpent(): void;
  /** Something that nobody waits for failed. */
  fault(error: unknown): void;
}

export class Conversation {
  readonly id: EngagementId;
  readonly #shared: Shared;
  readonly #vault: Vault;
  readonly #environment: Environment;
  readonly #events: ConversationEvents;
  #state: State = NEW_STATE;
  #byId = new Map<string, Stored>();
  #nextOrder = 0;
  #engagement: Engagement | null = null;
  #link: Link | null = null;
  #staleUntil = 0;
  #mayCreate = false;
  #refused = new Set<string>();
  #admitting = false;
  #receiptPlanned = false;
  #queue: Promise<unknown> = Promise.resolve();

  private constructor(
    id: EngagementId,
    shared: Shared,
    vault: Vault,
    environment: Environment,
    events: ConversationEvents,
  ) {
    this.id = id;
    this.#shared = shared;
    this.#vault = vault;
    this.#environment = environment;
    this.#events = events;
  }

  /** What this device has of the conversation; raises VaultCorrupt or RecordInvalid. */
  static async load(
    id: EngagementId,
    shared: Shared,
    vault: Vault,
    environment: Environment,
    events: ConversationEvents,
  ): Promise<Conversation> {
    const made = new Conversation(id, shared, vault, environment, events);
    const stored = await vault.get(`state/${id}`);
    if (stored !== null) made.#state = parseState(stored, shared.account.portal);
    for (const data of (await vault.scan(`history/${id}/`)).values()) {
      const one = parseStored(data);
      made.#byId.set(one.id, one);
      made.#nextOrder = Math.max(made.#nextOrder, one.order + 1);
    }
    return made;
  }

  // What the page asks

  get member(): boolean {
    return this.#state.group !== null;
  }

  get alarm(): Raised | null {
    return this.#state.alarm;
  }

  /** The history, oldest first: at most so many of the newest, or of those before a message. */
  history(limit: number, before?: string): readonly Message[] {
    const all = [...this.#byId.values()].sort((one, other) => one.order - other.order);
    const end = before === undefined ? all.length : all.findIndex((one) => one.id === before);
    return all.slice(Math.max(0, end - limit), Math.max(0, end)).map((one) => this.#shown(one));
  }

  get people(): readonly Person[] {
    const { account, names, trust } = this.#shared;
    const view = this.#state.group && new Work(this.#shared, this.id, this.#state, this.#book).view;
    const invited = this.#engagement?.participants ?? [];
    return (view?.info.participants ?? invited).map(({ user, role }) => ({
      user,
      name: user === account.user ? account.name : (names.get(user) ?? ""),
      role,
      me: user === account.user,
      devices: view?.leaves.filter((leaf) => leaf.user === user).length ?? 0,
      trust: user === account.user ? "me" : (trust.get(user)?.state ?? "unverified"),
    }));
  }

  /** The 30 digits of a person's identity key; raises UsageError for somebody not met yet. */
  safetyNumber(user: string): string {
    const { account, trust } = this.#shared;
    const id = parseUserId(user);
    const key = id === account.user ? account.manifest.identityKey : trust.get(id)?.newest.identityKey;
    if (key === undefined) throw new UsageError("This person has not taken part yet: there is no number.");
    return safetyNumber(account.portal, id, key);
  }

  /** The page's person has compared the number that was shown; raises UsageError if it is another by now. */
  verify(user: string, number: string): Promise<void> {
    return this.#step(async (work) => {
      const id = parseUserId(user);
      const record = work.trustOf(id);
      if (record === null || this.safetyNumber(user) !== number) {
        throw new UsageError("The number that was compared is not this person's newest. Show it again.");
      }
      work.setTrust(verifiedBy(record, record.newest.identityKey, this.#environment.nowMs()));
    });
  }

  /** A person has looked at the alarm and goes on; raises UsageError where that is not possible. */
  goOn(): Promise<void> {
    return this.#step(async (work) => {
      if (work.state.alarm?.halted) throw new UsageError("This device cannot go on here: set it up anew.");
      work.change({ alarm: null });
    });
  }

  /** Say something; resolves with the message's id when it is safe on this device. */
  async say(content: Content): Promise<string> {
    const id = await this.#step(async (work) => queue(work, content, true));
    this.#background(this.flush());
    return hex(id);
  }

  // The connection

  /** Open the stream, and send again what was not answered; raises RelayError. */
  async open(link: Link, engagement: Engagement | null): Promise<void> {
    this.#engagement = engagement ?? this.#engagement;
    await this.#locked(async () => {
      const question = { frame: "Open", stream: this.id, after: this.#state.cursor } as const;
      const opened = await link.ask(question, "Opened");
      await this.#work(async (work) => this.#opened(work, opened));
      this.#link = link;
    });
    await this.flush();
    this.#background(this.#admit());
  }

  #opened(work: Work, opened: RelayFrames["Opened"]): void {
    const { cursor, lastCommit, incarnation, box } = work.state;
    try {
      const resume = checkOpened(opened, { seq: cursor, lastCommit, incarnation });
      box.checkOpened(opened.lastCounter);
      if (resume === "rejoin") work.outOfStep();
    } catch (error) {
      if (!(error instanceof SecurityAlarm)) throw error;
      work.halt(error, work.state);
    }
    work.change({ incarnation: work.state.incarnation ?? opened.incarnation });
    this.#mayCreate = opened.lastCommit === 0;
  }

  /** The connection is gone; what was not answered is sent again on the next one. */
  disconnected(): Promise<void> {
    this.#link = null;
    return this.#step(async (work) => work.change({ box: work.state.box.disconnected() }));
  }

  /** The roster, or who waits, has changed. */
  changed(engagement: Engagement): void {
    this.#engagement = engagement;
    this.#events.changed();
    this.#background(this.#admit());
  }

  /** This person's device list is another one now. */
  accountChanged(): void {
    this.#background(this.#admit());
  }

  /** A frame of this stream. */
  async received(frame: RelayFrame): Promise<void> {
    if (frame.frame === "Entries") await this.#entries(frame);
    else if (frame.frame === "Appended") await this.#appended(frame);
    else if (frame.frame === "Refused") await this.#refusedEntry(frame);
  }

  async #entries({ entries }: RelayFrames["Entries"]): Promise<void> {
    for (const entry of entries) {
      const work = await this.#step(async (step) => {
        await take(step, entry);
        if (step.joined) introduce(step);
        return step;
      });
      if (work.keyPackagesSpent) this.#events.keyPackagesSpent();
    }
    this.#link?.send({ frame: "Ack", stream: this.id, seq: this.#state.cursor });
    await this.flush();
    this.#background(this.#admit());
    this.#background(this.#planReceipt());
  }

  #appended({ results }: RelayFrames["Appended"]): Promise<void> {
    return this.#alarming(async (work) => {
      for (const { counter, seq } of results) {
        const item = work.state.box.items.find((one) => one.counter === counter);
        work.change({ box: work.state.box.appended(counter, seq) });
        if (item !== undefined) work.place(hex(item.id), seq);
      }
    });
  }

  async #refusedEntry({ counter, code, lastCommit }: RelayFrames["Refused"]): Promise<void> {
    if (code === "stale") this.#staleUntil = Math.max(this.#staleUntil, lastCommit);
    let wait = 0;
    await this.#alarming(async (work) => {
      const [box, action] = work.state.box.refused(counter, code);
      const gone = work.state.box.items.find((item) => !box.items.some((one) => equal(one.id, item.id)));
      work.change({ box });
      if (gone !== undefined && work.state.pending !== null && equal(gone.id, work.state.pending.id)) {
        dropPending(work);
        if (work.state.group === null) this.#mayCreate = false;
      }
      if (action === "wait" || action === "stop") wait = RETRY_MS;
    });
    if (wait > 0) await this.#environment.sleep(wait);
    this.#background(this.flush());
  }

  // Sending

  /** Encrypt what waits, if this device may send now, and hand over what is encrypted. */
  flush(): Promise<void> {
    return this.#locked(async () => {
      while (this.#mayEncrypt()) {
        const done = await this.#work((work) => encryptNext(work, (name) => this.#vault.get(name)));
        if (done === null) break;
      }
      await this.#sendAll();
    });
  }

  #mayEncrypt(): boolean {
    const { group, alarm, lastCommit, box } = this.#state;
    if (this.#link === null || group === null || alarm !== null || lastCommit < this.#staleUntil)
      return false;
    if (box.nextToEncrypt === null) return false;
    const view = new Work(this.#shared, this.id, this.#state, this.#book).view;
    if (view === null || leavesToRemove(view).length > 0) return false;
    // Who comes later could not read it: what is said to nobody waits.
    if (view.leaves.every((leaf) => leaf.user === this.#shared.account.user)) return false;
    try {
      checkFeatures(view.info);
      for (const { user } of view.info.participants) {
        const record = this.#shared.trust.get(user);
        if (record !== undefined) checkMaySend(record);
      }
      return true;
    } catch (error) {
      if (!(error instanceof CoachRelayError)) throw error;
      return false; // it waits in the outbox until that is settled
    }
  }

  async #sendAll(): Promise<void> {
    const link = this.#link;
    const { box, pending } = this.#state;
    if (link === null || this.#state.alarm !== null || box.toSend.length === 0) return;
    const frames: DeviceFrames["Append"][] = [];
    const work = new Work(this.#shared, this.id, this.#state, this.#book);
    for (const item of box.toSend) {
      const own = pending !== null && equal(item.id, pending.id) ? pending.body : await this.#bodyOf(item.id);
      frames.push(appendFrame(work, item, own));
    }
    // Not stored: on the next connection it counts as encrypted again in any case.
    this.#state = { ...this.#state, box: box.sent() };
    for (const frame of frames) link.send(frame);
  }

  async #bodyOf(id: Bytes): Promise<Bytes> {
    const stored = await this.#vault.get(`out/${this.id}/${hex(id)}`);
    const body = stored && parseWaiting(stored).body;
    if (body === null) throw new VaultCorrupt("A message that waits to be sent is missing.");
    return body;
  }

  /** A receipt, if one is owed and nothing else says the same by then. */
  async #planReceipt(): Promise<void> {
    const due = dueMs(this.#state.receipts, this.#environment.nowMs());
    if (due === null || this.#receiptPlanned) return;
    this.#receiptPlanned = true;
    await this.#environment.sleep(due - this.#environment.nowMs());
    this.#receiptPlanned = false;
    if (!this.#state.receipts.owed || this.#link === null || this.#state.group === null) return;
    await this.#step(async (work) => queue(work, receipt(), false));
    await this.flush();
  }

  // Letting in

  /** Create the group, or let in who waits, after those that stand before this device had their chance. */
  async #admit(): Promise<void> {
    if (this.#admitting) return;
    this.#admitting = true;
    try {
      await this.#admitOnce();
    } finally {
      this.#admitting = false;
    }
  }

  async #admitOnce(): Promise<void> {
    const work = new Work(this.#shared, this.id, this.#state, this.#book);
    const { view } = work;
    if (this.#waiting(work) === null) return;
    if (view !== null) {
      const places = placesBefore(view, this.#state.group?.ownLeaf ?? 0);
      await this.#environment.sleep(this.#environment.fraction() * WAIT_PER_PLACE_MS * places);
    }
    await this.#locked(async () => {
      const [link, engagement] = [this.#link, this.#engagement];
      const waiting = this.#waiting(new Work(this.#shared, this.id, this.#state, this.#book));
      if (link === null || engagement === null || waiting === null) return;
      const question = { frame: "ClaimKeyPackages", stream: this.id, devices: waiting } as const;
      const claimed = waiting.length > 0 ? (await link.ask(question, "KeyPackages")).packages : [];
      const refused = this.#refused;
      void this.#environment.sleep(REFUSED_MS).then(() => refused.clear());
      await this.#work((step) =>
        step.state.group === null
          ? create(step, engagement, claimed, refused)
          : admit(step, engagement, claimed, refused),
      );
      await this.#sendAll();
    });
  }

  /** The devices to claim key packages of; null if there is nothing to commit, or it cannot be done now. */
  #waiting(work: Work): ReturnType<typeof waitingDevices> | null {
    const { group, alarm, pending, box, lastCommit } = this.#state;
    if (this.#link === null || this.#engagement?.status !== "active" || alarm !== null) return null;
    if (pending !== null || box.late.size > 0 || lastCommit < this.#staleUntil) return null;
    const waiting = waitingDevices(work, this.#engagement, this.#refused);
    if (group === null) return this.#mayCreate && lastCommit === 0 ? waiting : null;
    const leaving = work.view === null ? [] : leavesToRemove(work.view);
    return waiting.length > 0 || leaving.length > 0 ? waiting : null;
  }

  // One after the other

  /** Work that nobody waits for; what the relay did not do, the next connection or change tries again. */
  #background(work: Promise<unknown>): void {
    work.catch((error: unknown) => {
      if (!(error instanceof RelayError)) this.#events.fault(error);
    });
  }

  get #book(): Book {
    return { byId: this.#byId, nextOrder: this.#nextOrder };
  }

  #locked<T>(action: () => Promise<T>): Promise<T> {
    const next = this.#queue.then(action);
    this.#queue = next.catch(() => undefined); // whoever asked has it
    return next;
  }

  #step<T>(action: (work: Work) => Promise<T>): Promise<T> {
    return this.#locked(() => this.#work(action));
  }

  /** A step in which an alarm stops what this device does here. */
  #alarming(action: (work: Work) => Promise<void>): Promise<void> {
    return this.#step(async (work) => {
      const before = work.state;
      try {
        await action(work);
      } catch (error) {
        if (!(error instanceof SecurityAlarm)) throw error;
        work.halt(error, before);
      }
    });
  }

  async #work<T>(action: (work: Work) => Promise<T> | T): Promise<T> {
    const work = new Work(this.#shared, this.id, this.#state, this.#book);
    const delivered = this.#deliveredTo;
    const result = await action(work);
    await this.#vault.write(work.writes);
    const before = this.#state;
    this.#state = work.state;
    work.settle();
    for (const one of work.stored.values()) {
      this.#byId.set(one.id, one);
      this.#nextOrder = Math.max(this.#nextOrder, one.order + 1);
    }
    this.#tell(work, before, delivered);
    return result;
  }

  #tell(work: Work, before: State, delivered: number): void {
    const now = this.#deliveredTo;
    const told = [...this.#byId.values()].filter(
      (one) => work.stored.has(one.id) || (one.mine && one.seq > delivered && one.seq <= now),
    );
    for (const one of told) this.#events.message(this.#shown(one));
    if (before.group?.epochAuthenticator !== this.#state.group?.epochAuthenticator) this.#events.changed();
    const { alarm } = this.#state;
    if (alarm !== null && alarm !== before.alarm)
      this.#events.alarm({ code: alarm.code, message: alarmText(alarm) });
  }

  #shown(one: Stored): Message {
    return messageOf(one, this.id, this.#deliveredTo);
  }

  /** Up to where somebody else has the conversation. */
  get #deliveredTo(): number {
    const own = this.#shared.account.user;
    const others = [...this.#state.peers.values()].filter(([user]) => user !== own);
    return Math.max(0, ...others.map(([, seq]) => seq));
  }
}

const OUT_OF_STEP =
  "This device cannot follow the conversation any more: the others went on without it. Nothing more is sent " +
  "from here. Open the conversation on another device, or update the page and reload it.";

export const alarmText = ({ code, evidence }: Raised): string =>
  code === "out_of_step" ? OUT_OF_STEP : alarmFrom(code, evidence).message;

/** Who is new cannot read what was said before: everybody tells them their name. */
function introduce(work: Work): void {
  if (work.shared.account.name === "" || work.state.group === null) return;
  try {
    queue(work, profile(work.shared.account.name), false);
  } catch (error) {
    if (!(error instanceof OutboxFull)) throw error; // the next newcomer occasions it again
  }
}

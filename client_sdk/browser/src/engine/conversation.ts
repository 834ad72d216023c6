/** One conversation on this device: steps one after the other, each stored before anything of it is said. */

import { SecurityAlarm } from "../alarms.ts";
import type { Item, Notice, Person, RoomState } from "../api.ts";
import type { Bytes } from "../bytes.ts";
import { hex, unhex } from "../bytes.ts";
import type { Amendment } from "../content/amending.ts";
import { retract } from "../content/amendments.ts";
import type { Content } from "../content/messages.ts";
import { receipt } from "../content/messages.ts";
import type { Receipts } from "../delivery/receipts.ts";
import { dueMs, NO_RECEIPTS, received as receiptFor, receiptSent } from "../delivery/receipts.ts";
import type { Environment } from "../environment.ts";
import { EngagementUnavailable, RelayError } from "../errors.ts";
import type { Manifest } from "../identity/manifest.ts";
import type { ConversationView } from "../identity/membership.ts";
import type { Packable } from "../msgpack.ts";
import type { Link } from "../transport/link.ts";
import type { Vault } from "../vault/vault.ts";
import type { Engagement, RelayFrame, RelayFrames } from "../wire/frames.ts";
import type { EngagementId } from "../wire/ids.ts";
import { Admissions } from "./admissions.ts";
import { checkAmendable, takeBack } from "./amending.ts";
import { refused, withdraw } from "./answers.ts";
import { isNews } from "./decisions.ts";
import type { Stored } from "./history.ts";
import type { Reach } from "./items.ts";
import { itemOf } from "./items.ts";
import { judgeOpened } from "./opening.ts";
import { isAway, missed } from "./outOfStep.ts";
import { itemsBefore, mineBetween, newestItems } from "./pages.ts";
import { peopleOf } from "./people.ts";
import { NewestBundles, take } from "./receiving.ts";
import { MOST_RESENT, rejoin, resendUnattested } from "./rejoining.ts";
import type { Queued } from "./sending.ts";
import { appendFrames, encryptNext, queue } from "./sending.ts";
import { alarmNotice, roomStateOf } from "./shown.ts";
import type { Situation } from "./situation.ts";
import { caughtUp, isEnded, mayCommit, mayEncrypt, viewOfState } from "./situation.ts";
import type { Raised, State } from "./state.ts";
import { NEW_STATE, parseState, phaseOf } from "./state.ts";
import type { Whisper } from "./whispers.ts";
import { Whispers } from "./whispers.ts";
import type { Shared } from "./work.ts";
import { findStored, Work } from "./work.ts";

const [RETRY_MS, LAST_RETRY_MS] = [1000, 30_000];
/** An honest relay begins to deliver what it has long before. */
const TAIL_MS = 20_000;
/** Entries that one transaction takes in: what a person says meanwhile does not wait for a whole window. */
const ENTRIES_A_STEP = 32;
export interface ConversationEvents {
  item(item: Item, stored: Stored): void;
  removed(id: string): void;
  changed(): void;
  alarm(alarm: Notice): void;
  whisper(whisper: Whisper): void;
  keyPackagesSpent(): void;
  /** The group is in another epoch: it may know a newer list of our devices than we do. */
  entered(view: ConversationView): Promise<void>;
  /** Something that nobody waits for failed. */
  fault(error: unknown): void;
}

export class Conversation {
  readonly id: EngagementId;
  readonly #shared: Shared;
  readonly #vault: Vault;
  readonly #environment: Environment;
  readonly #events: ConversationEvents;
  readonly #whispers: Whispers;
  readonly #admissions: Admissions;
  readonly #timers = new Set<string>();
  #state: State = NEW_STATE;
  #engagement: Engagement | null = null;
  #link: Link | null = null;
  #opened: RelayFrames["Opened"] | null = null;
  #newest = new NewestBundles();
  #tried = 0;
  #heardAt = 0;
  #neededCommit = 0;
  #stopped = "";
  #retries = 0;
  #retryAt = 0;
  #reads: Receipts = NO_RECEIPTS;
  #shown = "";
  #due = false;
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
    this.#whispers = new Whispers(id, vault, environment, shared.account.device);
    this.#admissions = new Admissions(this.#admitting());
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
    await made.#whispers.follow(made.#state.group, made.#state.highestEpoch);
    return made;
  }

  // What others look at

  get member(): boolean {
    return this.#state.group !== null;
  }

  get alarm(): Raised | null {
    return this.#state.alarm;
  }

  /** What is stored of it, for those parts of the engine that hand it on to other devices. */
  get stored(): State {
    return this.#state;
  }

  /** The people and devices of the group; null outside. */
  get view(): ConversationView | null {
    return viewOfState(this.#state);
  }

  get engagement(): Engagement | null {
    return this.#engagement;
  }

  get situation(): Situation {
    return {
      shared: this.#shared,
      state: this.#state,
      engagement: this.#engagement,
      online: this.#link !== null,
      opened: this.#opened,
      newest: this.#newest,
      stopped: this.#stopped,
      neededCommit: this.#neededCommit,
    };
  }

  /** An item of the history as it is stored; null if there is none. */
  find(id: string): Promise<Stored | null> {
    return findStored(this.#shared, this.id, id);
  }

  async item(id: string): Promise<Item | null> {
    const stored = await this.find(id);
    return stored && this.#itemOf(stored);
  }

  /** The history, oldest first: at most so many of the newest, or of those before an item. */
  async history(limit: number, before: string | null): Promise<readonly Item[]> {
    const found = await itemsBefore(this.#vault, this.id, limit, before);
    return found.map((stored) => this.#itemOf(stored));
  }

  get people(): readonly Person[] {
    return peopleOf(this.situation);
  }

  get roomState(): RoomState {
    return roomStateOf(this.situation);
  }

  /** Say something; resolves with the message's id when it is safe on this device. */
  async say(content: Content, options: Queued = {}): Promise<string> {
    this.#checkMaySay();
    const id = await this.step((work) => queue(work, content, options));
    this.wake();
    return hex(id);
  }

  /** Edit, take back or react; raises UsageError for what is not this person's to do. */
  async amend(what: Amendment): Promise<void> {
    checkAmendable(await this.find(hex(what.message)), what, this.#shared.account.user);
    await this.say(what);
  }

  /** Take back what this person said; what has never left this device is gone without a trace. */
  async retract(id: string): Promise<void> {
    if (await this.step((work) => takeBack(work, id))) {
      this.wake();
      return;
    }
    await this.amend(retract(unhex(id)));
  }

  /** This person has read everything up to an item. */
  async markRead(id: string): Promise<void> {
    const seq = (await this.find(id))?.seq ?? 0;
    if (seq <= this.#state.read) return;
    await this.step(async (work) => {
      const { cursor, read, readTold } = work.state;
      const upTo = Math.min(seq, cursor);
      // What is read while that is private is never told.
      const told = this.#shared.sharesReading ? readTold : upTo;
      if (upTo > read) work.change({ read: upTo, readTold: told });
    });
    this.wake();
    this.#events.changed();
  }

  /** The person's wish about read receipts has changed: what was not told until now is not told any more. */
  readReceiptsChanged(): Promise<void> {
    return this.step(async (work) =>
      work.change({ readTold: Math.max(work.state.read, work.state.readTold) }),
    );
  }

  /** Decide something about people or an alarm; the stream is delivered anew, as it may be read on now. */
  async decide<T>(action: (work: Work) => Promise<T>): Promise<T> {
    const decided = await this.step(action);
    this.#admissions.decided();
    await this.#reopen();
    this.#events.changed();
    return decided;
  }

  /**
   * Send an ephemeral message to the members that are there now: the authenticator of the epoch that it was sealed
   * under; null: it is lost, there is no connection.
   */
  async whisper(kind: string, body: ReadonlyMap<string, Packable>): Promise<Bytes | null> {
    return this.#locked(async () => {
      const sealed = await this.#whispers.seal(kind, body);
      if (this.#link === null || this.#opened === null) return null;
      this.#link.send({ frame: "Ephemeral", stream: this.id, body: sealed });
      return this.#state.group?.epochAuthenticator ?? null;
    });
  }

  // The connection

  /** Have the relay deliver the stream; raises RelayError. */
  async open(link: Link, engagement: Engagement | null): Promise<void> {
    this.#engagement = engagement ?? this.#engagement;
    this.#link = link;
    await this.#reopen();
  }

  async #reopen(): Promise<void> {
    const link = this.#link;
    if (link === null) return;
    const again = await this.#locked(async () => {
      const was = phaseOf(this.#state);
      const { cursor, lastCommit } = this.#state;
      // To rejoin, the newest commit once more, for its GroupInfo.
      const after = was === "rejoining" ? Math.max(lastCommit - 1, 0) : cursor;
      this.#opened = null;
      this.#newest = new NewestBundles();
      this.#tried = 0;
      const opened = await link.ask({ frame: "Open", stream: this.id, after }, "Opened");
      this.#stopped = await this.#work(async (work) => judgeOpened(work, opened) ?? this.#stopped);
      if (this.#state.alarm?.halted) return false;
      this.#opened = opened;
      this.#heardAt = this.#environment.nowMs();
      if (!caughtUp(this.situation)) this.#later("tail", TAIL_MS);
      return was === "member" && phaseOf(this.#state) === "rejoining";
    });
    if (again) await this.#reopen();
    else this.wake();
  }

  /** The connection is gone; what was not answered is sent again on the next one. */
  async disconnected(): Promise<void> {
    this.#link = null;
    this.#opened = null;
    this.#neededCommit = 0;
    this.#stopped = "";
    this.#retries = this.#retryAt = 0;
    await this.step(async (work) => work.change({ box: work.state.box.disconnected() }));
    this.#tellSituation();
  }

  /** The roster, or who waits, has changed. */
  changed(engagement: Engagement): void {
    this.#engagement = engagement;
    if (this.#stopped === "not_member") this.#stopped = "";
    this.accountChanged();
  }

  /** This person's device list, or what they are called, is another now. */
  accountChanged(): void {
    this.#events.changed();
    this.wake();
  }

  /** A frame of this stream. */
  async received(frame: RelayFrame): Promise<void> {
    if (frame.frame === "Entries") await this.#entries(frame);
    else if (frame.frame === "Appended") await this.#appended(frame);
    else if (frame.frame === "Refused") await this.#refused(frame);
    else if (frame.frame === "EphemeralFrom") {
      const heard = await this.#locked(() => this.#whispers.open(frame.body));
      for (const whisper of heard) this.#events.whisper(whisper);
    }
  }

  async #entries({ entries }: RelayFrames["Entries"]): Promise<void> {
    // They come right behind the answer to Open, which is being judged: behind that, not instead of it.
    if (!(await this.#locked(async () => this.#opened !== null))) return;
    this.#heardAt = this.#environment.nowMs();
    const was = phaseOf(this.#state);
    for (let at = 0; at < entries.length; at += ENTRIES_A_STEP) {
      const work = await this.step(async (step) => {
        for (const entry of entries.slice(at, at + ENTRIES_A_STEP)) await take(step, entry, this.#newest);
        if (!step.state.alarm?.halted && step.state.cursor >= (this.#opened?.head ?? 0)) {
          if (step.nowSeconds - step.state.currentAt >= 60) step.change({ currentAt: step.nowSeconds });
        }
        if (step.rejoined) resendUnattested(step, await newestItems(this.#vault, this.id, MOST_RESENT));
        return step;
      });
      if (work.keyPackagesSpent) this.#events.keyPackagesSpent();
    }
    this.#link?.send({ frame: "Ack", stream: this.id, seq: this.#state.cursor });
    if (this.#state.alarm?.halted) this.#opened = null;
    else if (was === "member" && phaseOf(this.#state) === "rejoining") await this.#reopen();
    this.wake();
  }

  #appended({ results }: RelayFrames["Appended"]): Promise<void> {
    this.#retries = this.#retryAt = 0;
    return this.#alarming(async (work) => {
      for (const { counter, seq } of results) work.change({ box: work.state.box.appended(counter, seq) });
    });
  }

  #refused(frame: RelayFrames["Refused"]): Promise<void> {
    return this.#alarming(async (work) => {
      const [box, action] = refused(work.state.box, frame);
      if (action === "discard" || action === "give_up" || action === "stop") {
        await withdraw(work, box, frame.code);
      } else work.change({ box });
      if (action === "encrypt_afresh" || action === "discard") {
        this.#neededCommit = Math.max(this.#neededCommit, frame.lastCommit);
      } else if (action === "stop") this.#stopped = frame.code;
      else if (action === "wait") {
        const wait = Math.min(LAST_RETRY_MS, RETRY_MS * 2 ** Math.min(this.#retries++, 5));
        this.#retryAt = this.#environment.nowMs() + wait;
      }
    });
  }

  // What follows

  /** Do whatever can be done now; what nobody waits for. */
  wake(): void {
    if (this.#due) return;
    this.#due = true;
    this.#locked(() => this.#goOn()).catch((error: unknown) => this.#fault(error));
  }

  #fault(error: unknown): void {
    if (!(error instanceof RelayError)) this.#events.fault(error); // the next connection tries it again
  }

  async #goOn(): Promise<void> {
    this.#due = false;
    await this.#giveUpTail();
    if (caughtUp(this.situation) && this.#state.alarm === null && this.#link !== null) {
      await this.#rejoinIfDue();
      await this.#receiptIfDue();
      await this.#pump();
      this.#admissions.wake();
    }
    this.#tellSituation();
  }

  /** Rejoin if what came while this device was away is erased: nothing of it will ever come. */
  async #giveUpTail(): Promise<void> {
    const opened = this.#opened;
    const waited = this.#environment.nowMs() - this.#heardAt;
    const member = phaseOf(this.#state) === "member" && this.#state.alarm === null;
    if (opened === null || !member || caughtUp(this.situation)) return;
    if (waited < TAIL_MS) {
      this.#later("tail", Math.max(1000, TAIL_MS - waited));
      return;
    }
    if (!isAway(this.#state, Math.floor(this.#environment.nowMs() / 1000))) return;
    await this.#work(async (work) => missed(work, opened.head + 1));
    this.#reopen().catch((error: unknown) => this.#fault(error));
  }

  async #rejoinIfDue(): Promise<void> {
    const [newest, opened] = [this.#newest, this.#opened];
    const due = phaseOf(this.#state) === "rejoining" && newest.seq > this.#tried;
    const unanswered = this.#state.box.items.some((item) => item.state === "sent");
    if (!due || unanswered || opened === null) return;
    this.#tried = newest.seq;
    await this.#work(async (work) => {
      for (const groupInfo of newest.groupInfos) {
        if (await rejoin(work, groupInfo, opened.lastCounter)) break;
      }
    });
  }

  /** A receipt, if one is owed and nothing else says the same. */
  async #receiptIfDue(): Promise<void> {
    if (this.#state.box.items.length > 0 || !mayEncrypt(this.situation)) return;
    const now = this.#environment.nowMs();
    const { read, readTold, receipts } = this.#state;
    this.#reads = read > readTold ? receiptFor(this.#reads, false) : { ...this.#reads, owed: false };
    const due = [dueMs(receipts, now), dueMs(this.#reads, now)].filter((at) => at !== null);
    for (const at of due) if (at > now) this.#later("receipt", at - now);
    if (!due.some((at) => at <= now)) return;
    if (read > readTold) this.#reads = receiptSent(now);
    await this.#work(async (work) => {
      work.change({ readTold: Math.max(readTold, read) });
      await queue(work, receipt(read > readTold ? read : null), { quiet: true });
    });
  }

  /** Encrypt what may be encrypted, and hand over what is. */
  async #pump(): Promise<void> {
    const { nextToEncrypt, toSend } = this.#state.box;
    const encrypts = nextToEncrypt !== null && mayEncrypt(this.situation);
    if (!encrypts && toSend.length === 0) return;
    if (this.#stopped !== "" || isEnded(this.situation)) return;
    const wait = this.#retryAt - this.#environment.nowMs();
    if (wait > 0) {
      this.#later("retry", wait);
      return;
    }
    if (encrypts) {
      await this.#work(async (work) => {
        while ((await encryptNext(work)) !== null);
      });
    }
    await this.#handOver();
  }

  async #handOver(): Promise<void> {
    const link = this.#link;
    if (link === null || this.#state.alarm !== null) return;
    const frames = await appendFrames(new Work(this.#shared, this.id, this.#state));
    // Not stored: on the next connection it counts as encrypted again in any case.
    this.#state = { ...this.#state, box: this.#state.box.sent() };
    link.send(...frames);
  }

  #checkMaySay(): void {
    if (this.#state.alarm !== null)
      throw new SecurityAlarm(this.#state.alarm.code, this.#state.alarm.evidence);
    if (isEnded(this.situation)) {
      throw new EngagementUnavailable("The engagement has ended: nothing more can be said in it.");
    }
  }

  #admitting(): ConstructorParameters<typeof Admissions>[0] {
    const of = this;
    return {
      get situation() {
        return of.situation;
      },
      get claiming() {
        const [link, engagement] = [of.#link, of.#engagement];
        if (link === null || engagement === null) return null;
        return {
          id: of.id,
          shared: of.#shared,
          state: of.#state,
          engagement,
          ask: ((question, answer) => link.ask(question, answer)) as Link["ask"],
          alarm: (alarm: SecurityAlarm, manifest: Manifest) =>
            of.step(async (work) => {
              if (await isNews(work, manifest)) work.raise(alarm);
            }),
        };
      },
      commit: (afterCommit, make) =>
        of.#locked(async () => {
          if (!mayCommit(of.situation) || of.#state.lastCommit !== afterCommit) return;
          await of.#work(make);
          await of.#handOver();
        }),
      sleep: (ms) => of.#environment.sleep(ms),
      fraction: () => of.#environment.fraction(),
      nowMs: () => of.#environment.nowMs(),
      fault: (error) => of.#events.fault(error),
    };
  }

  /** Go on after so many milliseconds, unless that is arranged already. */
  #later(name: string, ms: number): void {
    if (this.#timers.has(name)) return;
    this.#timers.add(name);
    void this.#environment.sleep(ms).then(() => {
      this.#timers.delete(name);
      this.wake();
    });
  }

  // One after the other

  #locked<T>(action: () => Promise<T>): Promise<T> {
    const next = this.#queue.then(action);
    this.#queue = next.catch(() => undefined); // whoever asked has it
    return next;
  }

  /** One change: durable when this resolves, or it did not happen. */
  step<T>(action: (work: Work) => Promise<T>): Promise<T> {
    return this.#locked(() => this.#work(action));
  }

  /** A step about an answer of the relay, in which an alarm stops sending; then whatever follows. */
  async #alarming(action: (work: Work) => Promise<void>): Promise<void> {
    await this.step(async (work) => {
      const before = work.state;
      try {
        await action(work);
      } catch (error) {
        if (!(error instanceof SecurityAlarm)) throw error;
        work.state = before;
        work.raise(error);
      }
    });
    this.wake();
  }

  async #work<T>(action: (work: Work) => Promise<T> | T): Promise<T> {
    const work = new Work(this.#shared, this.id, this.#state);
    const before = this.#state;
    const reach = this.#reach;
    const result = await action(work);
    await this.#vault.write(work.writes);
    this.#state = work.state;
    work.settle();
    const heard = await this.#whispers.follow(this.#state.group, this.#state.highestEpoch);
    await this.#tell(work, before, reach);
    for (const whisper of heard) this.#events.whisper(whisper);
    return result;
  }

  async #tell(work: Work, before: State, reach: Reach): Promise<void> {
    for (const [id, stored] of work.changed) {
      if (stored === null) this.#events.removed(id);
      else this.#events.item(this.#itemOf(stored), stored);
    }
    const { delivered, read } = this.#reach;
    for (const [from, to] of [
      [reach.delivered, delivered],
      [reach.read, read],
    ] as const) {
      if (to <= from) continue;
      for (const stored of await mineBetween(this.#vault, this.id, from, to)) {
        if (!work.changed.has(stored.id)) this.#events.item(this.#itemOf(stored), stored);
      }
    }
    const { alarm, group } = this.#state;
    if (alarm !== null && alarm !== before.alarm) this.#events.alarm(alarmNotice(alarm, this.#shared.names));
    if (before.highestEpoch === this.#state.highestEpoch && (before.group === null) === (group === null))
      return;
    this.#events.changed();
    const { view } = work;
    // Not waited for: it takes steps of its own.
    if (view !== null) this.#events.entered(view).catch((error: unknown) => this.#events.fault(error));
  }

  /** Tell the page when why something waits, or what it may do, is another than before. */
  #tellSituation(): void {
    const { member, ended, caughtUp: whole, waiting } = this.roomState;
    const shown = [member, ended, whole, waiting?.code].join();
    if (shown === this.#shown) return;
    this.#shown = shown;
    this.#events.changed();
  }

  #itemOf(stored: Stored): Item {
    return itemOf(stored, this.id, this.#reach);
  }

  /** Up to where somebody else has the conversation, and has read it as far as they tell. */
  get #reach(): Reach {
    const own = this.#shared.account.user;
    const others = [...this.#state.peers.values()].filter(([user]) => user !== own);
    const reads = this.#shared.sharesReading ? [...this.#state.reads.values()] : [];
    return {
      delivered: Math.max(0, ...others.map(([, seq]) => seq)),
      read: Math.max(0, ...reads),
    };
  }
}

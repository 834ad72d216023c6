/** One conversation on this device: what a person does in it, and what others look at. */

import { SecurityAlarm } from "../alarms.ts";
import type { Item, Person, RoomState } from "../api.ts";
import type { Bytes } from "../bytes.ts";
import { hex, unhex } from "../bytes.ts";
import type { Amendment } from "../content/amending.ts";
import { retract } from "../content/amendments.ts";
import type { Content } from "../content/messages.ts";
import type { Environment } from "../environment.ts";
import { EngagementUnavailable } from "../errors.ts";
import type { ConversationView } from "../identity/membership.ts";
import type { Packable } from "../msgpack.ts";
import type { Link } from "../transport/link.ts";
import type { Vault } from "../vault/vault.ts";
import type { Engagement, RelayFrame } from "../wire/frames.ts";
import type { EngagementId } from "../wire/ids.ts";
import type { Admitting } from "./admissions.ts";
import { Admissions } from "./admissions.ts";
import { checkAmendable, takeBack } from "./amending.ts";
import type { Claiming } from "./claiming.ts";
import { isNews } from "./decisions.ts";
import { Duties } from "./duties.ts";
import type { ConversationEvents } from "./events.ts";
import type { Stored } from "./history.ts";
import { itemsBefore } from "./pages.ts";
import { peopleOf } from "./people.ts";
import type { Queued } from "./sending.ts";
import { queue } from "./sending.ts";
import { roomStateOf } from "./shown.ts";
import type { Situation } from "./situation.ts";
import { isEnded, mayCommit, viewOfState } from "./situation.ts";
import type { Raised, State } from "./state.ts";
import { Steps } from "./steps.ts";
import { Stream } from "./stream.ts";
import { Telling } from "./telling.ts";
import { Whispers } from "./whispers.ts";
import type { Shared, Work } from "./work.ts";
import { findStored } from "./work.ts";

export class Conversation {
  readonly id: EngagementId;
  readonly #shared: Shared;
  readonly #vault: Vault;
  readonly #environment: Environment;
  readonly #events: ConversationEvents;
  readonly #whispers: Whispers;
  readonly #telling: Telling;
  readonly #steps: Steps;
  readonly #stream: Stream;
  readonly #admissions: Admissions;
  readonly #duties: Duties;

  private constructor(
    id: EngagementId,
    shared: Shared,
    vault: Vault,
    environment: Environment,
    events: ConversationEvents,
    whispers: Whispers,
    telling: Telling,
    steps: Steps,
  ) {
    this.id = id;
    this.#shared = shared;
    this.#vault = vault;
    this.#environment = environment;
    this.#events = events;
    this.#whispers = whispers;
    this.#telling = telling;
    this.#steps = steps;
    this.#stream = new Stream(id, shared, steps, environment, events, () => this.wake());
    this.#admissions = new Admissions(this.#admitting());
    const fault = (error: unknown) => events.fault(error);
    this.#duties = new Duties(steps, this.#stream, this.#admissions, telling, environment, fault);
  }

  /** What this device has of the conversation; raises VaultCorrupt or RecordInvalid. */
  static async load(
    id: EngagementId,
    shared: Shared,
    vault: Vault,
    environment: Environment,
    events: ConversationEvents,
  ): Promise<Conversation> {
    const whispers = new Whispers(id, vault, environment, shared.account.device);
    const telling = new Telling(id, shared, vault, events);
    const steps = await Steps.load(id, shared, vault, whispers, telling);
    return new Conversation(id, shared, vault, environment, events, whispers, telling, steps);
  }

  // What others look at

  get member(): boolean {
    return this.stored.group !== null;
  }

  get alarm(): Raised | null {
    return this.stored.alarm;
  }

  /** What is stored of it, for those parts of the engine that hand it on to other devices. */
  get stored(): State {
    return this.#steps.state;
  }

  /** The people and devices of the group; null outside. */
  get view(): ConversationView | null {
    return viewOfState(this.stored);
  }

  get engagement(): Engagement | null {
    return this.situation.engagement;
  }

  get situation(): Situation {
    return this.#stream.situation;
  }

  /** An item of the history as it is stored; null if there is none. */
  find(id: string): Promise<Stored | null> {
    return findStored(this.#shared, this.id, id);
  }

  async item(id: string): Promise<Item | null> {
    const stored = await this.find(id);
    return stored && this.#telling.itemOf(stored, this.stored);
  }

  /** The history, oldest first: at most so many of the newest, or of those before an item. */
  async history(limit: number, before: string | null): Promise<readonly Item[]> {
    const found = await itemsBefore(this.#vault, this.id, limit, before);
    return found.map((stored) => this.#telling.itemOf(stored, this.stored));
  }

  get people(): readonly Person[] {
    return peopleOf(this.situation);
  }

  get roomState(): RoomState {
    return roomStateOf(this.situation);
  }

  // What a person does

  /** Say something; resolves with the message's id when it is safe on this device. */
  async say(content: Content, options: Queued = {}): Promise<string> {
    this.#checkMaySay();
    const id = await this.step((work) => queue(work, content, options));
    this.wake();
    return hex(id);
  }

  #checkMaySay(): void {
    if (this.alarm !== null) throw new SecurityAlarm(this.alarm.code, this.alarm.evidence);
    if (isEnded(this.situation)) {
      throw new EngagementUnavailable("The engagement has ended: nothing more can be said in it.");
    }
  }

  /** Edit, take back or react; raises UsageError for what is not this person's to do. */
  async amend(what: Amendment): Promise<void> {
    checkAmendable(await this.find(hex(what.message)), what, this.#shared.account.user);
    await this.say(what);
  }

  /** Take back what this person said; what has never left this device is gone without a trace. */
  async retract(id: string): Promise<void> {
    if (await this.step((work) => takeBack(work, id))) this.wake();
    else await this.amend(retract(unhex(id)));
  }

  /** This person has read everything up to an item. */
  async markRead(id: string): Promise<void> {
    const seq = (await this.find(id))?.seq ?? 0;
    if (seq <= this.stored.read) return;
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
    await this.#stream.reopen();
    this.#events.changed();
    return decided;
  }

  /**
   * Send an ephemeral message to the members that are there now: the authenticator of the epoch that it was sealed
   * under; null: it is lost, there is no connection.
   */
  async whisper(kind: string, body: ReadonlyMap<string, Packable>): Promise<Bytes | null> {
    return this.#steps.locked(async () => {
      const sealed = await this.#whispers.seal(kind, body);
      const { link, situation } = this.#stream;
      if (link === null || situation.opened === null) return null;
      link.send({ frame: "Ephemeral", stream: this.id, body: sealed });
      return this.stored.group?.epochAuthenticator ?? null;
    });
  }

  /** One change: durable when this resolves, or it did not happen. */
  step<T>(action: (work: Work) => Promise<T>): Promise<T> {
    return this.#steps.step(action);
  }

  /** Do whatever can be done now; what nobody waits for. */
  wake(): void {
    this.#duties.wake();
  }

  // What the connection brings

  /** Have the relay deliver the stream; raises RelayError. */
  open(link: Link, engagement: Engagement | null): Promise<void> {
    return this.#stream.open(link, engagement);
  }

  /** The connection is gone; what was not answered is sent again on the next one. */
  async disconnected(): Promise<void> {
    await this.#stream.disconnected();
    this.#telling.situation(this.situation);
  }

  /** The roster, or who waits, has changed. */
  changed(engagement: Engagement): void {
    this.#stream.changed(engagement);
    this.accountChanged();
  }

  /** This person's device list, or what they are called, is another now. */
  accountChanged(): void {
    this.#events.changed();
    this.wake();
  }

  /** A frame of this stream; `isOver` as the link tells it. */
  async received(frame: RelayFrame, isOver: () => boolean): Promise<void> {
    if (frame.frame !== "EphemeralFrom") return this.#stream.received(frame, isOver);
    this.#telling.whispers(await this.#steps.locked(() => this.#whispers.open(frame.body)));
  }

  // Letting devices in

  #admitting(): Admitting {
    const [of, stream, steps, environment] = [this, this.#stream, this.#steps, this.#environment];
    return {
      get situation() {
        return stream.situation;
      },
      get claiming() {
        return of.#claiming();
      },
      commit: (afterCommit, make) =>
        steps.locked(async () => {
          if (!mayCommit(stream.situation) || steps.state.lastCommit !== afterCommit) return;
          await steps.work(make);
          await stream.handOver();
        }),
      sleep: (ms) => environment.sleep(ms),
      fraction: () => environment.fraction(),
      nowMs: () => environment.nowMs(),
      fault: (error) => of.#events.fault(error),
    };
  }

  #claiming(): Claiming | null {
    const { link, situation } = this.#stream;
    const { shared, state, engagement } = situation;
    if (link === null || engagement === null) return null;
    return {
      ...{ id: this.id, shared, state, engagement },
      ask: ((question, answer) => link.ask(question, answer)) as Link["ask"],
      alarm: (alarm, manifest) =>
        this.step(async (work) => {
          if (await isNews(work, manifest)) work.raise(alarm);
        }),
    };
  }
}

/** The stream of one conversation on the present connection: opened, taken in, and its answers to what we append. */

import { equal } from "../bytes.ts";
import type { Environment } from "../environment.ts";
import type { Link } from "../transport/link.ts";
import type { Engagement, Entry, RelayFrame, RelayFrames } from "../wire/frames.ts";
import type { EngagementId } from "../wire/ids.ts";
import { Retry, refused, withdraw, withoutBlobs } from "./answers.ts";
import type { ConversationEvents } from "./events.ts";
import { Incarnations } from "./incarnations.ts";
import { judgeOpened } from "./opening.ts";
import { mineBackTo } from "./pages.ts";
import { NewestBundles, take } from "./receiving.ts";
import { MOST_RESENT, resend } from "./rejoining.ts";
import type { Situation } from "./situation.ts";
import { asMember } from "./situation.ts";
import { phaseOf } from "./state.ts";
import type { Steps } from "./steps.ts";
import type { Shared, Work } from "./work.ts";

/** Entries that one transaction takes in: what a person says meanwhile does not wait for a whole window. */
const ENTRIES_A_STEP = 32;

type Opened = RelayFrames["Opened"];

export class Stream {
  readonly #id: EngagementId;
  readonly #shared: Shared;
  readonly #steps: Steps;
  readonly #environment: Environment;
  readonly #events: ConversationEvents;
  readonly #wake: () => void;
  readonly #incarnations: Incarnations;
  readonly #retry = new Retry();
  #link: Link | null = null;
  #engagement: Engagement | null = null;
  #opened: Opened | null = null;
  #newest = new NewestBundles();
  #heardAt = 0;
  #neededCommit = 0;
  #stopped = "";

  /** `wake` is called when something may follow of what came. */
  constructor(
    id: EngagementId,
    shared: Shared,
    steps: Steps,
    environment: Environment,
    events: ConversationEvents,
    wake: () => void,
  ) {
    this.#id = id;
    this.#shared = shared;
    this.#steps = steps;
    this.#environment = environment;
    this.#events = events;
    this.#wake = wake;
    this.#incarnations = new Incarnations(id, (action) => steps.work(action), events.restored);
  }

  // What others look at

  get link(): Link | null {
    return this.#link;
  }

  get situation(): Situation {
    return {
      shared: this.#shared,
      state: this.#steps.state,
      engagement: this.#engagement,
      online: this.#link !== null,
      opened: this.#opened,
      newest: this.#newest,
      stopped: this.#stopped,
      neededCommit: this.#neededCommit,
    };
  }

  /** For how long nothing has come. */
  get quietMs(): number {
    return this.#environment.nowMs() - this.#heardAt;
  }

  /** How long nothing is to be appended, as the relay could not take it just now. */
  get patienceMs(): number {
    return this.#retry.waitMs(this.#environment.nowMs());
  }

  // The connection

  /** Have the relay deliver the stream; raises RelayError. */
  async open(link: Link, engagement: Engagement | null): Promise<void> {
    this.#engagement = engagement ?? this.#engagement;
    this.#link = link;
    await this.reopen();
  }

  /** Have it delivered anew, if there is a connection; raises RelayError. */
  async reopen(): Promise<void> {
    const link = this.#link;
    if (link === null) return;
    while (await this.#steps.locked(() => this.#openOnce(link)));
    this.#wake();
  }

  /** Whether it has to be asked for once more, from elsewhere. */
  async #openOnce(link: Link): Promise<boolean> {
    const was = phaseOf(this.#steps.state);
    const { cursor, lastCommit, incarnation } = this.#steps.state;
    // To rejoin, the newest commit once more, for its GroupInfo.
    const after = was === "rejoining" ? Math.max(lastCommit - 1, 0) : cursor;
    this.#close();
    this.#newest = new NewestBundles();
    const opened = await link.ask({ frame: "Open", stream: this.#id, after }, "Opened");
    if (incarnation !== null && !equal(incarnation, opened.incarnation)) {
      return this.#incarnations.meet(link, opened);
    }
    this.#stopped = await this.#steps.work(async (work) => judgeOpened(work, opened) ?? this.#stopped);
    if (this.#steps.state.alarm?.halted) return false;
    this.#opened = opened;
    this.#heardAt = this.#environment.nowMs();
    return was === "member" && phaseOf(this.#steps.state) === "rejoining";
  }

  #close(): void {
    this.#opened = null;
    this.#incarnations.forget();
  }

  /** The connection is gone; what was not answered is sent again on the next one. */
  async disconnected(): Promise<void> {
    this.#link = null;
    this.#close();
    this.#neededCommit = 0;
    this.#stopped = "";
    this.#retry.succeeded();
    await this.#steps.step(async (work) => work.change({ box: work.state.box.disconnected() }));
  }

  /** The roster, or who waits, has changed. */
  changed(engagement: Engagement): void {
    this.#engagement = engagement;
    if (this.#stopped === "not_member") this.#stopped = "";
  }

  /** A frame of this stream; `isOver` as the link tells it. */
  async received(frame: RelayFrame, isOver: () => boolean): Promise<void> {
    if (frame.frame === "Entries") await this.#entries(frame.entries, isOver);
    else if (frame.frame === "Appended") await this.#appended(frame);
    else if (frame.frame === "Refused") await this.#refused(frame);
  }

  // Entries

  async #entries(entries: readonly Entry[], isOver: () => boolean): Promise<void> {
    // They come right behind the answer to Open, which is being judged: behind that, not instead of it.
    const compare = async () => !isOver() && this.#incarnations.compare(this.#link, entries);
    if (await this.#steps.locked(compare)) await this.reopen();
    else if (this.#opened !== null && !isOver()) await this.#takeIn(entries, isOver);
  }

  async #takeIn(entries: readonly Entry[], isOver: () => boolean): Promise<void> {
    this.#heardAt = this.#environment.nowMs();
    const was = phaseOf(this.#steps.state);
    for (let at = 0; at < entries.length; at += ENTRIES_A_STEP) {
      const spent = await this.#steps.step(async (work) => {
        if (this.#opened === null || isOver()) return false;
        if (was === "repairing" || was === "member") this.#asMember(this.#opened, entries);
        await this.#takeSome(work, entries.slice(at, at + ENTRIES_A_STEP), this.#opened);
        return work.keyPackagesSpent;
      });
      if (spent) this.#events.keyPackagesSpent();
    }
    const { state } = this.#steps;
    this.#link?.send({ frame: "Ack", stream: this.#id, seq: state.cursor });
    if (state.alarm?.halted) this.#opened = null;
    else if (["member", "repairing"].includes(was) && phaseOf(state) === "rejoining") await this.reopen();
    this.#wake();
  }

  #asMember(opened: Opened, entries: readonly Entry[]): void {
    this.#opened = asMember(opened, entries);
    // Only members are handed entries: a refusal from before, late as it may come, does not count now.
    if (this.#stopped === "not_member") this.#stopped = "";
  }

  async #takeSome(work: Work, entries: readonly Entry[], opened: Opened): Promise<void> {
    for (const entry of entries) await take(work, entry, this.#newest, opened);
    if (!work.state.alarm?.halted && work.state.cursor >= opened.head) {
      if (work.nowSeconds - work.state.currentAt >= 60) work.change({ currentAt: work.nowSeconds });
    }
    const behind = work.resendAfter;
    if (behind === null) return;
    resend(work, await mineBackTo(work.shared.pages, this.#id, behind, MOST_RESENT), behind);
  }

  // What we append

  /** Hand over what is encrypted; whoever calls has locked the steps. */
  async handOver(): Promise<void> {
    const link = this.#link;
    if (link === null || this.#steps.state.alarm !== null) return;
    link.send(...(await this.#steps.appends()));
  }

  async #appended({ results }: RelayFrames["Appended"]): Promise<void> {
    this.#retry.succeeded();
    await this.#steps.alarming(async (work) => {
      for (const { counter, seq } of results) work.change({ box: work.state.box.appended(counter, seq) });
    });
    this.#wake();
  }

  async #refused(frame: RelayFrames["Refused"]): Promise<void> {
    await this.#steps.alarming(async (work) => {
      const lost = frame.code === "blob_not_found" && (await withoutBlobs(work, frame.counter));
      const about = lost ? { ...frame, code: "internal" } : frame;
      const [box, action] = refused(work.state.box, about, phaseOf(work.state) === "repairing");
      if (box.items.length < work.state.box.items.length) await withdraw(work, box);
      else work.change({ box });
      if (action === "encrypt_afresh" || action === "discard") {
        this.#neededCommit = Math.max(this.#neededCommit, frame.lastCommit);
      } else if (action === "stop") this.#stopped = frame.code;
      else if (action === "wait" || action === "discard_and_wait")
        this.#retry.later(this.#environment.nowMs());
    });
    this.#wake();
  }
}

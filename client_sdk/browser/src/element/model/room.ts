/** What the interface knows of one conversation, and the ways to act on it; elements follow it. */

import type {
  CallApi,
  Device,
  Item,
  Notice,
  Person,
  RelayApi,
  Ring,
  RoomApi,
  RoomState,
  Transfer,
} from "../../api.ts";
import { personName, shownName } from "../format.ts";
import { words } from "../words.ts";
import { Draft } from "./draft.ts";
import { History } from "./history.ts";
import { Observable } from "./observable.ts";
import { Previews } from "./previews.ts";
import { announcement } from "./sentences.ts";

/** Somebody who typed and then closed the page is not typing for ever. */
const TYPING_MS = 8_000;
/** While the device is behind, how it stands is looked at again. */
const LOOK_AGAIN_MS = 1_500;
/** So many looks in a row before it is said: catching up mostly takes less than a moment. */
const LOOKS = 2;
/** A call that ended as calls do needs no click. */
const CALL_OVER_MS = 3_000;
/** A notice that a person need not act on goes by itself. */
const TOAST_MS = 8_000;
const MOST_FILES = 10;

export interface Question {
  readonly title: string;
  readonly text: string;
  readonly yes: string;
  readonly no?: string;
  readonly danger?: boolean;
  readonly decide: (yes: boolean) => void;
}

/** Which dialog is open, and what about. */
export type Open =
  | { readonly what: "verify"; readonly user: string }
  | { readonly what: "kit" | "addDevice" | "checkIn" | "trend" }
  | { readonly what: "image"; readonly item: Item };

/** What the composer does: say something new, answer, or change what was said. */
export type Writing = { readonly replyTo?: Item; readonly editing?: Item };

export class Room extends Observable {
  readonly relay: RelayApi;
  readonly api: RoomApi;
  readonly history: History;
  readonly previews: Previews;
  readonly draft: Draft;
  state: RoomState | null = null;
  people: readonly Person[] = [];
  devices: readonly Device[] = [];
  transfers: readonly Transfer[] = [];
  typing: readonly string[] = [];
  /** Who types, said aloud once until they have said something: they stop and go on many times. */
  typingSaid = "";
  online: boolean;
  /** It was online since this was opened: before that it is connecting, not offline. */
  wasOnline: boolean;
  offline: Notice | null = null;
  otherTab = false;
  failed: Notice | null = null;
  kitDue = false;
  kitLater = false;
  ring: Ring | null = null;
  call: CallApi | null = null;
  toast: Notice | null = null;
  announced = "";
  question: Question | null = null;
  open: Open | null = null;
  panel = false;
  writing: Writing = {};
  staged: readonly File[] = [];
  /** Changed identities about which the person said "not now". */
  later: ReadonlySet<string> = new Set();
  readonly #leave: (() => void)[] = [];
  readonly #typingTold = new Set<string>();
  readonly #typingEnds = new Map<string, ReturnType<typeof setTimeout>>();
  #toastEnds: ReturnType<typeof setTimeout> | undefined;
  #happened: (what: { type: "joined" | "left"; call: string } | { type: "knock"; user: string }) => void;
  readonly #knocked = new Set<string>();
  /** How often in a row the device was seen behind. */
  #behind = 0;
  #closed = false;
  #lookAgain: ReturnType<typeof setTimeout> | undefined;
  #callOver: ReturnType<typeof setTimeout> | undefined;
  /** What rings besides, the first one first. */
  #ringing: Ring[] = [];
  readonly #stillRings = new Set<Ring>();
  #answering = false;

  constructor(relay: RelayApi, api: RoomApi, happened: Room["happened"] = () => undefined) {
    super();
    this.relay = relay;
    this.api = api;
    this.history = new History(api);
    this.previews = new Previews(api);
    this.draft = new Draft(api, () =>
      this.say({ code: "draft", message: words.composer.draftNotKept }, true),
    );
    this.online = relay.online;
    this.wasOnline = relay.online;
    this.#happened = happened;
    this.#listen();
  }

  get happened() {
    return this.#happened;
  }

  get others(): readonly Person[] {
    return this.people.filter((person) => !person.me && !person.waitsForAdmission);
  }

  /** What the other side is called: one name, or several. */
  get otherNames(): string {
    return this.others.map((person) => personName(person)).join(", ") || words.someone;
  }

  /** The same in the middle of a sentence. */
  get otherNamesWithin(): string {
    return (
      this.others.map((person) => personName(person, words.unnamedWithin)).join(", ") || words.someoneWithin
    );
  }

  get whoTypes(): string {
    return words.history.typing(this.typing.map((user) => this.nameOf(user)));
  }

  /** Whose key has changed and waits for a decision. */
  get changedPerson(): Person | undefined {
    const named = this.state?.alarm?.code === "identity_changed" ? this.state.alarm.user : undefined;
    return this.people.find(
      (person) => person.trust === "changed" || (named !== undefined && person.user === named),
    );
  }

  /** Something waits for this person's decision: what can wait, does. */
  get asksAlready(): boolean {
    const { ring, call, question, changedPerson, state, people } = this;
    return (
      [ring, call, question].some((one) => one !== null) ||
      changedPerson !== undefined ||
      Boolean(state?.alarm) ||
      people.some((person) => person.waitsForAdmission)
    );
  }

  person(user: string): Person | undefined {
    return this.people.find((person) => person.user === user);
  }

  nameOf(user: string): string {
    if (user === this.relay.me.user) return words.you;
    const person = this.person(user);
    return person === undefined ? words.someone : personName(person);
  }

  async load(): Promise<void> {
    await this.refresh();
    await this.attempt(() => this.history.load(this.state?.readTo ?? 0));
    await this.#resume();
    this.kitDue = (await this.attempt(() => this.relay.recoveryKitDue())) ?? false;
    this.changed();
  }

  /** Go on with what was being written when the page was last closed. */
  async #resume(): Promise<void> {
    const own = [...this.history.items()].findLast((item) => item.mine && item.kind === "text");
    await this.attempt(() => this.draft.load(own?.kind === "text" ? own.text : undefined));
    const { replyTo } = this.draft;
    const about = replyTo === null ? null : await this.attempt(() => this.api.item(replyTo));
    if (about && this.writing.editing === undefined) this.writing = { replyTo: about };
    this.changed();
  }

  /** People, devices and state anew. */
  async refresh(): Promise<void> {
    await this.attempt(async () => {
      const [state, people, devices, transfers] = await Promise.all([
        this.api.state(),
        this.api.people(),
        this.relay.devices(),
        this.api.transfers(),
      ]);
      Object.assign(this, { state, people, devices, transfers });
    });
    this.#knock();
    this.#watchWaiting();
    this.changed();
  }

  /** It has been getting what came meanwhile for longer than a moment. */
  get catchesUp(): boolean {
    return this.#behind >= LOOKS;
  }

  #watchWaiting(): void {
    clearTimeout(this.#lookAgain);
    const { state } = this;
    const behind = state?.member === true && !state.ended && !state.caughtUp;
    this.#behind = behind ? this.#behind + 1 : 0;
    if (!this.#closed && (behind || state?.waiting))
      this.#lookAgain = setTimeout(() => void this.refresh(), LOOK_AGAIN_MS);
  }

  /** Do something that may fail: what went wrong is told as a sentence, and undefined comes back. */
  async attempt<T>(action: () => Promise<T>): Promise<T | undefined> {
    try {
      return await action();
    } catch (error) {
      this.say(noticeOf(error), true);
      return undefined;
    }
  }

  /** Show a notice for a while; one of a failure until it is dismissed. */
  say(notice: Notice, stays = false): void {
    clearTimeout(this.#toastEnds);
    this.toast = notice;
    if (!stays) this.#toastEnds = setTimeout(() => this.unsay(), TOAST_MS);
    this.changed();
  }

  unsay(): void {
    clearTimeout(this.#toastEnds);
    this.toast = null;
    this.changed();
  }

  /** Ask before something that cannot be undone. */
  ask(question: Omit<Question, "decide">): Promise<boolean> {
    this.question?.decide(false);
    return new Promise((resolve) => {
      this.set({
        question: {
          ...question,
          decide: (yes) => {
            this.set({ question: null });
            resolve(yes);
          },
        },
      });
    });
  }

  /** Change what is shown. */
  set(
    change: Partial<
      Pick<Room, "question" | "open" | "panel" | "writing" | "later" | "kitLater" | "ring" | "kitDue">
    >,
  ): void {
    Object.assign(this, change);
    this.#ringNext();
    this.changed();
  }

  stage(files: Iterable<File>): void {
    const given = [...files];
    const empty = given.find((file) => file.size === 0);
    if (empty !== undefined)
      this.say({ code: "empty", message: words.composer.empty(shownName(empty.name)) });
    const all = [...this.staged, ...given.filter((file) => file.size > 0)];
    if (all.length > MOST_FILES) this.say({ code: "many", message: words.composer.tooMany(MOST_FILES) });
    this.staged = all.slice(0, MOST_FILES);
    this.changed();
  }

  unstage(file: File | null): void {
    this.staged = file === null ? [] : this.staged.filter((one) => one !== file);
    this.changed();
  }

  async startCall(video: boolean): Promise<void> {
    if (this.call !== null) return;
    const call = await this.attempt(() => this.api.call({ video }));
    if (call !== undefined) this.join(call);
  }

  async answer(ring: Ring, video: boolean): Promise<void> {
    this.#answering = true;
    this.set({ ring: null });
    const call = await this.attempt(() => ring.accept({ video }));
    this.#answering = false;
    if (call !== undefined) return this.join(call);
    if (this.#stillRings.has(ring)) this.#ringing.unshift(ring);
    this.set({});
  }

  join(call: CallApi): void {
    this.call = call;
    this.panel = false;
    this.open = null;
    this.question?.decide(false);
    if (this.kitDue) this.kitLater = true;
    this.#happened({ type: "joined", call: call.id });
    const leave = call.on("changed", () => {
      if (call.state === "ended") {
        leave();
        this.#happened({ type: "left", call: call.id });
        if (call.ended?.code === "call_over")
          this.#callOver = setTimeout(() => this.leaveCall(), CALL_OVER_MS);
        this.#ringNext();
      }
      this.changed();
    });
    this.#leave.push(leave);
    this.changed();
  }

  leaveCall(): void {
    clearTimeout(this.#callOver);
    this.call = null;
    this.changed();
  }

  close(): void {
    for (const leave of this.#leave) leave();
    for (const timer of this.#typingEnds.values()) clearTimeout(timer);
    for (const timer of [this.#toastEnds, this.#lookAgain, this.#callOver]) clearTimeout(timer);
    this.#closed = true;
    this.draft.close();
    this.previews.close();
    const call = this.call;
    this.call = null;
    // Nobody is left to show an error to.
    if (call !== null && call.state !== "ended") void call.hangUp().catch(() => undefined);
  }

  #listen(): void {
    const { api, relay } = this;
    this.#leave.push(
      api.on("message", (item) => this.#message(item)),
      api.on("removed", ({ id }) => this.history.remove(id)),
      api.on("changed", () => void this.refresh()),
      api.on("history", () => void this.attempt(() => this.history.again(this.state?.readTo ?? 0))),
      api.on("alarm", () => void this.refresh()),
      api.on("typing", ({ user, on }) => this.#typed(user, on)),
      api.on("transfer", (transfer) => this.#transfer(transfer)),
      api.on("ring", (ring) => this.#rings(ring)),
      relay.on("online", () => this.#connected()),
      relay.on("offline", (notice) => this.#assign({ online: false, offline: notice })),
      relay.on("waiting", () => this.#assign({ otherTab: true })),
      relay.on("failed", (failed) => this.#assign({ failed })),
      relay.on("devices", () => void this.refresh()),
    );
  }

  #assign(change: Partial<Pick<Room, "online" | "offline" | "otherTab" | "failed">>): void {
    Object.assign(this, change);
    this.changed();
  }

  #connected(): void {
    this.wasOnline = true;
    this.#assign({ online: true, offline: null, otherTab: false });
    void this.refresh();
  }

  #message(item: Item): void {
    if (item.kind === "retracted") this.previews.forget(item.id);
    const fresh = this.history.put(item);
    if (fresh && !item.mine) {
      this.#typed(item.sender, false);
      this.#typingTold.delete(item.sender);
      this.changed();
      void this.#announce(item);
    }
  }

  async #announce(item: Item): Promise<void> {
    // A name comes with the first message of who has one: it is not looked up yet.
    if (item.sender !== "" && this.person(item.sender)?.name === "") await this.refresh();
    // The same words twice are said twice: what does not change is not read aloud.
    const said = announcement(this, item);
    this.announced = said === this.announced ? `${said}\u00a0` : said;
    this.changed();
  }

  #typed(user: string, on: boolean): void {
    clearTimeout(this.#typingEnds.get(user));
    this.#typingEnds.delete(user);
    const types = on && user !== this.relay.me.user;
    if (types !== this.typing.includes(user))
      this.typing = types ? [...this.typing, user] : this.typing.filter((one) => one !== user);
    if (this.typing.length === 0) this.typingSaid = "";
    if (types) {
      if (!this.#typingTold.has(user)) this.typingSaid = words.history.typing([this.nameOf(user)]);
      this.#typingTold.add(user);
      this.#typingEnds.set(
        user,
        setTimeout(() => this.#typed(user, false), TYPING_MS),
      );
    }
    this.changed();
  }

  #transfer(transfer: Transfer): void {
    const over = transfer.state === "done" || transfer.state === "cancelled";
    const rest = this.transfers.filter((one) => one.id !== transfer.id);
    const known = rest.length !== this.transfers.length;
    const replaced = this.transfers.map((one) => (one.id === transfer.id ? transfer : one));
    this.transfers = over ? rest : known ? replaced : [...rest, transfer];
    this.changed();
  }

  #rings(ring: Ring): void {
    if (this.#inCall && this.call?.id === ring.call) return; // it is in this tab, and goes on
    this.#ringing.push(ring);
    this.#stillRings.add(ring);
    this.set({});
    void ring.over.then((message) => {
      this.#ringing = this.#ringing.filter((one) => one !== ring);
      this.#stillRings.delete(ring);
      if (this.ring !== ring) return this.changed();
      this.set({ ring: null });
      if (message !== "") this.say({ code: "ring_over", message });
    });
  }

  /** What rings once this call, or what rings now, is over. */
  get ringsLater(): readonly Ring[] {
    return this.#answering ? [] : this.#ringing;
  }

  get #inCall(): boolean {
    return this.#answering || (this.call !== null && this.call.state !== "ended");
  }

  /** One after the other; what rang during a call and still does is shown when that is over. */
  #ringNext(): void {
    if (this.ring === null && !this.#inCall) this.ring = this.#ringing.shift() ?? null;
  }

  #knock(): void {
    for (const { user, waitsForAdmission } of this.people) {
      if (!waitsForAdmission || this.#knocked.has(user)) continue;
      this.#knocked.add(user);
      this.#happened({ type: "knock", user });
    }
  }
}

/** A sentence for what was thrown: the SDK's own, which say what to do; otherwise a general one. */
export function noticeOf(error: unknown): Notice {
  const known = error instanceof Error && "code" in error && typeof error.code === "string";
  return known
    ? { code: String(error.code), message: error.message }
    : { code: "failed", message: words.failed };
}

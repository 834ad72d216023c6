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
import { History } from "./history.ts";
import { Observable } from "./observable.ts";
import { Previews } from "./previews.ts";

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
  state: RoomState | null = null;
  people: readonly Person[] = [];
  devices: readonly Device[] = [];
  transfers: readonly Transfer[] = [];
  typing: readonly string[] = [];
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
  readonly #typingEnds = new Map<string, ReturnType<typeof setTimeout>>();
  #toastEnds: ReturnType<typeof setTimeout> | undefined;
  #happened: (what: { type: "joined" | "left"; call: string } | { type: "knock"; user: string }) => void;
  readonly #knocked = new Set<string>();
  /** How often in a row the device was seen behind. */
  #behind = 0;
  #closed = false;
  #lookAgain: ReturnType<typeof setTimeout> | undefined;
  #callOver: ReturnType<typeof setTimeout> | undefined;

  constructor(relay: RelayApi, api: RoomApi, happened: Room["happened"] = () => undefined) {
    super();
    this.relay = relay;
    this.api = api;
    this.history = new History(api);
    this.previews = new Previews(api);
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
    return this.others.map(personName).join(", ") || words.someone;
  }

  /** Whose key has changed and waits for a decision. */
  get changedPerson(): Person | undefined {
    const named = this.state?.alarm?.code === "identity_changed" ? this.state.alarm.user : undefined;
    return this.people.find(
      (person) => person.trust === "changed" || (named !== undefined && person.user === named),
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
    this.kitDue = (await this.attempt(() => this.relay.recoveryKitDue())) ?? false;
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
    this.set({ ring: null });
    const call = await this.attempt(() => ring.accept({ video }));
    if (call !== undefined) this.join(call);
  }

  join(call: CallApi): void {
    this.call = call;
    this.panel = false;
    this.#happened({ type: "joined", call: call.id });
    const leave = call.on("changed", () => {
      if (call.state === "ended") {
        leave();
        this.#happened({ type: "left", call: call.id });
        if (call.ended?.code === "call_over")
          this.#callOver = setTimeout(() => this.leaveCall(), CALL_OVER_MS);
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
      this.announced = announcement(this, item);
      this.changed();
    }
  }

  #typed(user: string, on: boolean): void {
    clearTimeout(this.#typingEnds.get(user));
    this.#typingEnds.delete(user);
    this.typing = this.typing.filter((one) => one !== user);
    if (on && user !== this.relay.me.user) {
      this.typing = [...this.typing, user];
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
    if (this.call !== null && this.call.state !== "ended") return;
    this.set({ ring });
    void ring.over.then((message) => {
      if (this.ring?.call !== ring.call) return;
      this.set({ ring: null });
      this.say({ code: "ring_over", message });
    });
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

function announcement(room: Room, item: Item): string {
  return item.sender === ""
    ? summary(room, item)
    : words.history.newsFrom(room.nameOf(item.sender), summary(room, item));
}

/** An item in one line of plain text. */
export function summary(room: Room, item: Item): string {
  const name = room.nameOf(item.sender);
  switch (item.kind) {
    case "text":
    case "gap":
    case "unknown":
      return item.text;
    case "file":
      return item.name;
    case "checkin":
      return `${words.checkIn.title}: ${item.prompt}`;
    case "checkin.answer":
      return words.checkIn.answersUnknown;
    case "call.invite":
      return words.call.invited(name);
    case "call.ended":
      return item.missed ? words.call.missed(name) : outcomeOf(item.outcome);
    case "profile":
      return words.message.profile(shownName(item.name));
    case "retracted":
      return words.message.retracted(name);
  }
}

/** How a call went; a name that is none, from whoever made it up, is just "ended". */
export const outcomeOf = (outcome: string): string =>
  Object.entries(words.call.outcomes).find(([name]) => name === outcome)?.[1] ?? words.call.rangOut;

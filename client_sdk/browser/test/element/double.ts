/** A relay, a room and a call without a network: deterministic, scripted by tests and pictures. */

import type {
  CallApi,
  CallEvents,
  Device,
  Draft,
  FileItem,
  Item,
  ItemBase,
  Me,
  Newcomer,
  Notice,
  Person,
  Question,
  RecoveryKit,
  RelayApi,
  RelayEvents,
  Ring,
  RoomApi,
  RoomEvents,
  RoomState,
  Transfer,
} from "../../src/api.ts";

export const ENGAGEMENT = "eng_AAAAAAAAAAAAAAAAAAAAAA";
/** Sunday, 22 November 2026, 15:00 in Greenwich. */
export const NOW = Date.UTC(2026, 10, 22, 15);

class Emitter<Events> {
  readonly #listeners = new Map<keyof Events, Set<(detail: never) => void>>();

  on = <E extends keyof Events>(event: E, listener: (detail: Events[E]) => void): (() => void) => {
    const all = this.#listeners.get(event) ?? new Set();
    this.#listeners.set(event, all);
    all.add(listener as (detail: never) => void);
    return () => all.delete(listener as (detail: never) => void);
  };

  emit<E extends keyof Events>(event: E, detail: Events[E]): void {
    for (const listener of [...(this.#listeners.get(event) ?? [])])
      (listener as (detail: Events[E]) => void)(detail);
  }

  get listeners(): number {
    return [...this.#listeners.values()].reduce((sum, all) => sum + all.size, 0);
  }
}

/** What an SDK error looks like: a sentence and a code. */
export class DoubleError extends Error {
  readonly code: string;

  constructor(code: string, message: string) {
    super(message);
    this.code = code;
  }
}

let made = 0;

/** Fields of any item; `by` "me" makes it one's own. */
export function base(by: string, fields: Partial<ItemBase> = {}): ItemBase {
  made++;
  return {
    id: made.toString(16).padStart(32, "0"),
    engagement: ENGAGEMENT,
    sender: by,
    mine: by === "anna",
    sentMs: NOW - 60_000,
    seq: made,
    state: by === "anna" ? "read" : "delivered",
    edited: false,
    reactions: [],
    ...fields,
  };
}

export const text = (
  by: string,
  said: string,
  fields: Partial<ItemBase> & { replyTo?: string } = {},
): Item => ({
  ...base(by, fields),
  kind: "text",
  text: said,
  replyTo: fields.replyTo ?? null,
});

export const file = (
  by: string,
  name: string,
  mediaType: string,
  size: number,
  fields: Partial<ItemBase> = {},
): FileItem => ({
  ...base(by, fields),
  kind: "file",
  name,
  mediaType,
  size,
});

export const scale = (id: string, asked: string, min = 1, max = 10): Question => ({
  id,
  text: asked,
  answer: "scale",
  min,
  max,
  choices: [],
});

export const person = (user: string, name: string, fields: Partial<Person> = {}): Person => ({
  user,
  name,
  role: "client",
  me: false,
  devices: 1,
  trust: "unverified",
  member: true,
  waitsForAdmission: false,
  ...fields,
});

export const ANNA = person("anna", "Anna", { role: "coach", me: true, trust: "me", devices: 2 });
export const BEN = person("ben", "Ben Sommer");

export class DoubleCall implements CallApi {
  readonly #events = new Emitter<CallEvents>();
  readonly id = "c0ffee";
  user = "ben";
  media: CallApi["media"] = ["audio", "video"];
  state: CallApi["state"] = "ringing";
  local: MediaStream | null = null;
  remote: MediaStream | null = null;
  get picture(): boolean {
    return (
      this.remote?.getVideoTracks().some((track) => track.readyState === "live" && !track.muted) ?? false
    );
  }
  words: readonly string[] = [];
  quality: CallApi["quality"] = "unknown";
  microphone = true;
  camera = false;
  screen = false;
  startedMs: number | null = null;
  ended: Notice | null = null;
  trouble: Notice | null = null;
  readonly asked: string[] = [];
  matched: () => void = () => undefined;
  on = this.#events.on;

  change(fields: Partial<DoubleCall>): void {
    Object.assign(this, fields);
    if (this.state === "ended") {
      for (const stream of [this.local, this.remote])
        for (const track of stream?.getTracks() ?? []) track.stop();
    }
    this.#events.emit("changed", null);
  }

  connect(): void {
    this.change({
      state: "connected",
      quality: "good",
      startedMs: Date.now() - 83_000,
      words: ["meadow", "ladder", "ocean", "violin", "cabin"],
    });
  }

  setMicrophone = async (on: boolean): Promise<void> => this.change({ microphone: on });
  setCamera = async (on: boolean): Promise<void> => this.change({ camera: on });
  shareScreen = async (on: boolean): Promise<void> => this.change({ screen: on });
  devices = async () => [
    { id: "m1", kind: "audioinput" as const, label: "Built-in microphone", chosen: true },
    { id: "m2", kind: "audioinput" as const, label: "Headset", chosen: false },
    { id: "c1", kind: "videoinput" as const, label: "Front camera", chosen: true },
  ];
  choose = async (kind: MediaDeviceKind, id: string): Promise<void> =>
    void this.asked.push(`choose ${kind} ${id}`);
  wordsMatch = async (): Promise<void> => this.matched();
  hangUp = async (): Promise<void> =>
    this.change({ state: "ended", ended: { code: "hung_up", message: "You ended the call." } });
}

export class DoubleRoom implements RoomApi {
  readonly events = new Emitter<RoomEvents>();
  id = ENGAGEMENT;
  readonly asked: string[] = [];
  readonly files = new Map<string, Blob>();
  items: Item[] = [];
  persons: Person[] = [ANNA, BEN];
  moving: Transfer[] = [];
  now: RoomState = {
    member: true,
    ended: false,
    caughtUp: true,
    waiting: null,
    alarm: null,
    protection:
      "Also a quantum computer of the future could not read what is written; calls are not protected against one yet.",
    readTo: 0,
  };
  theCall = new DoubleCall();
  /** The next action of this name fails. */
  fails: { readonly action: string; readonly error: Error } | null = null;
  on = this.events.on;

  #ask(action: string, ...said: readonly unknown[]): void {
    this.asked.push([action, ...said].join(" "));
    if (this.fails?.action !== action) return;
    const { error } = this.fails;
    this.fails = null;
    throw error;
  }

  /** Add or change an item, as the SDK would tell it. */
  put(item: Item): string {
    const known = this.items.findIndex((one) => one.id === item.id);
    if (known === -1) this.items.push(item);
    else this.items[known] = item;
    this.events.emit("message", item);
    return item.id;
  }

  change(fields: Partial<RoomState>): void {
    this.now = { ...this.now, ...fields };
    this.events.emit("changed", null);
  }

  people = async (): Promise<readonly Person[]> => [...this.persons];
  state = async (): Promise<RoomState> => this.now;
  transfers = async (): Promise<readonly Transfer[]> => [...this.moving];

  history = async (
    options: { readonly limit?: number; readonly before?: string } = {},
  ): Promise<readonly Item[]> => {
    const { limit = 50, before } = options;
    const end = before === undefined ? this.items.length : this.items.findIndex((one) => one.id === before);
    return this.items.slice(Math.max(0, end - limit), Math.max(0, end));
  };

  item = async (id: string): Promise<Item | null> => this.items.find((one) => one.id === id) ?? null;

  send = async (said: string, options: { readonly replyTo?: string } = {}): Promise<string> => {
    this.#ask("send", said, options.replyTo ?? "");
    return this.put(text("anna", said, { ...options, sentMs: Date.now(), state: "sent" }));
  };
  checkIn = async (prompt: string, questions: readonly Question[]): Promise<string> => {
    this.#ask("checkIn", prompt, JSON.stringify(questions));
    return this.put({ ...base("anna", { sentMs: Date.now() }), kind: "checkin", prompt, questions });
  };
  answer = async (checkIn: string, answers: Readonly<Record<string, number | string>>): Promise<string> => {
    this.#ask("answer", checkIn, JSON.stringify(answers));
    return this.put({ ...base("anna", { sentMs: Date.now() }), kind: "checkin.answer", checkIn, answers });
  };
  edit = async (id: string, said: string): Promise<void> => {
    this.#ask("edit", id, said);
    const item = await this.item(id);
    if (item?.kind === "text") this.put({ ...item, text: said, edited: true });
  };
  retract = async (id: string): Promise<void> => {
    this.#ask("retract", id);
    const item = await this.item(id);
    if (item !== null) this.put({ ...base(item.sender, item), kind: "retracted", id });
  };
  react = async (id: string, emoji: string, on: boolean): Promise<void> => {
    this.#ask("react", id, emoji, on);
    const item = await this.item(id);
    if (item !== null) this.put({ ...item, reactions: on ? [{ emoji, users: ["anna"] }] : [] });
  };
  markRead = async (id: string): Promise<void> => {
    this.#ask("markRead", id);
    this.now = { ...this.now, readTo: (await this.item(id))?.seq ?? 0 };
  };
  typing = (on: boolean): void => this.#ask("typing", on);
  kept: Draft | null = null;
  draft = async (): Promise<Draft | null> => this.kept;
  keepDraft = async (draft: Draft | null): Promise<void> => {
    this.#ask("keepDraft", draft?.text ?? "");
    this.kept = draft;
  };

  sendFile = async (given: File): Promise<string> => {
    this.#ask("sendFile", given.name, given.size);
    const item = file("anna", given.name, given.type, given.size, { sentMs: Date.now() });
    this.files.set(item.id, given);
    return this.put(item);
  };
  openFile = async (id: string): Promise<Blob> => {
    this.#ask("openFile", id);
    const blob = this.files.get(id);
    if (blob === undefined)
      throw new DoubleError("attachment_gone", "This file is no longer at the relay. Ask for it again.");
    return blob;
  };
  #moved(id: string, state: Transfer["state"]): void {
    this.moving = this.moving.map((one) => (one.id === id ? { ...one, state } : one));
    for (const one of this.moving) if (one.id === id) this.events.emit("transfer", one);
  }
  pause = async (id: string): Promise<void> => {
    this.#ask("pause", id);
    this.#moved(id, "paused");
  };
  resume = async (id: string): Promise<void> => {
    this.#ask("resume", id);
    this.#moved(id, "moving");
  };
  cancel = async (id: string): Promise<void> => {
    this.#ask("cancel", id);
    this.#moved(id, "cancelled");
  };

  safetyNumber = async (): Promise<string> => "482910573629184750392018475639";
  verificationCode = async (): Promise<string> =>
    `coach-relay:safety:${"lQGobWVhZG93cy5wYWxtYW5uYcQgAQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA".repeat(2)}`;
  #trust(user: string, trust: Person["trust"]): void {
    this.persons = this.persons.map((one) => (one.user === user ? { ...one, trust } : one));
    this.events.emit("changed", null);
  }
  verify = async (user: string, number: string): Promise<void> => {
    this.#ask("verify", user, number);
    this.#trust(user, "verified");
  };
  verifyScanned = async (user: string, code: string): Promise<void> => {
    this.#ask("verifyScanned", user, code);
    this.#trust(user, "verified");
  };
  acceptIdentity = async (user: string): Promise<void> => {
    this.#ask("acceptIdentity", user);
    this.now = { ...this.now, alarm: null };
    this.#trust(user, "unverified");
  };
  admit = async (user: string): Promise<void> => {
    this.#ask("admit", user);
    this.persons = this.persons.map((one) =>
      one.user === user ? { ...one, waitsForAdmission: false } : one,
    );
    this.events.emit("changed", null);
  };
  goOn = async (): Promise<void> => {
    this.#ask("goOn");
    this.change({ alarm: null });
  };
  call = async (options: { readonly video: boolean }): Promise<CallApi> => {
    this.#ask("call", options.video);
    this.theCall.matched = () => this.#trust("ben", "verified");
    this.theCall.camera = options.video;
    return this.theCall;
  };

  /** Somebody calls; the answer stops the ringing. */
  ring(
    media: Ring["media"] = ["audio", "video"],
    returns = false,
  ): { ring: Ring; stop: (why: string) => void } {
    let stop: (why: string) => void = () => undefined;
    const over = new Promise<string>((resolve) => {
      stop = resolve;
    });
    const ring: Ring = {
      call: "c0ffee",
      user: "ben",
      returns,
      media,
      over,
      accept: async ({ video }) => this.call({ video }),
      decline: async () => this.#ask("decline"),
    };
    this.events.emit("ring", ring);
    return { ring, stop };
  }
}

export class DoubleRelay implements RelayApi {
  readonly events = new Emitter<RelayEvents>();
  readonly room = new DoubleRoom();
  readonly asked: string[] = [];
  me: Me = { portal: "acme", user: "anna", name: "Anna", safetyNumber: "174650293847561029384756102938" };
  online = true;
  own: Device[] = [
    { id: "d1", name: "Chrome on Linux", isThis: true, mayLink: true },
    { id: "d2", name: "Anna’s phone", isThis: false, mayLink: false },
  ];
  due = false;
  receipts = true;
  archived = false;
  newcomer: Newcomer = { id: "n1", name: "Tablet in the kitchen" };
  on = this.events.on;

  setOnline(online: boolean, why: Notice | null = null): void {
    this.online = online;
    if (online) this.events.emit("online", null);
    else this.events.emit("offline", why);
  }

  engagements = async () => [{ id: ENGAGEMENT, status: "active" }];
  engagement = async (): Promise<RoomApi> => this.room;
  setName = async (name: string): Promise<void> => {
    this.me = { ...this.me, name };
  };
  readReceipts = async (): Promise<boolean> => this.receipts;
  setReadReceipts = async (on: boolean): Promise<void> => {
    this.receipts = on;
  };
  devices = async (): Promise<readonly Device[]> => [...this.own];
  renameDevice = async (id: string, name: string): Promise<void> => {
    this.own = this.own.map((one) => (one.id === id ? { ...one, name } : one));
  };
  removeDevice = async (id: string): Promise<void> => {
    this.asked.push(`removeDevice ${id}`);
    this.own = this.own.filter((one) => one.id !== id);
  };
  findNewcomer = async (shown: string): Promise<Newcomer> => {
    this.asked.push(`findNewcomer ${shown}`);
    return this.newcomer;
  };
  linkNewcomer: RelayApi["linkNewcomer"] = async (newcomer, { mayLink, progress }) => {
    this.asked.push(`linkNewcomer ${newcomer.id} ${mayLink}`);
    progress?.(1, 2);
    this.own = [...this.own, { ...newcomer, isThis: false, mayLink }];
  };
  refuseNewcomer = async (newcomer: Newcomer): Promise<void> =>
    void this.asked.push(`refuseNewcomer ${newcomer.id}`);
  recoveryKitDue = async (): Promise<boolean> => this.due;
  recoveryKit = async (): Promise<RecoveryKit> => ({
    words: "meadow ladder ocean violin cabin orbit pencil garden copper winter saddle lemon".split(" "),
    text: "Coach Relay: recovery kit of Anna\n\n 1 meadow    2 ladder    3 ocean\n 4 violin    5 cabin     6 orbit\n",
    asked: [3, 9],
  });
  kitMade = async (words: Readonly<Record<number, string>>): Promise<void> => {
    this.asked.push(`kitMade ${JSON.stringify(words)}`);
    this.due = false;
  };
  archive = async (): Promise<boolean> => this.archived;
  waitArchived = async (): Promise<void> => undefined;

  setArchive = async (on: boolean): Promise<void> => {
    this.archived = on;
  };
  addressHidden = false;
  addressAlwaysHidden = false;
  setAddressHidden = async (on: boolean): Promise<void> => {
    this.addressHidden = on;
  };
  destroy = async (): Promise<void> => undefined;
}

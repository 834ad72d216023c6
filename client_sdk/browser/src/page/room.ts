/** One conversation, in the page. */

import type {
  CallApi,
  Draft,
  Item,
  Person,
  Question,
  RoomApi,
  RoomEvents,
  RoomState,
  Transfer,
} from "../api.ts";
import type { CallingOptions, RoomCalling } from "../calls/page.ts";
import { roomCalling } from "../calls/page.ts";
import type { RoomFiles } from "../files/page.ts";
import { roomFiles } from "../files/page.ts";
import type { Bridge } from "./bridge.ts";
import { Emitter } from "./events.ts";
import { freshId } from "./ids.ts";

const PAGE = 50;
/** Typing is told again no sooner than this; who hears nothing more for twice as long takes it as over. */
const TYPING_MS = 3000;

export class Room extends Emitter<RoomEvents> implements RoomApi {
  readonly id: string;
  readonly #bridge: Bridge;
  readonly #files: RoomFiles;
  readonly #calling: RoomCalling;
  #typing = false;
  #typedAt = Number.NEGATIVE_INFINITY;

  /** @internal */
  constructor(id: string, bridge: Bridge, calling: CallingOptions) {
    super();
    this.id = id;
    this.#bridge = bridge;
    this.#files = roomFiles(id, bridge);
    this.#calling = roomCalling(id, bridge, (ring) => this.emit("ring", ring), calling);
  }

  /** Whoever begins to listen hears what rings already. */
  override addEventListener(...given: Parameters<EventTarget["addEventListener"]>): void {
    super.addEventListener(...given);
    const [event, listener] = given;
    if (event !== "ring" || listener === null) return;
    for (const detail of this.#calling.rings()) {
      const happened = new CustomEvent("ring", { detail });
      queueMicrotask(() =>
        typeof listener === "function" ? listener.call(this, happened) : listener.handleEvent(happened),
      );
    }
  }

  state(): Promise<RoomState> {
    return this.#bridge.call("state", this.id);
  }

  people(): Promise<readonly Person[]> {
    return this.#bridge.call("people", this.id);
  }

  history(options: { readonly limit?: number; readonly before?: string } = {}): Promise<readonly Item[]> {
    return this.#bridge.call("history", this.id, options.limit ?? PAGE, options.before ?? null);
  }

  item(id: string): Promise<Item | null> {
    return this.#bridge.call("item", this.id, id);
  }

  send(text: string, options: { readonly replyTo?: string } = {}): Promise<string> {
    return this.#bridge.call("send", this.id, freshId(), text, options.replyTo ?? null);
  }

  checkIn(prompt: string, questions: readonly Question[]): Promise<string> {
    return this.#bridge.call("checkIn", this.id, freshId(), prompt, questions);
  }

  answer(checkIn: string, answers: Readonly<Record<string, number | string>>): Promise<string> {
    return this.#bridge.call("answer", this.id, freshId(), checkIn, answers);
  }

  async edit(id: string, text: string): Promise<void> {
    await this.#bridge.call("edit", this.id, id, text);
  }

  async retract(id: string): Promise<void> {
    await this.#bridge.call("retract", this.id, id);
  }

  async react(id: string, emoji: string, on: boolean): Promise<void> {
    await this.#bridge.call("react", this.id, id, emoji, on);
  }

  async markRead(id: string): Promise<void> {
    await this.#bridge.call("markRead", this.id, id);
  }

  /** Tell the others; nobody hears of it if that fails. */
  typing(on: boolean): void {
    const now = performance.now();
    if (on === this.#typing && (!on || now - this.#typedAt < TYPING_MS)) return;
    this.#typing = on;
    this.#typedAt = now;
    this.#bridge.call("typing", this.id, on).catch(() => undefined);
  }

  draft(): Promise<Draft | null> {
    return this.#bridge.call("draft", this.id);
  }

  async keepDraft(draft: Draft | null): Promise<void> {
    await this.#bridge.call("keepDraft", this.id, draft);
  }

  sendFile(file: File): Promise<string> {
    return this.#files.sendFile(file);
  }

  openFile(id: string): Promise<Blob> {
    return this.#files.openFile(id);
  }

  transfers(): Promise<readonly Transfer[]> {
    return this.#files.transfers();
  }

  pause(transfer: string): Promise<void> {
    return this.#files.pause(transfer);
  }

  resume(transfer: string): Promise<void> {
    return this.#files.resume(transfer);
  }

  cancel(transfer: string): Promise<void> {
    return this.#files.cancel(transfer);
  }

  safetyNumber(user: string): Promise<string> {
    return this.#bridge.call("safetyNumber", this.id, user);
  }

  verificationCode(user: string): Promise<string> {
    return this.#bridge.call("verificationCode", this.id, user);
  }

  async verify(user: string, number: string): Promise<void> {
    await this.#bridge.call("verify", this.id, user, number);
  }

  async verifyScanned(user: string, code: string): Promise<void> {
    await this.#bridge.call("verifyScanned", this.id, user, code);
  }

  async acceptIdentity(user: string): Promise<void> {
    await this.#bridge.call("acceptIdentity", this.id, user);
  }

  async admit(user: string): Promise<void> {
    await this.#bridge.call("admit", this.id, user);
  }

  async goOn(): Promise<void> {
    await this.#bridge.call("goOn", this.id);
  }

  call(options: { readonly video: boolean }): Promise<CallApi> {
    return this.#calling.call(options);
  }
}

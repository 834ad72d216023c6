/** What a page uses: `createCoachRelay`. */

import type { CoachRelayOptions, Me } from "./api.ts";
import { firstUseAnswers } from "./devices/page.ts";
import type { Person } from "./engine/conversation.ts";
import type { Message } from "./engine/history.ts";
import type { Failure, Happening } from "./engine/messages.ts";
import EngineWorker from "./engine/worker.ts?worker&inline";
import { Bridge } from "./page/bridge.ts";

export type { CoachRelayOptions } from "./api.ts";
export { CoachRelayFailure } from "./page/bridge.ts";

/**
 * This person's device in this browser. Events: `online`, `offline` (detail: why, or null), `waiting` (another
 * tab has the device; this one takes over when that is closed), `failed` (this browser's store is gone).
 */
export class CoachRelay extends EventTarget {
  readonly #bridge: Bridge;
  readonly #rooms = new Map<string, Room>();
  #me: Me = { portal: "", user: "", name: "", safetyNumber: "" };

  private constructor({ tokenProvider, firstUse }: CoachRelayOptions) {
    super();
    const answers = { token: async () => tokenProvider(), ...firstUseAnswers(firstUse) };
    this.#bridge = new Bridge(new EngineWorker(), answers);
    this.#bridge.listen((happening) => this.#happen(happening));
  }

  /** Start the Worker and open the vault; does not wait for the relay. Raises CoachRelayFailure. */
  static async create(options: CoachRelayOptions, prepare: (made: CoachRelay) => void): Promise<CoachRelay> {
    const made = new CoachRelay(options);
    prepare(made);
    const { url, name = "", firstUse } = options;
    made.#me = await made.#bridge.call("start", { url, name, asks: firstUse !== undefined });
    return made;
  }

  /** Whose device this is. */
  get me(): Me {
    return this.#me;
  }

  /** The engagements that the relay named, once online. */
  engagements(): Promise<readonly { readonly id: string; readonly status: string }[]> {
    return this.#bridge.call("engagements");
  }

  /** The conversation of an engagement; waits for the relay only if online. Raises CoachRelayFailure. */
  async engagement(id: string): Promise<Room> {
    const room = this.#rooms.get(id) ?? new Room(id, this.#bridge);
    this.#rooms.set(id, room);
    await this.#bridge.call("open", id);
    return room;
  }

  /** End; what waits to be sent is kept for the next time. */
  async destroy(): Promise<void> {
    await this.#bridge.call("destroy");
    this.#bridge.close();
  }

  #happen({ event, engagement, detail }: Happening): void {
    const target = engagement === null ? this : this.#rooms.get(engagement);
    target?.dispatchEvent(new CustomEvent(event, { detail }));
  }
}

/**
 * One conversation. Events: `message` (detail: a Message; again when its state changes), `changed` (people,
 * devices, membership), `alarm` (detail: code and message: nothing is sent until somebody has looked).
 */
export class Room extends EventTarget {
  readonly id: string;
  readonly #bridge: Bridge;

  constructor(id: string, bridge: Bridge) {
    super();
    this.id = id;
    this.#bridge = bridge;
  }

  /** Whether this device takes part; until somebody has let it in, what is said waits. */
  async joined(): Promise<boolean> {
    return (await this.#bridge.call("open", this.id)).member;
  }

  people(): Promise<readonly Person[]> {
    return this.#bridge.call("people", this.id);
  }

  /** Say something; resolves with the message's id when it is safe on this device. */
  send(text: string, options: { readonly replyTo?: string } = {}): Promise<string> {
    return this.#bridge.call("send", this.id, text, options.replyTo ?? null);
  }

  /** At most `limit` messages, oldest first: the newest, or those before a message. */
  history(options: { readonly limit?: number; readonly before?: string } = {}): Promise<readonly Message[]> {
    return this.#bridge.call("history", this.id, options.limit ?? 100, options.before ?? null);
  }

  /** The 30 digits to compare with a person. */
  safetyNumber(user: string): Promise<string> {
    return this.#bridge.call("safetyNumber", this.id, user);
  }

  /** The number that was shown for this person is the one they read out. */
  async verify(user: string, number: string): Promise<void> {
    await this.#bridge.call("verify", this.id, user, number);
  }

  /** What a person has to look at before anything more is sent; null if nothing. */
  alarm(): Promise<Failure | null> {
    return this.#bridge.call("alarm", this.id);
  }

  /** A person has looked at the alarm and goes on. */
  async goOn(): Promise<void> {
    await this.#bridge.call("goOn", this.id);
  }
}

/** This person's device in this browser, made anew at the first time. `prepare` may listen before it starts. */
export const createCoachRelay = (
  options: CoachRelayOptions,
  prepare: (made: CoachRelay) => void = () => undefined,
): Promise<CoachRelay> => CoachRelay.create(options, prepare);

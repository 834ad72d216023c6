/** What a page uses: `createCoachRelay`. */

import type { Person } from "./engine/conversation.ts";
import type { Message } from "./engine/history.ts";
import type { Calls, Failure, Happening, Method, ToPage, ToWorker } from "./engine/messages.ts";
import EngineWorker from "./engine/worker.ts?worker&inline";
import { CoachRelayError } from "./errors.ts";

export interface CoachRelayOptions {
  /** The relay's https URL (http on this machine alone). */
  readonly url: string;
  /** Asks the portal for an access token of its user; called again before the last one ends. */
  readonly tokenProvider: () => Promise<string> | string;
  /** What this person wants to be called. */
  readonly name?: string;
}

/** An error that came from the Worker, with its stable code. */
export class CoachRelayFailure extends CoachRelayError {
  readonly code: string;

  constructor({ code, message }: Failure) {
    super(message);
    this.code = code;
  }
}

type Answer<M extends Method> = ReturnType<Calls[M]>;

/**
 * This person's device in this browser. Events: `online`, `offline` (detail: why, or null), `waiting` (another
 * tab has the device; this one takes over when that is closed), `failed` (this browser's store is gone).
 */
export class CoachRelay extends EventTarget {
  readonly #worker: Worker;
  readonly #tokenProvider: CoachRelayOptions["tokenProvider"];
  readonly #calls = new Map<number, { resolve(value: unknown): void; reject(error: Error): void }>();
  readonly #rooms = new Map<string, Room>();
  #lastCall = 0;
  #me: Answer<"start"> = { portal: "", user: "", name: "" };

  private constructor({ tokenProvider }: CoachRelayOptions) {
    super();
    this.#tokenProvider = tokenProvider;
    this.#worker = new EngineWorker();
    this.#worker.onmessage = ({ data }: MessageEvent<ToPage>) => this.#take(data);
  }

  /** Start the Worker and open the vault; does not wait for the relay. Raises CoachRelayFailure. */
  static async create(options: CoachRelayOptions, prepare: (made: CoachRelay) => void): Promise<CoachRelay> {
    const made = new CoachRelay(options);
    prepare(made);
    made.#me = await made.call("start", { url: options.url, name: options.name ?? "" });
    return made;
  }

  /** Whose device this is. */
  get me(): Answer<"start"> {
    return this.#me;
  }

  /** The engagements that the relay named, once online. */
  engagements(): Promise<Answer<"engagements">> {
    return this.call("engagements");
  }

  /** The conversation of an engagement; waits for the relay only if online. Raises CoachRelayFailure. */
  async engagement(id: string): Promise<Room> {
    const room = this.#rooms.get(id) ?? new Room(id, this);
    this.#rooms.set(id, room);
    await this.call("open", id);
    return room;
  }

  /** End; what waits to be sent is kept for the next time. */
  async destroy(): Promise<void> {
    await this.call("destroy");
    this.#worker.terminate();
  }

  /** @internal */
  call<M extends Method>(method: M, ...args: Parameters<Calls[M]>): Promise<Answer<M>> {
    const id = ++this.#lastCall;
    return new Promise<Answer<M>>((resolve, reject) => {
      this.#calls.set(id, { resolve: resolve as (value: unknown) => void, reject });
      this.#post({ kind: "call", id, method, args });
    }).finally(() => this.#calls.delete(id));
  }

  #post(message: ToWorker): void {
    this.#worker.postMessage(message);
  }

  #take(data: ToPage): void {
    if (data.kind === "answer") this.#calls.get(data.id)?.resolve(data.value);
    else if (data.kind === "failure") this.#calls.get(data.id)?.reject(new CoachRelayFailure(data.failure));
    else if (data.kind === "token") void this.#giveToken(data.id);
    else this.#happen(data.happening);
  }

  async #giveToken(id: number): Promise<void> {
    try {
      this.#post({ kind: "token", id, token: await this.#tokenProvider() });
    } catch {
      this.#post({ kind: "token", id, token: null }); // the Worker says that there is none, and asks again
    }
  }

  #happen(happening: Happening): void {
    const target = "engagement" in happening ? this.#rooms.get(happening.engagement) : this;
    const detail =
      "message" in happening ? happening.message : "failure" in happening ? happening.failure : null;
    target?.dispatchEvent(new CustomEvent(happening.event, { detail }));
  }
}

/**
 * One conversation. Events: `message` (detail: a Message; again when its state changes), `changed` (people,
 * devices, membership), `alarm` (detail: code and message: nothing is sent until somebody has looked).
 */
export class Room extends EventTarget {
  readonly id: string;
  readonly #relay: CoachRelay;

  constructor(id: string, relay: CoachRelay) {
    super();
    this.id = id;
    this.#relay = relay;
  }

  /** Whether this device takes part; until somebody has let it in, what is said waits. */
  async joined(): Promise<boolean> {
    return (await this.#relay.call("open", this.id)).member;
  }

  people(): Promise<readonly Person[]> {
    return this.#relay.call("people", this.id);
  }

  /** Say something; resolves with the message's id when it is safe on this device. */
  send(text: string, options: { readonly replyTo?: string } = {}): Promise<string> {
    return this.#relay.call("send", this.id, text, options.replyTo ?? null);
  }

  /** At most `limit` messages, oldest first: the newest, or those before a message. */
  history(options: { readonly limit?: number; readonly before?: string } = {}): Promise<readonly Message[]> {
    return this.#relay.call("history", this.id, options.limit ?? 100, options.before ?? null);
  }

  /** The 30 digits to compare with a person. */
  safetyNumber(user: string): Promise<string> {
    return this.#relay.call("safetyNumber", this.id, user);
  }

  /** The number that was shown for this person is the one they read out. */
  async verify(user: string, number: string): Promise<void> {
    await this.#relay.call("verify", this.id, user, number);
  }

  /** What a person has to look at before anything more is sent; null if nothing. */
  alarm(): Promise<Failure | null> {
    return this.#relay.call("alarm", this.id);
  }

  /** A person has looked at the alarm and goes on. */
  async goOn(): Promise<void> {
    await this.#relay.call("goOn", this.id);
  }
}

/** This person's device in this browser, made anew at the first time. `prepare` may listen before it starts. */
export const createCoachRelay = (
  options: CoachRelayOptions,
  prepare: (made: CoachRelay) => void = () => undefined,
): Promise<CoachRelay> => CoachRelay.create(options, prepare);

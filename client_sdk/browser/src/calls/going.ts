/** The calls that live in this Worker, each with a line to who is called and to the page that has its media. */

import type { Bytes } from "../bytes.ts";
import { hex } from "../bytes.ts";
import type { Media } from "../content/messages.ts";
import type { Conversation } from "../engine/conversation.ts";
import type { Engine } from "../engine/engine.ts";
import { RelayError, RelayUnreachable } from "../errors.ts";
import { CallNotPossible } from "./errors.ts";
import { LiveCall } from "./live.ts";
import type { Message } from "./messages.ts";
import { messageBody } from "./messages.ts";
import type { Taker } from "./sentences.ts";
import type { CallFacts, MediaAction, Negotiation } from "./states.ts";
import type { CallWork, IceServer } from "./told.ts";
import { CALL_WORK } from "./told.ts";
import { leafOf, otherUser } from "./whoIsWho.ts";

/** A new attempt waits so long for the relay: half of what it has. */
const ONLINE_MS = 15_000;
const ONLINE_LOOK_MS = 250;

/** One call. */
export interface Going {
  /** As the page names it. */
  readonly id: string;
  readonly conversation: Conversation;
  readonly live: LiveCall;
  readonly media: readonly Media[];
  /** Of the invitation: the id of its message. */
  readonly invitation: string;
  /** The page was told that it rings. */
  rings: boolean;
  /** The page takes it: what this view of the call is named; null: none does. */
  taken: string | null;
  /** The page was left in mid-call: what rings is the way back. */
  readonly returns: boolean;
}

export const isOver = ({ live }: Going): boolean => live.state.phase === "ended";
/** Whether nobody has taken it yet. */
export const isEarly = ({ phase }: Negotiation): boolean => phase === "inviting" || phase === "ringing";
/** Whether somebody calls this device, which has not been answered. */
export const isIncoming = ({ live: { state } }: Going): boolean =>
  state.phase === "ringing" && state.facts.role === "callee";

export class GoingCalls {
  readonly #engine: Engine;
  readonly #changed: (going: Going, before: Negotiation) => void;
  readonly #calls = new Map<string, Going>();
  readonly #stop = new AbortController();

  /** `changed` is told when one of them stands otherwise than before. */
  constructor(engine: Engine, changed: (going: Going, before: Negotiation) => void) {
    this.#engine = engine;
    this.#changed = changed;
  }

  /** A call that is known from now on; `returns`: the way back to one that was left. */
  begin(conversation: Conversation, facts: CallFacts, invitation: string, returns = false): Going {
    const id = hex(facts.call);
    const { environment } = this.#engine;
    const live = new LiveCall(facts, {
      nowMs: () => environment.nowMs(),
      rng: environment.rng,
      sleep: (ms, signal) => environment.sleep(ms, signal),
      send: (message) => this.#send(conversation, message, facts.call),
      work: (action) => void this.#work(id, action),
      changed: (before) => {
        const going = this.get(id);
        if (going !== undefined) this.#changed(going, before);
      },
      fault: (error) => this.#engine.fault(error),
    });
    const media = facts.kinds;
    const going = { id, conversation, live, media, invitation, rings: false, taken: null, returns };
    this.#calls.set(id, going);
    return going;
  }

  get(id: string): Going | undefined {
    return this.#calls.get(id);
  }

  /** Raises CallNotPossible if it is not known any more. */
  find(id: string): Going {
    const going = this.get(id);
    if (going === undefined) throw new CallNotPossible("The call is over.");
    return going;
  }

  /** Those of one conversation. */
  of(conversation: Conversation): readonly Going[] {
    return [...this.#calls.values()].filter((one) => one.conversation === conversation);
  }

  /** The one that this person is in, of whichever conversation. */
  taken(): Going | undefined {
    return [...this.#calls.values()].find((one) => one.taken !== null && !isOver(one));
  }

  /** Whom it is with; empty while nobody knows. */
  userOf({ conversation, live }: Going): string {
    return otherUser(this.#engine.account, conversation, live.state);
  }

  /** Who took it or declined it; null while nobody did, or nobody knows. */
  takerOf({ conversation, live: { state } }: Going): Taker | null {
    return this.takerBy(conversation, state.end?.device ?? null);
  }

  /** Whose device this is. */
  takerBy(conversation: Conversation, device: Bytes | null): Taker | null {
    const leaf = leafOf(conversation, device);
    if (leaf === undefined) return null;
    const own = leaf.user === this.#engine.account.user;
    return { own, name: own ? "another device of yours" : this.#engine.nameOf(leaf.user) || "Somebody" };
  }

  /** Nothing more happens to it. */
  forget(id: string): void {
    this.get(id)?.live.close();
    this.#calls.delete(id);
  }

  /** Say something about a call to those who are there now: the authenticator of the epoch that it was sealed under. */
  async whisper(conversation: Conversation, message: Message, call: Bytes): Promise<Bytes> {
    if (conversation.alarm !== null) throw new CallNotPossible("Nothing is sent until somebody has looked.");
    const authenticator = await conversation.whisper(message.kind, messageBody(message, call));
    if (authenticator === null) throw new RelayUnreachable("The conversation is not open at the relay.");
    return authenticator;
  }

  /** Do something after so many milliseconds, unless this device is left before. */
  later(ms: number, action: () => Promise<void> | void): void {
    const { signal } = this.#stop;
    void this.#engine.environment
      .sleep(ms, signal)
      .then(() => (signal.aborted ? undefined : action()))
      .catch((error: unknown) => this.#engine.fault(error));
  }

  destroy(): void {
    this.#stop.abort();
    for (const id of [...this.#calls.keys()]) this.forget(id);
  }

  /** A farewell is said a few times alone: the relay is waited for, where a tab has just taken the device over. */
  async #send(conversation: Conversation, message: Message, call: Bytes): Promise<Bytes> {
    const { environment } = this.#engine;
    const isFarewell = message.kind === "call.hangup" || message.kind === "call.decline";
    const until = environment.nowMs() + ONLINE_MS;
    while (true) {
      try {
        return await this.whisper(conversation, message, call);
      } catch (error) {
        const waits = isFarewell && environment.nowMs() < until && !this.#stop.signal.aborted;
        if (!waits || !(error instanceof RelayUnreachable)) throw error;
        await environment.sleep(ONLINE_LOOK_MS, this.#stop.signal);
      }
    }
  }

  /** Hand it to the page; with what leads around firewalls, where a connection is to be made. */
  async #work(id: string, action: MediaAction): Promise<void> {
    const going = this.get(id);
    if (going === undefined) return;
    const makes = action.type === "makeOffer" || action.type === "makeAnswer";
    const ice = makes ? await this.#ice(going.conversation) : [];
    const work: CallWork = { call: id, action, ice };
    if (!makes || going.live.state.attempt?.number === action.attempt) {
      this.#engine.tell(CALL_WORK, going.conversation.id, work);
    }
  }

  /** With fresh credentials; after a change of network the relay is waited for. Perhaps it goes without. */
  async #ice(conversation: Conversation): Promise<readonly IceServer[]> {
    const { environment } = this.#engine;
    const until = environment.nowMs() + ONLINE_MS;
    while (!this.#engine.online && environment.nowMs() < until && !this.#stop.signal.aborted) {
      await environment.sleep(ONLINE_LOOK_MS, this.#stop.signal);
    }
    try {
      const asked = { frame: "RequestIceServers", stream: conversation.id } as const;
      return (await this.#engine.askRelay(asked, "IceServers")).servers;
    } catch (error) {
      if (!(error instanceof RelayError)) throw error;
      return [];
    }
  }
}

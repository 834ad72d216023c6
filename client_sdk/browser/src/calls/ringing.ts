/** Invitations and ends of calls as the history shows them: what rings here, and which of two calls gives way. */

import type { Item } from "../api.ts";
import { hex } from "../bytes.ts";
import type { CallEnded, CallInvite } from "../content/messages.ts";
import type { Conversation } from "../engine/conversation.ts";
import type { Engine } from "../engine/engine.ts";
import type { Stored } from "../engine/history.ts";
import { CallNotPossible } from "./errors.ts";
import type { Going, GoingCalls } from "./going.ts";
import { isEarly, isIncoming, isOver } from "./going.ts";
import { overElsewhere, whyEnded, whyOver } from "./sentences.ts";
import { RING_MS } from "./states.ts";
import type { RingNews, RingOver } from "./told.ts";
import { RING, RING_OVER } from "./told.ts";
import { factsOf } from "./whoIsWho.ts";

/** Live in one conversation: one that is spoken in, and what rings besides. */
export const MAX_CALLS = 4;
/** An older invitation is history: nobody lets it ring for so long. */
const INVITE_MS = 120_000;
/** Of the history, where an invitation that still rings may stand. */
const NEWEST = 20;
const OVER = "The call is over.";

export class Ringing {
  readonly #engine: Engine;
  readonly #calls: GoingCalls;

  constructor(engine: Engine, calls: GoingCalls) {
    this.#engine = engine;
    this.#calls = calls;
  }

  /** Something of the history is new, or has its position now. */
  item(conversation: Conversation, stored: Stored): void {
    const content = stored.envelope?.content;
    if (content?.kind === "call.invite" && stored.seq > 0) {
      const age = this.#engine.environment.nowMs() - stored.sentMs;
      if (stored.mine) this.#placed(conversation, content, stored, age);
      else if (age < INVITE_MS) this.#invited(conversation, content, stored, age);
    }
    if (content?.kind === "call.ended" && !stored.mine) this.#endedBy(content, stored.user);
  }

  /** What began to ring before the room was shown still may; `over`: of these calls nothing rings any more. */
  async lookBack(conversation: Conversation, over: ReadonlySet<string>): Promise<void> {
    const newest = await conversation.history(NEWEST, null);
    const ended = endedOf(newest);
    for (const item of newest) {
      if (item.kind !== "call.invite" || item.mine || ended.has(item.call) || over.has(item.call)) continue;
      const stored = await conversation.find(item.id);
      if (stored !== null) this.item(conversation, stored);
    }
  }

  /** The message with which this device called, of a tab that was closed; null: nobody did. Raises CallNotPossible. */
  async invited(conversation: Conversation, id: string): Promise<Stored | null> {
    const newest = await conversation.history(NEWEST, null);
    if (endedOf(newest).has(id)) throw new CallNotPossible(OVER);
    const item = newest.find((one) => one.kind === "call.invite" && one.mine && one.call === id);
    return item === undefined ? null : conversation.find(item.id);
  }

  /** It rings in a page since another tab had the device: the page is told once that is over, or at once. */
  async goesOn(conversation: Conversation, id: string): Promise<void> {
    const going = this.#calls.get(id);
    if (going !== undefined && isEarly(going.live.state)) going.rings = true;
    else if (going !== undefined) this.over(going);
    else this.#tellOver(conversation, id, await this.#whyOver(conversation, id));
  }

  /** Of a call that ended while no tab of this browser had the device. */
  async #whyOver(conversation: Conversation, id: string): Promise<string> {
    const newest = await conversation.history(NEWEST, null);
    const item = newest.find((one) => one.kind === "call.ended" && one.call === id);
    const stored = item === undefined ? null : await conversation.find(item.id);
    const content = stored?.envelope?.content;
    if (stored === null || content?.kind !== "call.ended") return OVER;
    const taker = this.#calls.takerBy(conversation, content.device);
    return overElsewhere(content, this.#engine.nameOf(stored.user), taker);
  }

  #placed(conversation: Conversation, { call }: CallInvite, { id, seq }: Stored, age: number): void {
    const ours = this.#calls.get(hex(call));
    if (ours?.invitation === id) {
      if (ours.live.state.seq === null) ours.live.happen({ type: "inviteStored", seq });
    } else if (ours === undefined && age < RING_MS) {
      this.#giveWay(conversation, seq); // two devices of one person call at once: one call is enough
    }
  }

  #invited(conversation: Conversation, { call, media }: CallInvite, stored: Stored, age: number): void {
    const { id, seq, device, user } = stored;
    const { account } = this.#engine;
    if (this.#calls.get(hex(call)) !== undefined) return;
    if (user === account.user) {
      if (age < RING_MS) this.#giveWay(conversation, seq);
      return;
    }
    const caller = conversation.view?.leaves.find((leaf) => leaf.name === device);
    const busy = this.#calls.of(conversation).filter((one) => !isOver(one)).length;
    if (caller === undefined || busy >= MAX_CALLS) return;
    const facts = factsOf(account, conversation, call, "callee", media, caller, caller.device);
    this.#calls.begin(conversation, facts, id).live.happen({ type: "invited", seq });
  }

  /** Only who called says how it went. */
  #endedBy({ call, outcome, device }: CallEnded, user: string): void {
    const going = this.#calls.get(hex(call));
    if (going?.live.state.facts.role !== "callee" || this.#calls.userOf(going) !== user) return;
    going.live.happen({ type: "endedElsewhere", outcome, device });
  }

  /** Glare: a call of ours that nobody has taken yet ends if the invitation at `seq` came before it. */
  #giveWay(conversation: Conversation, seq: number): void {
    for (const { live } of this.#early(conversation)) live.happen({ type: "peerInvited", seq });
  }

  #early(conversation: Conversation): readonly Going[] {
    return this.#calls.of(conversation).filter(({ live: { state } }) => {
      return state.facts.role === "caller" && isEarly(state);
    });
  }

  /** Somebody calls: of two who call each other, one call gives way. */
  ring(going: Going): void {
    const { conversation, live } = going;
    const { seq } = live.state;
    if (seq !== null) this.#giveWay(conversation, seq);
    // Ours came first: theirs gives way as soon as it hears of it.
    if (going.rings || this.#early(conversation).length > 0) return;
    this.tell(going);
  }

  /** What had waited for a call of ours to give way may ring now. */
  ringWaiting(conversation: Conversation): void {
    for (const one of this.#calls.of(conversation)) if (isIncoming(one) && !one.rings) this.ring(one);
  }

  /** The page lets it ring. */
  tell(going: Going): void {
    const { id: call, conversation, media, returns } = going;
    going.rings = true;
    const news: RingNews = { call, user: this.#calls.userOf(going), media, returns };
    this.#engine.tell(RING, conversation.id, news);
  }

  /** It does not ring any more. */
  over(going: Going): void {
    const { id: call, conversation, live, returns } = going;
    const taker = this.#calls.takerOf(going);
    const name = this.#engine.nameOf(this.#calls.userOf(going));
    const why = returns
      ? (whyEnded(live.state, name, taker)?.message ?? "")
      : whyOver(live.state, name, taker);
    this.#tellOver(conversation, call, why);
  }

  #tellOver(conversation: Conversation, call: string, why: string): void {
    const over: RingOver = { call, why };
    this.#engine.tell(RING_OVER, conversation.id, over);
  }
}

/** Of these the calls that are over. */
const endedOf = (items: readonly Item[]): ReadonlySet<string> =>
  new Set(items.flatMap((item) => (item.kind === "call.ended" ? [item.call] : [])));

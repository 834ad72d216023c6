/** What is being called, in the Worker: invitations and ends are stored messages, the negotiation is whispered. */

import { equal, hex, unhex } from "../bytes.ts";
import type { Media } from "../content/messages.ts";
import { callEnded, callInvite } from "../content/messages.ts";
import type { Conversation } from "../engine/conversation.ts";
import type { Engine } from "../engine/engine.ts";
import type { Stored } from "../engine/history.ts";
import { somebodyListens } from "../engine/situation.ts";
import type { Whisper } from "../engine/whispers.ts";
import { UsageError } from "../errors.ts";
import { verifiedBy } from "../identity/trust.ts";
import { CalledAlready, CallMessageInvalid, CallNotPossible } from "./errors.ts";
import type { Going } from "./going.ts";
import { GoingCalls, isEarly, isIncoming, isOver } from "./going.ts";
import { CallKeeping, openCall, openCallOf } from "./keeping.ts";
import { callIdOf, isAboutCalls, parseMessage } from "./messages.ts";
import { Returning } from "./returning.ts";
import { MAX_CALLS, Ringing } from "./ringing.ts";
import { stateOf, whyEnded } from "./sentences.ts";
import type { Negotiation } from "./states.ts";
import type { CallNews, LeftCall, MediaNews } from "./told.ts";
import { CALL_NEWS } from "./told.ts";
import { factsOf, leafOf, onlyOther } from "./whoIsWho.ts";

/** Whoever listens to one conversation is not to hear what is said in another. */
const BUSY = "You are in a call already, here or in another conversation. End it first.";
const TAKEN = "You answered in another tab of this browser. Go on there.";
/** An ended call still tells those who ask that it is over for so long. */
const LINGER_MS = 30_000;

export class Calls {
  readonly #engine: Engine;
  readonly #calls: GoingCalls;
  readonly #ringing: Ringing;
  readonly #keeping: CallKeeping;
  readonly #returning: Returning;

  constructor(engine: Engine) {
    this.#engine = engine;
    this.#calls = new GoingCalls(engine, (going, before) => this.#changed(going, before));
    this.#ringing = new Ringing(engine, this.#calls);
    this.#keeping = new CallKeeping(engine.vault);
    this.#returning = new Returning(engine, this.#calls, this.#ringing, this.#keeping);
  }

  // What a person does

  /** Whom a call of this conversation would be to; raises CallNotPossible. */
  async able(engagement: string): Promise<string> {
    const conversation = await this.#engine.conversation(engagement);
    this.#checkFree(conversation);
    return onlyOther(this.#engine.account, conversation)?.user ?? "";
  }

  /** Call whoever else takes part. */
  async invite(engagement: string, id: string, video: boolean): Promise<null> {
    const conversation = await this.#engine.conversation(engagement);
    const said = await this.#ringing.invited(conversation, id);
    if (this.#calls.get(id) !== undefined) return null; // asked again by a tab that did not hear the answer
    this.#checkFree(conversation);
    const call = unhex(id);
    const media: readonly Media[] = video ? ["audio", "video"] : ["audio"];
    const message = said === null ? this.#engine.environment.rng(16) : unhex(said.id);
    const { account } = this.#engine;
    const peer = onlyOther(account, conversation);
    const facts = factsOf(account, conversation, call, "caller", media, peer, null);
    const going = this.#calls.begin(conversation, facts, hex(message));
    going.taken = id;
    going.live.happen({ type: "invite" });
    if (said !== null) {
      // A tab that was closed said it, and it rings: now this one's.
      if (said.seq > 0) going.live.happen({ type: "inviteStored", seq: said.seq });
      return null;
    }
    try {
      await this.#keeping.say(conversation, callInvite(call, media), message, openCall(call, true));
    } catch (error) {
      this.#calls.forget(id);
      throw error;
    }
    return null;
  }

  #checkFree(conversation: Conversation): void {
    const here = this.#calls.of(conversation).filter((one) => !isOver(one));
    if (here.length >= MAX_CALLS || this.#calls.taken() !== undefined) throw new CallNotPossible(BUSY);
    if (here.some(({ live }) => live.state.phase === "ringing")) {
      throw new CalledAlready("They are calling you at this moment. Take their call.");
    }
    if (!conversation.member || !somebodyListens(conversation.situation)) {
      throw new CallNotPossible("Nobody else has joined the conversation yet.");
    }
    if (conversation.alarm !== null) {
      throw new CallNotPossible("There is something to look at first: nothing is sent until you have.");
    }
  }

  async take(engagement: string, id: string, by: string): Promise<null> {
    const going = await this.#known(engagement, id);
    const { conversation, live, returns } = going;
    if (going.taken === by) return null; // asked again by a tab that did not hear the answer
    if (going.taken !== null) throw new CallNotPossible(TAKEN);
    const other = this.#calls.taken();
    if (other !== undefined && other !== going) throw new CallNotPossible(BUSY);
    live.happen({ type: returns ? "returned" : "accepted" });
    going.taken = by;
    this.#tell(going);
    if (!going.rings && !returns) this.#ringing.over(going);
    if (returns) return null; // what is left to be said of it was noted when it was connected
    await this.#keeping.keep(conversation, openCall(live.state.facts.call, false));
    return null;
  }

  async decline(engagement: string, id: string): Promise<null> {
    const going = await this.#known(engagement, id);
    going.live.happen({ type: going.returns ? "hungUp" : "declined" });
    if (!going.rings && !going.returns) this.#ringing.over(going);
    return null;
  }

  /** What rang while another tab had the device is looked for. Raises CallNotPossible if it is over. */
  async #known(engagement: string, id: string): Promise<Going> {
    if (this.#calls.get(id) === undefined) {
      const conversation = await this.#engine.conversation(engagement);
      // This call too where a tab took it that was closed right then: nobody has answered who called.
      const others = [...(await this.#keeping.ids())].filter((one) => one !== id);
      await this.#ringing.lookBack(conversation, new Set(others));
    }
    return this.#calls.find(id);
  }

  /** The page that has it is left. */
  async leave(id: string, leftMs: number): Promise<null> {
    this.#returning.leave(id, leftMs);
    return null;
  }

  /** False: the call is not known here; another tab that had the device was closed. */
  async hangUp(id: string): Promise<boolean> {
    const going = this.#calls.get(id);
    going?.live.happen({ type: "hungUp" });
    return going !== undefined;
  }

  /** What the page says of the connection; false: likewise. */
  async told(id: string, news: MediaNews): Promise<boolean> {
    const going = this.#calls.get(id);
    going?.live.told(news);
    return going !== undefined;
  }

  /** A tab has this call, and the one that had the device was closed: it goes on. False: it cannot. */
  async goOn(engagement: string, id: string, by: string): Promise<boolean> {
    const conversation = await this.#engine.conversation(engagement);
    const known = this.#calls.get(id);
    if (known?.taken === null && !known.returns) return false; // it rings here, and this tab's press is still to come
    const going = known ?? (await this.#returning.goOn(conversation, id));
    if (going?.taken === null) await this.take(engagement, id, by);
    return going !== null;
  }

  /** Another tab has the device now: what rang before rings on; of these, which ring in a page, it is told if not. */
  async lookBack(engagement: string, rings: readonly string[]): Promise<null> {
    const conversation = await this.#engine.conversation(engagement);
    await this.#ringing.lookBack(conversation, await this.#keeping.ids());
    for (const id of rings) await this.#ringing.goesOn(conversation, id);
    return null;
  }

  /** Both have read these words aloud: the identity key that they bind is the other person's. */
  async wordsMatch(id: string, words: readonly string[]): Promise<null> {
    const { conversation, live } = this.#calls.find(id);
    const { attempt, peerIdentity } = live.state;
    if (attempt?.words == null || attempt.words.join(" ") !== words.join(" ") || peerIdentity === null) {
      throw new UsageError("The words have changed with the connection. Read the new ones aloud.");
    }
    const leaf = leafOf(conversation, live.state.peerDevice);
    if (leaf === undefined || !equal(leaf.manifest.identityKey, peerIdentity)) {
      throw new UsageError("This person's device is not in the conversation any more. Nothing was verified.");
    }
    await conversation.decide(async (work) => {
      const record = work.trustOf(leaf.user);
      if (record === null) throw new UsageError("This person has not taken part yet.");
      work.setTrust(verifiedBy(record, peerIdentity, this.#engine.environment.nowMs()));
    });
    return null;
  }

  // What comes in

  /** There is a connection: calls that were left are returned to, or over. */
  begin(): Promise<void> {
    return this.#returning.begin();
  }

  /** Something of the history is new, or has its position now. */
  item(conversation: Conversation, stored: Stored): void {
    this.#ringing.item(conversation, stored);
  }

  /** A room is shown: what began to ring before still may. */
  async watch(engagement: string, left: LeftCall | null): Promise<null> {
    const conversation = await this.#engine.conversation(engagement);
    await this.#returning.claim(conversation, left);
    // What was taken here does not ring: it is returned to, or over.
    await this.#ringing.lookBack(conversation, await this.#keeping.ids());
    return null;
  }

  heard(_conversation: Conversation, { sender, kind, body, authenticator }: Whisper): void {
    if (!isAboutCalls(kind)) return;
    try {
      const going = this.#calls.get(hex(callIdOf(body)));
      const message = parseMessage(kind, body);
      const { device, manifest } = sender;
      const identity = manifest.identityKey;
      going?.live.happen({ type: "received", device, identity, message, authenticator });
    } catch (error) {
      if (!(error instanceof CallMessageInvalid)) throw error; // it was dropped; the call goes on
    }
  }

  destroy(): void {
    this.#calls.destroy();
  }

  // What becomes of a call

  #changed(going: Going, before: Negotiation): void {
    const { live, returns } = going;
    const { state } = live;
    const moved = state.phase !== before.phase;
    if (isIncoming(going) && !going.rings) this.#ringing.ring(going);
    if (moved || state.attempt?.words !== before.attempt?.words) this.#tell(going);
    if (moved && state.phase === "connected") this.#note(going);
    const rang = returns ? before.phase === "idle" : isEarly(before) && !isEarly(state);
    if (moved && rang && going.rings) this.#ringing.over(going);
    if (moved && state.phase === "ended") this.#ended(going);
  }

  #tell(going: Going): void {
    const { id: call, conversation, live, taken } = going;
    if (taken === null) return;
    const { state } = live;
    const user = this.#calls.userOf(going);
    const news: CallNews = {
      call,
      user,
      state: stateOf(state),
      words: state.attempt?.words ?? [],
      startedMs: state.connectedAt,
      ended: whyEnded(state, this.#engine.nameOf(user), this.#calls.takerOf(going)),
    };
    this.#engine.tell(CALL_NEWS, conversation.id, news);
  }

  #note(going: Going): void {
    const open = openCallOf(going.live.state, this.#calls.userOf(going));
    this.#keeping.keep(going.conversation, open).catch((error: unknown) => this.#engine.fault(error));
  }

  /** Whoever began it says how it went; for a while it still tells those who ask that it is over. */
  #ended(going: Going): void {
    this.#ringing.ringWaiting(going.conversation);
    const work = going.live.state.facts.role === "caller" ? this.#say(going) : this.#settle(going);
    work.catch((error: unknown) => this.#engine.fault(error));
    this.#report(going);
    this.#calls.later(LINGER_MS, () => this.#calls.forget(going.id));
  }

  async #say(going: Going): Promise<void> {
    const { facts, end } = going.live.state;
    if (end === null) return;
    const { outcome, seconds, device } = end;
    const answeredBy = outcome === "answered" ? this.#calls.userOf(going) : null;
    const said = callEnded({ call: facts.call, outcome, answeredBy, seconds, device });
    await this.#keeping.say(going.conversation, said, this.#engine.environment.rng(16), null);
  }

  async #settle({ conversation, live, taken, returns }: Going): Promise<void> {
    if (taken !== null || returns) await this.#keeping.drop(conversation, live.state.facts.call);
  }

  /** Let the operator count how calls connect; a call that nobody took says nothing about that. */
  #report({ live }: Going): void {
    const path = live.path || (live.state.end?.outcome === "failed" ? "failed" : "");
    if (path !== "") this.#engine.tellRelay({ frame: "CallOutcome", path });
  }
}

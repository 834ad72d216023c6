/** What is being called, in the Worker: invitations and ends are stored messages, the negotiation is whispered. */

import type { Bytes } from "../bytes.ts";
import { equal, hex, unhex } from "../bytes.ts";
import type { CallEnded, CallInvite, Media } from "../content/messages.ts";
import { callEnded, callInvite } from "../content/messages.ts";
import type { Conversation } from "../engine/conversation.ts";
import type { Engine } from "../engine/engine.ts";
import type { Stored } from "../engine/history.ts";
import { queue } from "../engine/sending.ts";
import { somebodyListens } from "../engine/situation.ts";
import type { Whisper } from "../engine/whispers.ts";
import { RelayError, RelayUnreachable, UsageError } from "../errors.ts";
import type { Leaf } from "../identity/membership.ts";
import { verifiedBy } from "../identity/trust.ts";
import { CalledAlready, CallMessageInvalid, CallNotPossible } from "./errors.ts";
import { LiveCall } from "./live.ts";
import type { Message } from "./messages.ts";
import { callIdOf, isAboutCalls, messageBody, parseMessage } from "./messages.ts";
import type { OpenCall } from "./records.ts";
import { OPEN_CALLS, openCallName, parseOpenCall, serializeOpenCall } from "./records.ts";
import { stateOf, whyEnded, whyOver } from "./sentences.ts";
import type { CallFacts, MediaAction, Negotiation, Role } from "./states.ts";
import { RING_MS } from "./states.ts";
import type { CallNews, CallWork, IceServer, MediaNews, RingNews, RingOver } from "./told.ts";
import { CALL_NEWS, CALL_WORK, RING, RING_OVER } from "./told.ts";

/** Live in one conversation: one that is spoken in, and what rings besides. */
const MAX_CALLS = 4;
/** An older invitation is history: nobody lets it ring for so long. */
const INVITE_MS = 120_000;
/** A new attempt waits so long for the relay: half of what it has. */
const ONLINE_MS = 15_000;
const ONLINE_LOOK_MS = 250;
/** An ended call still tells those who ask that it is over for so long. */
const LINGER_MS = 30_000;
/** Of the history, where an invitation that still rings may stand. */
const NEWEST = 20;

interface Going {
  readonly conversation: Conversation;
  readonly live: LiveCall;
  readonly media: readonly Media[];
  /** Of the invitation: the id of its message. */
  readonly invitation: string;
  /** The page was told that it rings. */
  rings: boolean;
  /** The page takes it. */
  taken: boolean;
}

export class Calls {
  readonly #engine: Engine;
  readonly #going = new Map<string, Going>();
  readonly #stop = new AbortController();

  constructor(engine: Engine) {
    this.#engine = engine;
  }

  // Out

  /** Whom a call of this conversation would be to; raises CallNotPossible. */
  async able(engagement: string): Promise<string> {
    const conversation = await this.#engine.conversation(engagement);
    this.#checkFree(conversation);
    return this.#onlyOther(conversation)?.user ?? "";
  }

  /** Call whoever else takes part. */
  async invite(engagement: string, id: string, video: boolean): Promise<null> {
    const conversation = await this.#engine.conversation(engagement);
    this.#checkFree(conversation);
    const call = unhex(id);
    const media: readonly Media[] = video ? ["audio", "video"] : ["audio"];
    const message = this.#engine.environment.rng(16);
    const facts = this.#facts(conversation, call, "caller", media, this.#onlyOther(conversation), null);
    const going = this.#begin(conversation, facts, hex(message));
    going.taken = true;
    going.live.happen({ type: "invite" });
    try {
      await this.#store(conversation, callInvite(call, media), message, openCall(call, true));
    } catch (error) {
      this.#forget(id);
      throw error;
    }
    return null;
  }

  #checkFree(conversation: Conversation): void {
    const here = this.#of(conversation).filter(({ live }) => live.state.phase !== "ended");
    if (here.length >= MAX_CALLS || here.some(({ taken }) => taken)) {
      throw new CallNotPossible("You are in a call already. End it first.");
    }
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

  // In

  /** Something of the history is new, or has its position now. */
  item(conversation: Conversation, { id, seq, mine, user, device, sentMs, envelope }: Stored): void {
    const content = envelope?.content;
    if (content?.kind === "call.invite" && seq > 0) {
      const age = this.#engine.environment.nowMs() - sentMs;
      if (mine) this.#placed(id, seq, content, age, conversation);
      else if (age < INVITE_MS) this.#invited(conversation, content, id, seq, device, user, age);
    }
    if (content?.kind === "call.ended" && !mine) this.#endedBy(content, user);
  }

  #placed(id: string, seq: number, { call }: CallInvite, age: number, conversation: Conversation): void {
    const ours = this.#going.get(hex(call));
    if (ours?.invitation === id) {
      if (ours.live.state.seq === null) ours.live.happen({ type: "inviteStored", seq });
    } else if (ours === undefined && age < RING_MS) {
      this.#giveWay(conversation, seq); // two devices of one person call at once: one call is enough
    }
  }

  #invited(
    conversation: Conversation,
    invite: CallInvite,
    id: string,
    seq: number,
    device: string,
    user: string,
    age: number,
  ): void {
    if (this.#going.has(hex(invite.call))) return;
    if (user === this.#engine.account.user) {
      if (age < RING_MS) this.#giveWay(conversation, seq);
      return;
    }
    const caller = conversation.view?.leaves.find((leaf) => leaf.name === device);
    const busy = this.#of(conversation).filter(({ live }) => live.state.phase !== "ended").length;
    if (caller === undefined || busy >= MAX_CALLS) return;
    const facts = this.#facts(conversation, invite.call, "callee", invite.media, caller, caller.device);
    this.#begin(conversation, facts, id).live.happen({ type: "invited", seq });
  }

  /** Glare: a call of ours that nobody has taken yet ends if the invitation at `seq` came before it. */
  #giveWay(conversation: Conversation, seq: number): void {
    for (const { live } of this.#early(conversation)) live.happen({ type: "peerInvited", seq });
  }

  #early(conversation: Conversation): readonly Going[] {
    return this.#of(conversation).filter(({ live: { state } }) => {
      return state.facts.role === "caller" && (state.phase === "inviting" || state.phase === "ringing");
    });
  }

  /** Only who called says how it went. */
  #endedBy({ call, outcome, device }: CallEnded, user: string): void {
    const going = this.#going.get(hex(call));
    if (going?.live.state.facts.role !== "callee" || this.#userOf(going) !== user) return;
    going.live.happen({ type: "endedElsewhere", outcome, device });
  }

  /** A room is shown: what began to ring before still may. */
  async watch(engagement: string): Promise<null> {
    const conversation = await this.#engine.conversation(engagement);
    const newest = await conversation.history(NEWEST, null);
    const over = new Set(newest.flatMap((item) => (item.kind === "call.ended" ? [item.call] : [])));
    for (const item of newest) {
      if (item.kind !== "call.invite" || item.mine || over.has(item.call)) continue;
      const stored = await conversation.find(item.id);
      if (stored !== null) this.item(conversation, stored);
    }
    return null;
  }

  heard(_conversation: Conversation, { sender, kind, body, authenticator }: Whisper): void {
    if (!isAboutCalls(kind)) return;
    try {
      const going = this.#going.get(hex(callIdOf(body)));
      const message = parseMessage(kind, body);
      const { device, manifest } = sender;
      const identity = manifest.identityKey;
      going?.live.happen({ type: "received", device, identity, message, authenticator });
    } catch (error) {
      if (!(error instanceof CallMessageInvalid)) throw error; // it was dropped; the call goes on
    }
  }

  // What the page says

  async take(id: string): Promise<null> {
    const going = this.#find(id);
    const busy = this.#of(going.conversation).some((one) => one !== going && one.taken && !isOver(one));
    if (busy) throw new CallNotPossible("You are in a call already. End it first.");
    going.live.happen({ type: "accepted" });
    going.taken = true;
    this.#tell(going);
    const { conversation, live } = going;
    await this.#remember(conversation, openCall(live.state.facts.call, false));
    return null;
  }

  async decline(id: string): Promise<null> {
    this.#find(id).live.happen({ type: "declined" });
    return null;
  }

  /** False: the call is not known here; another tab that had the device was closed. */
  async hangUp(id: string): Promise<boolean> {
    this.#going.get(id)?.live.happen({ type: "hungUp" });
    return this.#going.has(id);
  }

  /** False: likewise. */
  async told(id: string, news: MediaNews): Promise<boolean> {
    this.#going.get(id)?.live.told(news);
    return this.#going.has(id);
  }

  /** Both have read these words aloud: the identity key that they bind is the other person's. */
  async wordsMatch(id: string, words: readonly string[]): Promise<null> {
    const { conversation, live } = this.#find(id);
    const { attempt, peerIdentity } = live.state;
    if (attempt?.words == null || attempt.words.join(" ") !== words.join(" ") || peerIdentity === null) {
      throw new UsageError("The words have changed with the connection. Read the new ones aloud.");
    }
    const leaf = this.#leafOf(conversation, live.state.peerDevice);
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

  // One call

  #begin(conversation: Conversation, facts: CallFacts, invitation: string): Going {
    const id = hex(facts.call);
    const { environment } = this.#engine;
    const live = new LiveCall(facts, {
      nowMs: () => environment.nowMs(),
      rng: environment.rng,
      sleep: (ms, signal) => environment.sleep(ms, signal),
      send: (message) => this.#whisper(conversation, message, facts.call),
      work: (action) => void this.#work(id, action),
      changed: (before) => this.#changed(id, before),
      fault: (error) => this.#engine.fault(error),
    });
    const going: Going = { conversation, live, media: facts.kinds, invitation, rings: false, taken: false };
    this.#going.set(id, going);
    return going;
  }

  async #whisper(conversation: Conversation, message: Message, call: Bytes): Promise<Bytes> {
    if (conversation.alarm !== null) throw new CallNotPossible("Nothing is sent until somebody has looked.");
    const authenticator = await conversation.whisper(message.kind, messageBody(message, call));
    if (authenticator === null) throw new RelayUnreachable("The conversation is not open at the relay.");
    return authenticator;
  }

  /** Hand it to the page; with what leads around firewalls, where a connection is to be made. */
  async #work(id: string, action: MediaAction): Promise<void> {
    const going = this.#going.get(id);
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

  #changed(id: string, before: Negotiation): void {
    const going = this.#going.get(id);
    if (going === undefined) return;
    const { state } = going.live;
    if (state.phase === "ringing" && state.facts.role === "callee" && !going.rings) this.#ring(going);
    if (state.phase !== before.phase || state.attempt?.words !== before.attempt?.words) this.#tell(going);
    if (state.phase === "connected" && before.connectedAt === null) this.#noteWhoAnswered(going);
    if (before.phase === "ringing" && state.phase !== "ringing" && going.rings) this.#over(going);
    if (state.phase === "ended" && before.phase !== "ended") this.#ended(id, going);
  }

  #tell({ conversation, live, taken, ...going }: Going): void {
    if (!taken) return;
    const { state } = live;
    const user = this.#userOf({ conversation, live, taken, ...going });
    const news: CallNews = {
      call: hex(state.facts.call),
      user,
      state: stateOf(state),
      words: state.attempt?.words ?? [],
      startedMs: state.connectedAt,
      ended: whyEnded(state, this.#engine.nameOf(user)),
    };
    this.#engine.tell(CALL_NEWS, conversation.id, news);
  }

  #ring(going: Going): void {
    const { conversation, live, media } = going;
    const { seq } = live.state;
    if (seq !== null) this.#giveWay(conversation, seq);
    // Ours came first: theirs gives way as soon as it hears of it.
    if (going.rings || this.#early(conversation).length > 0) return;
    going.rings = true;
    const news: RingNews = { call: hex(live.state.facts.call), user: this.#userOf(going), media };
    this.#engine.tell(RING, conversation.id, news);
  }

  #over(going: Going): void {
    const { conversation, live } = going;
    const { state } = live;
    const device = this.#ownDevice(conversation, state.end?.device ?? null);
    const why = whyOver(state, this.#engine.nameOf(this.#userOf(going)), device);
    const over: RingOver = { call: hex(state.facts.call), why };
    this.#engine.tell(RING_OVER, conversation.id, over);
  }

  /** "another device of yours" where it is one of this person's, else empty. */
  #ownDevice(conversation: Conversation, device: Bytes | null): string {
    const leaf = this.#leafOf(conversation, device);
    return leaf?.user === this.#engine.account.user ? "another device of yours" : "";
  }

  #noteWhoAnswered(going: Going): void {
    const { facts, peerDevice } = going.live.state;
    if (facts.role !== "caller") return;
    const { call } = facts;
    const noted = { call, isCaller: true, answeredBy: this.#userOf(going), device: peerDevice };
    this.#remember(going.conversation, noted).catch((error: unknown) => this.#engine.fault(error));
  }

  /** Whoever began it says how it went; for a while it still tells those who ask that it is over. */
  #ended(id: string, going: Going): void {
    // Another one that had waited for ours to give way may ring now.
    for (const one of this.#of(going.conversation)) {
      if (one.live.state.phase === "ringing" && one.live.state.facts.role === "callee" && !one.rings) {
        this.#ring(one);
      }
    }
    const work = going.live.state.facts.role === "caller" ? this.#say(going) : this.#settle(going);
    work.catch((error: unknown) => this.#engine.fault(error));
    this.#report(going);
    void this.#engine.environment.sleep(LINGER_MS, this.#stop.signal).then(() => this.#forget(id));
  }

  async #say(going: Going): Promise<void> {
    const { conversation, live } = going;
    const { facts, end } = live.state;
    if (end === null) return;
    const { outcome, seconds, device } = end;
    const answeredBy = outcome === "answered" ? this.#userOf(going) : null;
    const said = callEnded({ call: facts.call, outcome, answeredBy, seconds, device });
    await this.#store(conversation, said, this.#engine.environment.rng(16), null);
  }

  async #settle({ conversation, live, taken }: Going): Promise<void> {
    if (!taken) return;
    const name = openCallName(conversation.id, live.state.facts.call);
    await this.#engine.vault.write([{ name, value: null }]);
  }

  /** Let the operator count how calls connect; a call that nobody took says nothing about that. */
  #report({ live }: Going): void {
    const path = live.path || (live.state.end?.outcome === "failed" ? "failed" : "");
    if (path !== "") this.#engine.tellRelay({ frame: "CallOutcome", path });
  }

  #forget(id: string): void {
    this.#going.get(id)?.live.close();
    this.#going.delete(id);
  }

  // What is stored

  /** Say something about a call, and remember what is still to be said, in one step. */
  async #store(
    conversation: Conversation,
    content: CallInvite | CallEnded,
    id: Bytes,
    left: OpenCall | null,
  ): Promise<void> {
    const name = openCallName(conversation.id, content.call);
    await conversation.step(async (work) => {
      await queue(work, content, { id });
      work.put(name, left && serializeOpenCall(left));
    });
    conversation.wake();
  }

  async #remember(conversation: Conversation, left: OpenCall): Promise<void> {
    const name = openCallName(conversation.id, left.call);
    await this.#engine.vault.write([{ name, value: serializeOpenCall(left) }]);
  }

  /** Calls that were going on when the page ended are over: the others are told. */
  async begin(): Promise<void> {
    for (const [name, data] of await this.#engine.vault.scan(OPEN_CALLS)) {
      const [engagement = ""] = name.slice(OPEN_CALLS.length).split("/");
      const left = parseOpenCall(data);
      if (this.#going.has(hex(left.call))) continue;
      const conversation = await this.#engine.conversation(engagement);
      const bye: Message = { kind: "call.hangup", reason: "hung_up" };
      await this.#whisper(conversation, bye, left.call).catch(() => null); // best effort, as all of them
      const outcome = left.answeredBy === "" ? "missed" : "answered";
      const said = callEnded({
        call: left.call,
        outcome,
        answeredBy: left.answeredBy || null,
        seconds: 0,
        device: left.device,
      });
      if (left.isCaller) await this.#store(conversation, said, this.#engine.environment.rng(16), null);
      else await this.#engine.vault.write([{ name, value: null }]);
    }
  }

  destroy(): void {
    this.#stop.abort();
    for (const id of [...this.#going.keys()]) this.#forget(id);
  }

  // Who is who

  #facts(
    { view, id }: Conversation,
    call: Bytes,
    role: Role,
    kinds: readonly Media[],
    peer: Leaf | undefined,
    callerDevice: Bytes | null,
  ): CallFacts {
    if (view === null) throw new CallNotPossible(`This device does not take part in ${id} yet.`);
    const { deviceId, manifest } = this.#engine.account;
    return {
      call,
      role,
      groupId: view.groupId,
      ownDevice: deviceId,
      ownIdentity: manifest.identityKey,
      kinds,
      peerIdentity: peer?.manifest.identityKey ?? null,
      callerDevice,
    };
  }

  /** A device of the only other person; undefined where there are several. */
  #onlyOther({ view }: Conversation): Leaf | undefined {
    const others = (view?.leaves ?? []).filter(({ user }) => user !== this.#engine.account.user);
    return new Set(others.map(({ user }) => user)).size === 1 ? others[0] : undefined;
  }

  #leafOf({ view }: Conversation, device: Bytes | null): Leaf | undefined {
    if (device === null) return undefined;
    return view?.leaves.find((leaf) => equal(leaf.device, device));
  }

  #userOf({ conversation, live: { state } }: Going): string {
    const device = state.peerDevice ?? state.facts.callerDevice;
    return this.#leafOf(conversation, device)?.user ?? this.#onlyOther(conversation)?.user ?? "";
  }

  #of(conversation: Conversation): readonly Going[] {
    return [...this.#going.values()].filter((one) => one.conversation === conversation);
  }

  #find(id: string): Going {
    const going = this.#going.get(id);
    if (going === undefined) throw new CallNotPossible("The call is over.");
    return going;
  }
}

const isOver = ({ live }: Going): boolean => live.state.phase === "ended";
const openCall = (call: Bytes, isCaller: boolean): OpenCall => ({
  call,
  isCaller,
  answeredBy: "",
  device: null,
});

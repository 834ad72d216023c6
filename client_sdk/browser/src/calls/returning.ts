/** A page that is left in the middle of a call: its tab may return to it for a while, else the call is over. */

import { hex } from "../bytes.ts";
import { callEnded } from "../content/messages.ts";
import type { Conversation } from "../engine/conversation.ts";
import type { Engine } from "../engine/engine.ts";
import type { Going, GoingCalls } from "./going.ts";
import { isOver } from "./going.ts";
import type { CallKeeping, Kept } from "./keeping.ts";
import { openCallOf } from "./keeping.ts";
import type { Message } from "./messages.ts";
import type { OpenCall } from "./records.ts";
import type { Ringing } from "./ringing.ts";
import { RETURN_MS } from "./states.ts";
import type { LeftCall } from "./told.ts";
import { factsOf, leafOf } from "./whoIsWho.ts";

/** Calls of conversations that nobody opens are not waited for any longer: they are over. */
const UNCLAIMED_MS = 10_000;

export class Returning {
  readonly #engine: Engine;
  readonly #calls: GoingCalls;
  readonly #ringing: Ringing;
  readonly #keeping: CallKeeping;
  /** By conversation that was opened: the call that its tab had left. */
  readonly #claims = new Map<string, LeftCall | null>();
  /** Of calls that are being ended, the names of their records. */
  readonly #ending = new Set<string>();

  constructor(engine: Engine, calls: GoingCalls, ringing: Ringing, keeping: CallKeeping) {
    this.#engine = engine;
    this.#calls = calls;
    this.#ringing = ringing;
    this.#keeping = keeping;
  }

  /** The page that has the call is left: what was connected waits for a while, anything else ends. */
  leave(id: string, leftMs: number): void {
    const going = this.#calls.get(id);
    if (going === undefined || going.taken === null || isOver(going)) return;
    const { conversation, live } = going;
    const open = openCallOf(live.state, this.#calls.userOf(going));
    if (this.#interrupted(conversation, open, leftMs)) live.close();
    else live.happen({ type: "hungUp" });
  }

  /** A room is shown, in a tab that had left this call, or none: what waits there rings. */
  async claim(conversation: Conversation, left: LeftCall | null): Promise<void> {
    this.#claims.set(conversation.id, left ?? this.#claims.get(conversation.id) ?? null);
    const here = this.#calls.of(conversation).find(({ returns, taken }) => returns && taken === null);
    if (here !== undefined) this.#ringing.tell(here);
    else if (this.#engine.online) await this.begin();
  }

  /** Calls that were going on when the page ended are over, but for one to which its tab returns. */
  async begin(isLate = false): Promise<void> {
    let waits = false;
    for (const kept of await this.#keeping.all()) {
      const { name, engagement, open } = kept;
      const id = hex(open.call);
      if (this.#calls.get(id) !== undefined || this.#ending.has(name)) continue;
      const claim = this.#claims.get(engagement);
      if (claim === undefined && !isLate) waits = true;
      else if (claim?.call !== id || !(await this.#comesBack(kept, claim.leftMs))) await this.#over(kept);
    }
    if (waits) this.#calls.later(UNCLAIMED_MS, () => this.begin(true));
  }

  /** The tab that is in this call was never left, but only the one that had the device; null: it cannot go on. */
  async goOn(conversation: Conversation, id: string): Promise<Going | null> {
    const kept = (await this.#keeping.all()).find(({ open }) => hex(open.call) === id);
    const here = this.#calls.get(id);
    if (here !== undefined) return here;
    if (kept === undefined || this.#ending.has(kept.name)) return null;
    if (!this.#interrupted(conversation, kept.open, this.#engine.environment.nowMs())) return null;
    return this.#calls.find(id);
  }

  async #comesBack({ engagement, open }: Kept, leftMs: number): Promise<boolean> {
    const conversation = await this.#engine.conversation(engagement);
    if (this.#calls.get(hex(open.call)) !== undefined) return true;
    if (!this.#interrupted(conversation, open, leftMs)) return false;
    const going = this.#calls.get(hex(open.call));
    if (going !== undefined) this.#ringing.tell(going);
    return true;
  }

  /** Whoever opens the page again is offered to return; false: there is nothing to return to. */
  #interrupted(conversation: Conversation, { call, isCaller, standing }: OpenCall, leftMs: number): boolean {
    if (standing === null) return false;
    const { attempt, connectedAt, kinds, peer, groupId } = standing;
    const leaf = leafOf(conversation, peer);
    const deadline = leftMs + RETURN_MS;
    const now = this.#engine.environment.nowMs();
    if (leaf === undefined || deadline <= now || leftMs > now) return false;
    const [role, caller] = isCaller ? (["caller", null] as const) : (["callee", peer] as const);
    const facts = factsOf(this.#engine.account, conversation, call, role, kinds, leaf, caller);
    const going = this.#calls.begin(conversation, { ...facts, groupId }, "", true);
    const { identityKey: identity } = leaf.manifest;
    going.live.happen({ type: "interrupted", attempt, connectedAt, deadline, device: peer, identity });
    return true;
  }

  async #over({ name, engagement, open }: Kept): Promise<void> {
    this.#ending.add(name);
    try {
      await this.#end(await this.#engine.conversation(engagement), open);
    } finally {
      this.#ending.delete(name);
    }
  }

  /** The others are told. */
  async #end(conversation: Conversation, { call, isCaller, answeredBy, device }: OpenCall): Promise<void> {
    const bye: Message = { kind: "call.hangup", reason: "hung_up" };
    await this.#calls.whisper(conversation, bye, call).catch(() => null); // best effort, as all of them
    if (!isCaller) {
      await this.#keeping.drop(conversation, call);
      return;
    }
    const outcome = answeredBy === "" ? "missed" : "answered";
    const said = callEnded({ call, outcome, answeredBy: answeredBy || null, seconds: 0, device });
    await this.#keeping.say(conversation, said, this.#engine.environment.rng(16), null);
  }
}

/** What the vault keeps of calls that are going on, and what is said of a call in its conversation. */

import type { Bytes } from "../bytes.ts";
import { hex } from "../bytes.ts";
import type { CallEnded, CallInvite } from "../content/messages.ts";
import type { Conversation } from "../engine/conversation.ts";
import { queue } from "../engine/sending.ts";
import type { Vault } from "../vault/vault.ts";
import type { OpenCall } from "./records.ts";
import { OPEN_CALLS, openCallName, parseOpenCall, serializeOpenCall } from "./records.ts";
import type { Negotiation } from "./states.ts";

/** A call that is going on as a page kept it, under the name of its record. */
export interface Kept {
  readonly name: string;
  readonly engagement: string;
  readonly open: OpenCall;
}

export class CallKeeping {
  readonly #vault: Vault;

  constructor(vault: Vault) {
    this.#vault = vault;
  }

  async all(): Promise<readonly Kept[]> {
    return [...(await this.#vault.scan(OPEN_CALLS))].map(([name, data]) => {
      const [engagement = ""] = name.slice(OPEN_CALLS.length).split("/");
      return { name, engagement, open: parseOpenCall(data) };
    });
  }

  async ids(): Promise<ReadonlySet<string>> {
    return new Set((await this.all()).map(({ open }) => hex(open.call)));
  }

  /** Say something about a call, and keep what is still to be said, in one step. */
  async say(
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

  async keep(conversation: Conversation, open: OpenCall): Promise<void> {
    const name = openCallName(conversation.id, open.call);
    await this.#vault.write([{ name, value: serializeOpenCall(open) }]);
  }

  async drop(conversation: Conversation, call: Bytes): Promise<void> {
    await this.#vault.write([{ name: openCallName(conversation.id, call), value: null }]);
  }
}

/** A call that nobody has answered yet. */
export const openCall = (call: Bytes, isCaller: boolean): OpenCall => ({
  ...{ call, isCaller },
  ...{ answeredBy: "", device: null, standing: null },
});

/** What is still to be said of a call with this user, as it stands now. */
export function openCallOf(
  { facts, peerDevice: peer, attempt, connectedAt }: Negotiation,
  user: string,
): OpenCall {
  const { call, kinds, groupId, role } = facts;
  const isCaller = role === "caller";
  if (peer === null || attempt === null || connectedAt === null) return openCall(call, isCaller);
  const standing = { attempt: attempt.number, connectedAt, kinds, peer, groupId };
  return { call, isCaller, answeredBy: isCaller ? user : "", device: isCaller ? peer : null, standing };
}

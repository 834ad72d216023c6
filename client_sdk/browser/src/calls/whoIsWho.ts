/** Who is who in a call: devices and people of the conversation that it belongs to. */

import type { Bytes } from "../bytes.ts";
import { equal } from "../bytes.ts";
import type { Media } from "../content/messages.ts";
import type { Account } from "../engine/account.ts";
import type { Conversation } from "../engine/conversation.ts";
import type { Leaf } from "../identity/membership.ts";
import { CallNotPossible } from "./errors.ts";
import type { CallFacts, Negotiation, Role } from "./states.ts";

/** What is settled about a call before it begins; raises CallNotPossible outside the group. */
export function factsOf(
  { deviceId, manifest }: Account,
  { view, id }: Conversation,
  call: Bytes,
  role: Role,
  kinds: readonly Media[],
  peer: Leaf | undefined,
  callerDevice: Bytes | null,
): CallFacts {
  if (view === null) throw new CallNotPossible(`This device does not take part in ${id} yet.`);
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

/** A device of the only person besides this one; undefined where there are several. */
export function onlyOther({ user: own }: Account, { view }: Conversation): Leaf | undefined {
  const others = (view?.leaves ?? []).filter(({ user }) => user !== own);
  return new Set(others.map(({ user }) => user)).size === 1 ? others[0] : undefined;
}

export function leafOf({ view }: Conversation, device: Bytes | null): Leaf | undefined {
  if (device === null) return undefined;
  return view?.leaves.find((leaf) => equal(leaf.device, device));
}

/** Whom the call is with; empty while nobody knows. */
export function otherUser(
  account: Account,
  conversation: Conversation,
  { peerDevice, facts }: Negotiation,
): string {
  const leaf = leafOf(conversation, peerDevice ?? facts.callerDevice) ?? onlyOther(account, conversation);
  return leaf?.user ?? "";
}

/**
 * The automaton of one call on one device: events in, actions out, every transition in one table.
 *
 * Time comes with each event; randomness comes in events. What the table does not list is late, double or out of
 * place: a message is then ignored (they are best effort and may come in any order), a person's wish is refused.
 */

import * as callee from "./callee.ts";
import * as caller from "./caller.ts";
import * as common from "./common.ts";
import { CallNotPossible } from "./errors.ts";
import type { Message } from "./messages.ts";
import type { Event, Handler, Negotiation, Phase, Role, Step } from "./states.ts";

type What = Exclude<Event["type"], "received"> | Message["kind"];
// biome-ignore lint/suspicious/noExplicitAny: each handler takes the event of its own rows, which the table tests
type Any = Handler<any>;
type Row = readonly [readonly Role[], readonly Phase[], What, Any];

const [CALLER, CALLEE, BOTH]: readonly (readonly Role[])[] & { length: 3 } = [
  ["caller"],
  ["callee"],
  ["caller", "callee"],
];
const IDLE: readonly Phase[] = ["idle"];
const INVITING: readonly Phase[] = ["inviting"];
const RINGING: readonly Phase[] = ["ringing"];
const CONNECTING: readonly Phase[] = ["connecting"];
const ENDED: readonly Phase[] = ["ended"];
const EARLY = [...INVITING, ...RINGING];
const TAKEN: readonly Phase[] = ["connecting", "connected"];
const ACTIVE = [...EARLY, ...TAKEN];

/** Who, where, what happens (an event, or a message received), what then. */
const ROWS: readonly Row[] = [
  [CALLER, IDLE, "invite", caller.invite],
  [CALLER, ACTIVE, "inviteStored", caller.inviteStored],
  [CALLER, IDLE, "returned", caller.networkChanged],
  [CALLER, EARLY, "peerInvited", caller.peerInvited],
  [CALLER, EARLY, "call.probe", caller.probed],
  [CALLER, EARLY, "call.accept", caller.accepted],
  [CALLER, EARLY, "call.decline", caller.declined],
  [CALLER, EARLY, "call.hangup", caller.declined],
  [CALLER, EARLY, "tick", common.ticking(caller.rangTooLong)],
  [CALLER, TAKEN, "call.accept", caller.acceptedAgain],
  [CALLER, TAKEN, "offerReady", caller.offerReady],
  [CALLER, TAKEN, "offerSent", caller.offerSent],
  [CALLER, TAKEN, "call.answer", caller.answered],
  [CALLER, TAKEN, "mediaLost", caller.mediaLost],
  [CALLER, TAKEN, "networkChanged", caller.networkChanged],
  [CALLER, ENDED, "call.probe", common.replyOver],
  [CALLER, ENDED, "call.accept", common.replyOver],
  [CALLER, ENDED, "call.answer", common.replyOver],
  [CALLEE, IDLE, "invited", callee.invited],
  [CALLEE, IDLE, "returned", callee.networkChanged],
  [CALLEE, EARLY, "call.ringing", callee.ringing],
  [CALLEE, EARLY, "call.offer", callee.offeredWhileRinging],
  [CALLEE, EARLY, "accepted", callee.accepted],
  [CALLEE, EARLY, "declined", callee.declined],
  [CALLEE, EARLY, "call.hangup", common.hungUpByPeer],
  [CALLEE, EARLY, "call.decline", callee.declinedElsewhere],
  [CALLEE, INVITING, "tick", common.ticking(callee.notRinging)],
  [CALLEE, RINGING, "tick", callee.ringOn],
  [CALLEE, TAKEN, "call.offer", callee.offered],
  [CALLEE, TAKEN, "answerReady", callee.answerReady],
  [CALLEE, TAKEN, "call.reveal", callee.revealed],
  [CALLEE, TAKEN, "mediaLost", callee.mediaLost],
  [CALLEE, TAKEN, "networkChanged", callee.networkChanged],
  [CALLEE, [...IDLE, ...ACTIVE], "endedElsewhere", common.endedElsewhere],
  [CALLEE, ENDED, "call.offer", callee.replyOver],
  [CALLEE, ENDED, "call.reveal", callee.replyOver],
  [CALLEE, ENDED, "call.ringing", callee.replyOver],
  [BOTH, ACTIVE, "call.candidate", common.takeCandidate],
  [BOTH, TAKEN, "candidateFound", common.candidateFound],
  [BOTH, CONNECTING, "mediaUp", common.mediaUp],
  [BOTH, IDLE, "interrupted", common.interrupted],
  [BOTH, [...IDLE, ...TAKEN], "call.hangup", common.hungUpByPeer],
  [BOTH, [...IDLE, ...TAKEN], "tick", common.ticking(common.notConnected)],
  [CALLER, ACTIVE, "hungUp", common.hungUp],
  [CALLEE, EARLY, "hungUp", callee.declined],
  [CALLEE, TAKEN, "hungUp", common.hungUp],
  [BOTH, IDLE, "hungUp", common.hungUp],
  [BOTH, ENDED, "hungUp", common.stay],
  [BOTH, ENDED, "call.hangup", common.heardTheEnd],
  [BOTH, ENDED, "tick", common.ticking(common.stay)],
];
const PERSONS: ReadonlySet<What> = new Set([
  "invite",
  "invited",
  "accepted",
  "declined",
  "hungUp",
  "returned",
]);

const keyOf = (role: Role, phase: Phase, what: What): string => `${role} ${phase} ${what}`;

/** What happens in each role and phase. */
export const TABLE: ReadonlyMap<string, Any> = new Map(
  ROWS.flatMap(([roles, phases, what, handler]) =>
    roles.flatMap((role) => phases.map((phase) => [keyOf(role, phase, what), handler] as const)),
  ),
);
/** How many places the rows name: as many as the table has, or two rows would be for one place. */
export const PLACES = ROWS.reduce((sum, [roles, phases]) => sum + roles.length * phases.length, 0);

/** The state after `event` and what is to be done; raises CallNotPossible for a wish out of place. */
export function step(state: Negotiation, event: Event, now: number): Step {
  const what: What = event.type === "received" ? event.message.kind : event.type;
  const handler = TABLE.get(keyOf(state.facts.role, state.phase, what));
  if (handler !== undefined) return handler(state, event, now);
  if (PERSONS.has(what)) throw new CallNotPossible(NOT_NOW[state.phase]);
  return [state, []];
}

const NOT_NOW: Readonly<Record<Phase, string>> = {
  idle: "The call has not begun yet.",
  inviting: "The call does not ring yet.",
  ringing: "The call still rings.",
  connecting: "The call was taken already.",
  connected: "The call was taken already.",
  ended: "The call is over.",
};

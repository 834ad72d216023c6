/** The caller's steps of a negotiation. */

import { equal } from "../bytes.ts";
import { callCommit } from "../identity/words.ts";
import { beginAttempt, end, hangup, isPeer, keptCandidates, same, say, silent, wordsOf } from "./common.ts";
import { DescriptionRefused } from "./errors.ts";
import type { Answer, Offer } from "./messages.ts";
import { readDescription } from "./sdp.ts";
import type { Action, Event, Handler, Negotiation, Received, Step } from "./states.ts";
import { MAX_ATTEMPTS, MAX_TRIES, RING_MS } from "./states.ts";

type Of<T extends Event["type"]> = Handler<Extract<Event, { type: T }>>;

/** Let it ring from now. */
export const invite: Handler<unknown> = (state, _, now) => [
  { ...state, phase: "inviting", deadline: now + RING_MS },
  [],
];

/** Remember where the invitation stands, for glare. */
export const inviteStored: Of<"inviteStored"> = (state, { seq }) => [{ ...state, seq }, []];

/** Glare: the lower seq wins; an invitation that is not stored yet will have a higher one. */
export const peerInvited: Of<"peerInvited"> = (state, { seq }, now) =>
  state.seq !== null && state.seq < seq
    ? [state, []]
    : end(state, { outcome: "cancelled", reason: "glare", farewell: hangup("glare") }, now);

/** Somebody asks whether it still rings. */
export const probed: Handler<Received> = (state, event) =>
  mayAnswer(state, event)
    ? [{ ...state, phase: "ringing" }, [{ type: "send", message: { kind: "call.ringing" } }]]
    : [state, []];

/** The first acceptance is the one. */
export const accepted: Handler<Received> = (state, event, now) => {
  const { message, device, identity } = event;
  if (message.kind !== "call.accept" || !equal(message.device, device) || !mayAnswer(state, event)) {
    return [state, []];
  }
  return nextAttempt({ ...state, peerDevice: device, peerIdentity: identity }, 1, now);
};

/** The device picked asks anew, or has not heard of this offer; or another device is too late. */
export const acceptedAgain: Handler<Received> = (state, event, now) => {
  const { message } = event;
  const { attempt } = state;
  if (message.kind !== "call.accept" || attempt === null) return [state, []];
  if (!equal(message.device, event.device)) return [state, []];
  const isPicked = isPeer(state, event);
  if (isPicked && message.after === attempt.number) return nextAttempt(state, attempt.number + 1, now);
  if (attempt.own === null || (isPicked && attempt.theirs !== null)) return [state, []];
  return [state, [{ type: "send", message: attempt.own }]];
};

/** The one who was called does not want to; one of several others does not decide for all. */
export const declined: Handler<Received> = (state, { message, identity, device }, now) => {
  const isRefusal =
    message.kind === "call.decline" || (message.kind === "call.hangup" && message.reason === "declined");
  if (!same(state.facts.peerIdentity, identity) || !isRefusal) return [state, []];
  const farewell = hangup("declined");
  return end(state, { outcome: "declined", reason: "declined", farewell, device }, now);
};

/** Say it, with the commitment. */
export const offerReady: Of<"offerReady"> = (state, event, now) => {
  const { attempt, peerDevice } = state;
  if (attempt?.number !== event.attempt || attempt.own !== null || peerDevice === null) return [state, []];
  const { sdp, nonce } = event;
  const commit = callCommit(nonce);
  const offer: Offer = { kind: "call.offer", to: peerDevice, attempt: attempt.number, sdp, commit };
  return say({ ...state, attempt: { ...attempt, own: offer, ownNonce: nonce } }, offer, now);
};

/** The words bind the offer's epoch: one repeated in a later epoch is another attempt. */
export const offerSent: Of<"offerSent"> = (state, event, now) => {
  const { attempt } = state;
  if (attempt?.number !== event.attempt || attempt.theirs !== null) return [state, []];
  const { authenticator } = event;
  if (attempt.authenticator !== null && !equal(attempt.authenticator, authenticator)) {
    return nextAttempt(state, attempt.number + 1, now);
  }
  return [{ ...state, attempt: { ...attempt, authenticator } }, []];
};

/** Take the first answer of the newest attempt; a repeated one has not seen the reveal. */
export const answered: Handler<Received> = (state, event, now) => {
  const { message } = event;
  const { attempt } = state;
  if (message.kind !== "call.answer" || attempt === null || !isPeer(state, event)) return [state, []];
  const { ownNonce: nonce, own: offer, authenticator, number } = attempt;
  if (message.attempt !== number || nonce === null || authenticator === null) return [state, []];
  if (offer?.kind !== "call.offer") return [state, []];
  const reveal: Action = { type: "send", message: { kind: "call.reveal", attempt: number, nonce } };
  if (attempt.theirs !== null) return [state, isSame(attempt.theirs, message) ? [reveal] : []];
  try {
    readDescription(message.sdp, state.facts.kinds);
  } catch (error) {
    if (!(error instanceof DescriptionRefused)) throw error;
    return end(state, { outcome: "failed", reason: "description", farewell: hangup("failed") }, now);
  }
  const words = wordsOf(state, { offer, answer: message, callerNonce: nonce, authenticator });
  const [taken, added] = keptCandidates({
    ...silent(state),
    attempt: { ...attempt, theirs: message, words },
  });
  return [taken, [reveal, { type: "applyAnswer", attempt: number, sdp: message.sdp }, ...added]];
};

const isSame = (one: Offer | Answer, other: Answer): boolean =>
  one.kind === other.kind && one.sdp === other.sdp && equal(one.nonce, other.nonce);

/** Offer anew, if it was the newest attempt. */
export const mediaLost: Of<"mediaLost"> = (state, { attempt }, now) =>
  state.attempt?.number === attempt ? nextAttempt(state, attempt + 1, now) : [state, []];

/** Offer anew before the connection is found to be lost; or after an interruption, while the other device waits. */
export const networkChanged: Handler<unknown> = (state, _, now) =>
  state.attempt === null ? [state, []] : nextAttempt(state, state.attempt.number + 1, now);

/** Nobody took the call. */
export const rangTooLong: Handler<unknown> = (state, _, now) =>
  end(state, { outcome: "missed", reason: "missed", farewell: hangup("missed") }, now);

/** Whether the sender is one whom this call is for. */
function mayAnswer({ facts }: Negotiation, event: Received): boolean {
  if (facts.peerIdentity !== null) return equal(event.identity, facts.peerIdentity);
  return !equal(event.identity, facts.ownIdentity);
}

function nextAttempt(state: Negotiation, number: number, now: number): Step {
  if (state.tries >= MAX_TRIES || number > MAX_ATTEMPTS) {
    return end(state, { outcome: "failed", reason: "not_connected", farewell: hangup("failed") }, now);
  }
  return [beginAttempt(state, number, now), [{ type: "makeOffer", attempt: number }]];
}

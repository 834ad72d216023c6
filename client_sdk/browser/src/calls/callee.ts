/** The callee's steps of a negotiation. */

import { equal } from "../bytes.ts";
import { CallRevealFailed } from "../errors.ts";
import { checkReveal } from "../identity/words.ts";
import * as common from "./common.ts";
import { DescriptionRefused } from "./errors.ts";
import type { Answer, Message, Offer } from "./messages.ts";
import { readDescription } from "./sdp.ts";
import type { Event, Handler, Negotiation, Received, Step } from "./states.ts";
import { CONNECT_MS, RING_MS, RING_PROBE_MS, RING_SILENCE_MS } from "./states.ts";

type Of<T extends Event["type"]> = Handler<Extract<Event, { type: T }>>;

const { beginAttempt, end, hangup, isPeer, keptCandidates, say, silent } = common;

/** Ask the caller before anything rings; for as long as it may ring, since questions and answers may get lost. */
export const invited: Of<"invited"> = (state, { seq }, now) => {
  const { callerDevice, peerIdentity } = state.facts;
  const asking: Negotiation = {
    ...state,
    phase: "inviting",
    seq,
    peerDevice: callerDevice,
    peerIdentity,
    deadline: now + RING_MS,
  };
  return say(asking, { kind: "call.probe" }, now);
};

/** The caller says that it rings; ask again from time to time. */
export const ringing: Handler<Received> = (state, event, now) =>
  isPeer(state, event)
    ? [
        {
          ...silent(state),
          phase: "ringing",
          deadline: now + RING_SILENCE_MS,
          resendAt: now + RING_PROBE_MS,
        },
        [],
      ]
    : [state, []];

/** Ask whether it still rings, and stop when the caller says nothing any more. */
export const ringOn: Handler<unknown> = (state, _, now) => {
  if (state.deadline !== null && now >= state.deadline) {
    return end(state, { outcome: "missed", reason: "missed" }, now);
  }
  if (state.resendAt === null || now < state.resendAt) return [state, []];
  const probe: Message = { kind: "call.probe" };
  return [{ ...state, resendAt: now + RING_PROBE_MS }, [{ type: "send", message: probe }]];
};

/** Nobody said that it still rings. */
export const notRinging: Handler<unknown> = (state, _, now) =>
  end(state, { outcome: "missed", reason: "not_ringing" }, now);

/** Ask for the offer. */
export const accepted: Handler<unknown> = (state, _, now) => {
  const device = state.facts.ownDevice;
  const asking: Negotiation = { ...state, phase: "connecting", deadline: now + CONNECT_MS };
  return say(asking, { kind: "call.accept", device, after: 0 }, now);
};

/** Tell the caller, and the other devices of this person. */
export const declined: Handler<unknown> = (state, _, now) => {
  const device = state.facts.ownDevice;
  const farewell: Message = { kind: "call.decline" };
  return end(state, { outcome: "declined", reason: "declined", farewell, device }, now);
};

/** The person has declined it on another device of theirs: this one stops too. */
export const declinedElsewhere: Handler<Received> = (state, { identity, device }, now) =>
  equal(identity, state.facts.ownIdentity)
    ? end(state, { outcome: "declined", reason: "elsewhere", device }, now)
    : [state, []];

/** Answer the first offer of a newer attempt; repeat the answer to a repeated one. */
export const offered: Handler<Received> = (state, event, now) => {
  const offer = event.message;
  if (offer.kind !== "call.offer" || !isPeer(state, event)) return [state, []];
  if (!equal(offer.to, state.facts.ownDevice)) return offeredElsewhere(state, offer, now);
  if (offer.attempt <= (state.attempt?.number ?? 0)) return offeredAgain(state, offer);
  try {
    readDescription(offer.sdp, state.facts.kinds);
  } catch (error) {
    if (!(error instanceof DescriptionRefused)) throw error;
    return end(state, { outcome: "failed", reason: "description", farewell: hangup("failed") }, now);
  }
  const begun = beginAttempt(state, offer.attempt, now);
  const { authenticator } = event;
  const attempt = begun.attempt && { ...begun.attempt, theirs: offer, authenticator };
  const [taken, added] = keptCandidates({ ...begun, attempt });
  return [taken, [{ type: "makeAnswer", attempt: offer.attempt, sdp: offer.sdp }, ...added]];
};

/** The caller has picked a device, and not this one. */
export const offeredWhileRinging: Handler<Received> = (state, event, now) => {
  const offer = event.message;
  if (offer.kind !== "call.offer" || !isPeer(state, event) || equal(offer.to, state.facts.ownDevice)) {
    return [state, []];
  }
  return offeredElsewhere(state, offer, now);
};

/** Say it. */
export const answerReady: Of<"answerReady"> = (state, { attempt: number, sdp, nonce }, now) => {
  const { attempt } = state;
  if (attempt?.number !== number || attempt.own !== null) return [state, []];
  const answer: Answer = { kind: "call.answer", attempt: number, sdp, nonce };
  return say({ ...state, attempt: { ...attempt, own: answer, ownNonce: nonce } }, answer, now);
};

/** Check the caller's nonce against its commitment; then the words are known. */
export const revealed: Handler<Received> = (state, event, now) => {
  const { message } = event;
  const { attempt } = state;
  if (message.kind !== "call.reveal" || attempt === null || !isPeer(state, event)) return [state, []];
  const { theirs: offer, own: answer, authenticator } = attempt;
  if (message.attempt !== attempt.number || attempt.words !== null || authenticator === null) {
    return [state, []];
  }
  if (offer?.kind !== "call.offer" || answer?.kind !== "call.answer") return [state, []];
  try {
    checkReveal(offer.commit, message.nonce);
  } catch (error) {
    if (!(error instanceof CallRevealFailed)) throw error;
    const farewell = hangup("tampered");
    return end(state, { outcome: "failed", reason: "tampered", farewell, tampered: true }, now);
  }
  const words = common.wordsOf(state, { offer, answer, callerNonce: message.nonce, authenticator });
  const heard = state.pending === answer ? silent(state) : state;
  return [common.connectedIfComplete({ ...heard, attempt: { ...attempt, words } }, now), []];
};

/** Ask the caller for a new attempt, if it was the newest. */
export const mediaLost: Of<"mediaLost"> = (state, { attempt }, now) =>
  state.attempt?.number === attempt ? askAnew(state, now) : [state, []];

/** Ask for a new attempt before the connection is found to be lost; or after an interruption. */
export const networkChanged: Handler<unknown> = (state, _, now) => askAnew(state, now);

/** The caller still talks to this device about a call that is over, or rings although it was declined. */
export const replyOver: Handler<Received> = (state, event) => {
  const { message } = event;
  const toAnother = message.kind === "call.offer" && !equal(message.to, state.facts.ownDevice);
  const ringsOn = message.kind === "call.ringing" && state.end?.outcome !== "declined";
  if (!isPeer(state, event) || toAnother || ringsOn) return [state, []];
  return common.replyOver(state, event);
};

function askAnew(state: Negotiation, now: number): Step {
  const { attempt } = state;
  if (attempt === null) return [state, []];
  const deadline = state.phase === "connecting" ? state.deadline : now + CONNECT_MS;
  const lost: Negotiation = {
    ...state,
    phase: "connecting",
    attempt: { ...attempt, mediaUp: false },
    deadline,
  };
  return say(lost, { kind: "call.accept", device: state.facts.ownDevice, after: attempt.number }, now);
}

function offeredAgain(state: Negotiation, offer: Offer): Step {
  const { attempt } = state;
  const known = attempt?.theirs;
  if (attempt?.own == null || attempt.words !== null || known?.kind !== "call.offer") return [state, []];
  const isSame =
    known.attempt === offer.attempt && known.sdp === offer.sdp && equal(known.commit, offer.commit);
  return [state, isSame ? [{ type: "send", message: attempt.own }] : []];
}

function offeredElsewhere(state: Negotiation, offer: Offer, now: number): Step {
  if (state.phase === "connected") return [state, []];
  return end(state, { outcome: "answered", reason: "elsewhere", device: offer.to }, now);
}

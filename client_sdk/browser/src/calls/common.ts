/** Steps of a negotiation that caller and callee share. Times are in milliseconds. */

import type { Bytes } from "../bytes.ts";
import { equal } from "../bytes.ts";
import type { Outcome } from "../content/messages.ts";
import { UsageError } from "../errors.ts";
import { callWords } from "../identity/words.ts";
import type { Answer, Candidate, Message, Offer } from "./messages.ts";
import { readDescription } from "./sdp.ts";
import type { CallEnd, Event, Handler, Negotiation, Received, Step } from "./states.ts";
import { CONNECT_MS, FAREWELLS, MAX_CANDIDATES, MAX_REPLIES, newAttempt, RESEND_MS } from "./states.ts";

/** What a hang-up's reason means for a call that was never connected; any other: cancelled. */
const OUTCOMES: Readonly<Record<string, Outcome>> = {
  missed: "missed",
  declined: "declined",
  cancelled: "cancelled",
  glare: "cancelled",
  tampered: "failed",
  failed: "failed",
};

/** Nothing happens. */
export const stay: Handler<unknown> = (state) => [state, []];

export const same = (one: Bytes | null, other: Bytes | null): boolean =>
  one !== null && other !== null && equal(one, other);

/** Send `message` and send it again until something answers it. */
export function say(state: Negotiation, message: Message, now: number): Step {
  const said = { ...state, pending: message, sent: 1, resendAt: now + RESEND_MS[0] };
  return [said, [{ type: "send", message }]];
}

/** The pending message once more. */
function sayAgain(state: Negotiation, now: number): Step {
  const { pending, phase, sent } = state;
  if (pending === null) return [state, []];
  if (phase === "ended" && sent >= FAREWELLS) return [silent(state), []];
  const wait = RESEND_MS[Math.min(sent, RESEND_MS.length - 1)] ?? 0;
  return [{ ...state, sent: sent + 1, resendAt: now + wait }, [{ type: "send", message: pending }]];
}

/** Nothing is waiting for an answer. */
export const silent = (state: Negotiation): Negotiation => ({
  ...state,
  pending: null,
  sent: 0,
  resendAt: null,
});

interface Ending {
  readonly outcome: Outcome;
  readonly reason: string;
  readonly farewell?: Message;
  readonly tampered?: boolean;
  readonly device?: Bytes | null;
}

/** End the call; one that was ever connected was answered, whatever ended it. */
export function end(state: Negotiation, ending: Ending, now: number): Step {
  const { facts, connectedAt } = state;
  const tampered = ending.tampered ?? false;
  const outcome = connectedAt !== null && !tampered ? "answered" : ending.outcome;
  const took = facts.role === "callee" ? facts.ownDevice : state.peerDevice;
  const finish: CallEnd = {
    outcome,
    seconds: connectedAt === null ? 0 : Math.floor((now - connectedAt) / 1000),
    reason: ending.reason,
    tampered,
    device: ending.device ?? (outcome === "answered" ? took : null),
  };
  const over: Negotiation = {
    ...silent(state),
    phase: "ended",
    end: finish,
    deadline: null,
    candidates: [],
  };
  if (ending.farewell === undefined) return [over, [{ type: "closeMedia" }]];
  const [said, actions] = say(over, ending.farewell, now);
  return [said, [...actions, { type: "closeMedia" }]];
}

export const hangup = (reason: string): Message => ({ kind: "call.hangup", reason });

/** The person ends the call; nobody is told of one that has not begun. */
export function hungUp(state: Negotiation, _: unknown, now: number): Step {
  const ending = { outcome: "cancelled", reason: "hung_up" } as const;
  if (state.phase === "idle" && state.attempt === null) return end(state, ending, now);
  return end(
    state,
    { ...ending, farewell: hangup(state.connectedAt === null ? "cancelled" : "hung_up") },
    now,
  );
}

/** What was connected waits for the person to return: all that the next attempt needs is known. */
export const interrupted: Handler<Extract<Event, { type: "interrupted" }>> = (state, event) => {
  const { device, identity, connectedAt, deadline } = event;
  const attempt = newAttempt(event.attempt);
  return [{ ...state, attempt, connectedAt, deadline, peerDevice: device, peerIdentity: identity }, []];
};

/** The other device of the call ends it, or stops ringing. */
export function hungUpByPeer(state: Negotiation, event: Received, now: number): Step {
  if (event.message.kind !== "call.hangup" || !isPeer(state, event)) return [state, []];
  const { reason } = event.message;
  return end(state, { outcome: OUTCOMES[reason] ?? "cancelled", reason: `peer_${reason}` }, now);
}

/** The conversation says that it is over. */
export const endedElsewhere: Handler<Extract<Event, { type: "endedElsewhere" }>> = (state, event, now) =>
  end(state, { outcome: event.outcome, reason: "elsewhere", device: event.device }, now);

/** Forget the older attempt; a call that was connected gets the full time again. */
export function beginAttempt(state: Negotiation, number: number, now: number): Negotiation {
  const fresh = state.phase !== "connecting";
  return {
    ...silent(state),
    phase: "connecting",
    attempt: newAttempt(number),
    tries: state.tries + 1,
    deadline: fresh ? now + CONNECT_MS : state.deadline,
  };
}

/** The connection carries media: of the newest attempt, it counts. */
export const mediaUp: Handler<Extract<Event, { type: "mediaUp" }>> = (state, event, now) => {
  const { attempt } = state;
  if (attempt === null || event.attempt !== attempt.number) return [state, []];
  return [connectedIfComplete({ ...state, attempt: { ...attempt, mediaUp: true } }, now), []];
};

/** Connected is: media flows and the words are known. */
export function connectedIfComplete(state: Negotiation, now: number): Negotiation {
  const { attempt } = state;
  if (attempt === null || !attempt.mediaUp || attempt.words === null) return state;
  return { ...state, phase: "connected", deadline: null, tries: 0, connectedAt: state.connectedAt ?? now };
}

/** Use a trickled candidate, or keep it until its description has come. */
export function takeCandidate(state: Negotiation, event: Received): Step {
  const candidate = event.message;
  if (candidate.kind !== "call.candidate" || !isPeer(state, event)) return [state, []];
  const attempt = state.attempt ?? newAttempt(0);
  const present = candidate.attempt === attempt.number;
  const used = present ? attempt.candidates : 0;
  if (present && attempt.theirs !== null && used < MAX_CANDIDATES) {
    const counted = { ...state, attempt: { ...attempt, candidates: used + 1 } };
    return [counted, [{ type: "addCandidate", candidate }]];
  }
  const tooMany = used + state.candidates.length >= MAX_CANDIDATES;
  if (candidate.attempt < attempt.number || tooMany) return [state, []];
  return [{ ...state, candidates: [...state.candidates, candidate] }, []];
}

/** Tell the other side another address, once it has our description; best effort. */
export const candidateFound: Handler<Extract<Event, { type: "candidateFound" }>> = (state, { candidate }) => {
  const { attempt } = state;
  if (attempt?.number !== candidate.attempt || attempt.own === null) return [state, []];
  return [state, [{ type: "send", message: candidate }]];
};

/** Hand over what was kept for the newest attempt, whose description has come. */
export function keptCandidates(state: Negotiation): Step {
  const { attempt } = state;
  if (attempt === null) return [state, []];
  const ready = state.candidates.filter((one) => one.attempt === attempt.number);
  const later = state.candidates.filter((one) => one.attempt > attempt.number);
  const added = ready.map((candidate: Candidate) => ({ type: "addCandidate", candidate }) as const);
  return [{ ...state, candidates: later, attempt: { ...attempt, candidates: ready.length } }, added];
}

/** Whether a message comes from the device that this call is with. */
export const isPeer = (state: Negotiation, event: Received): boolean => same(state.peerDevice, event.device);

/** A step for `tick`: `expired` when the deadline has come, else the pending message again. */
export const ticking =
  (expired: Handler<unknown>): Handler<unknown> =>
  (state, event, now) => {
    if (state.deadline !== null && now >= state.deadline) return expired(state, event, now);
    if (state.resendAt !== null && now >= state.resendAt) return sayAgain(state, now);
    return [state, []];
  };

/** It took too long. */
export const notConnected: Handler<unknown> = (state, _, now) =>
  end(state, { outcome: "failed", reason: "not_connected", farewell: hangup("failed") }, now);

/** Somebody still talks about a call that has ended: say so, a bounded number of times. */
export function replyOver(state: Negotiation, event: Received): Step {
  if (state.replies >= MAX_REPLIES || equal(event.identity, state.facts.ownIdentity)) return [state, []];
  const outcome = state.end?.outcome ?? "answered";
  const message = hangup(outcome === "answered" ? "hung_up" : outcome);
  return [{ ...state, replies: state.replies + 1 }, [{ type: "send", message }]];
}

/** The other side knows: no need to say it again. */
export const heardTheEnd: Handler<Received> = (state, event) => [
  equal(event.identity, state.facts.ownIdentity) ? state : silent(state),
  [],
];

/** The call words of one exchange. */
export function wordsOf(
  state: Negotiation,
  exchange: {
    readonly offer: Offer;
    readonly answer: Answer;
    readonly callerNonce: Bytes;
    readonly authenticator: Bytes;
  },
): readonly string[] {
  const { facts, peerIdentity } = state;
  if (peerIdentity === null) throw new UsageError("The words need both identities.");
  const isCaller = facts.role === "caller";
  const binding = {
    callerIdentity: isCaller ? facts.ownIdentity : peerIdentity,
    calleeIdentity: isCaller ? peerIdentity : facts.ownIdentity,
    groupId: facts.groupId,
    call: facts.call,
    epochAuthenticator: exchange.authenticator,
    callerFingerprint: readDescription(exchange.offer.sdp).fingerprint,
    calleeFingerprint: readDescription(exchange.answer.sdp).fingerprint,
  };
  return callWords(binding, exchange.callerNonce, exchange.answer.nonce);
}

/** What a call's negotiation knows, what can happen to it, and what it asks for: plain values without I/O. */

import type { Bytes } from "../bytes.ts";
import type { Media, Outcome } from "../content/messages.ts";
import type { Answer, Candidate, Message, Offer } from "./messages.ts";

/** So long the caller lets it ring; then the call is missed. So long, too, a callee asks whether it still rings. */
export const RING_MS = 45_000;
/** A ringing device that has not heard from the caller for so long stops: the caller is gone. */
export const RING_SILENCE_MS = 15_000;
/** How often a ringing device asks again: three may get lost before it stops. */
export const RING_PROBE_MS = 4000;
/** For negotiating and connecting, the first time and after each loss of the connection. */
export const CONNECT_MS = 30_000;
/** A page that was left in mid-call may return to it for as long as the other side tries to reach it again. */
export const RETURN_MS = CONNECT_MS;
/** Attempts that fail one after the other before the call is given up. */
export const MAX_TRIES = 4;
/** Attempts of one call altogether: an hour's train journey changes networks less often. */
export const MAX_ATTEMPTS = 64;
/** Waits before a message is sent again until it is answered; the last one repeats. */
export const RESEND_MS = [500, 1000, 2000, 4000] as const;
/** How often a hang-up or a refusal is said: nothing answers it. */
export const FAREWELLS = 3;
/** Messages about an ended call that are answered with a hang-up. */
export const MAX_REPLIES = 16;
/** Trickled candidates of one attempt, those included that wait for its description. */
export const MAX_CANDIDATES = 64;

export type Role = "caller" | "callee";
/**
 * `inviting`: the caller knows of nobody who has asked yet; the callee has not heard yet that it still rings.
 * `connecting`: taken; also while a new connection replaces a lost one.
 */
export type Phase = "idle" | "inviting" | "ringing" | "connecting" | "connected" | "ended";

/**
 * `seconds` since it was first connected (0: never); `reason` says more. `device` took the call or declined it, as
 * far as this side knows; with the reason "elsewhere" it is not this one.
 */
export interface CallEnd {
  readonly outcome: Outcome;
  readonly seconds: number;
  readonly reason: string;
  /** The commitment to the words was broken. */
  readonly tampered: boolean;
  readonly device: Bytes | null;
}

/** What is the same for the whole call. */
export interface CallFacts {
  readonly call: Bytes;
  readonly role: Role;
  readonly groupId: Bytes;
  readonly ownDevice: Bytes;
  readonly ownIdentity: Bytes;
  /** Media that the invitation names. */
  readonly kinds: readonly Media[];
  /** Of the only person who may answer, or of the caller; null: anybody else may answer. */
  readonly peerIdentity: Bytes | null;
  /** Callee: the device that sent the invitation. */
  readonly callerDevice: Bytes | null;
}

/** One exchange of offer and answer; a new one replaces it when the network has changed. */
export interface Attempt {
  readonly number: number;
  /** What this device said, ... */
  readonly own: Offer | Answer | null;
  /** ... and what the other one did; the first of an attempt is the only one. */
  readonly theirs: Offer | Answer | null;
  readonly ownNonce: Bytes | null;
  /** The epoch authenticator of the offer's epoch. */
  readonly authenticator: Bytes | null;
  readonly words: readonly string[] | null;
  readonly mediaUp: boolean;
  /** Trickled ones that were used. */
  readonly candidates: number;
}

export const newAttempt = (number: number): Attempt => ({
  number,
  own: null,
  theirs: null,
  ownNonce: null,
  authenticator: null,
  words: null,
  mediaUp: false,
  candidates: 0,
});

/** The whole state of one call on one device. */
export interface Negotiation {
  readonly facts: CallFacts;
  readonly phase: Phase;
  /** Of the invitation in the conversation. */
  readonly seq: number | null;
  readonly peerDevice: Bytes | null;
  readonly peerIdentity: Bytes | null;
  readonly attempt: Attempt | null;
  /** Attempts since it was last connected. */
  readonly tries: number;
  readonly candidates: readonly Candidate[];
  readonly deadline: number | null;
  /** Sent again until it is answered. */
  readonly pending: Message | null;
  readonly sent: number;
  readonly resendAt: number | null;
  readonly connectedAt: number | null;
  readonly end: CallEnd | null;
  readonly replies: number;
}

/** A call that has not begun. */
export const begin = (facts: CallFacts): Negotiation => ({
  facts,
  phase: "idle",
  seq: null,
  peerDevice: null,
  peerIdentity: null,
  attempt: null,
  tries: 0,
  candidates: [],
  deadline: null,
  pending: null,
  sent: 0,
  resendAt: null,
  connectedAt: null,
  end: null,
  replies: 0,
});

/** When a `tick` is due. */
export function wakeAt({ deadline, resendAt }: Negotiation): number | null {
  if (deadline === null || resendAt === null) return deadline ?? resendAt;
  return Math.min(deadline, resendAt);
}

/** An ephemeral message, authenticated as `device` of the person with `identity`. */
export interface Received {
  readonly type: "received";
  readonly device: Bytes;
  readonly identity: Bytes;
  readonly message: Message;
  /** Of the epoch that its header names. */
  readonly authenticator: Bytes;
}

export type Event =
  /** Caller: the invitation is on its way; it stands at `seq`; the other side's stands at `seq` (glare). */
  | { readonly type: "invite" }
  | { readonly type: "inviteStored"; readonly seq: number }
  | { readonly type: "peerInvited"; readonly seq: number }
  /** Callee: an invitation stands at `seq`. */
  | { readonly type: "invited"; readonly seq: number }
  | Received
  /** The page was left in mid-call; the newest attempt was this one, with this device, and time runs until `deadline`. */
  | {
      readonly type: "interrupted";
      readonly attempt: number;
      readonly device: Bytes;
      readonly identity: Bytes;
      readonly connectedAt: number;
      readonly deadline: number;
    }
  /** The person takes up again what was interrupted. */
  | { readonly type: "returned" }
  /** The person takes it here, does not, or ends it. */
  | { readonly type: "accepted" }
  | { readonly type: "declined" }
  | { readonly type: "hungUp" }
  /** The conversation says how it ended (`call.ended`), and which device took or declined it. */
  | { readonly type: "endedElsewhere"; readonly outcome: Outcome; readonly device: Bytes | null }
  /** The connection of `attempt` has its description; `nonce` is fresh. */
  | { readonly type: "offerReady"; readonly attempt: number; readonly sdp: string; readonly nonce: Bytes }
  | { readonly type: "answerReady"; readonly attempt: number; readonly sdp: string; readonly nonce: Bytes }
  /** The offer of `attempt` was sealed under the epoch of `authenticator`. */
  | { readonly type: "offerSent"; readonly attempt: number; readonly authenticator: Bytes }
  /** The connection of `attempt` found another address of this device. */
  | { readonly type: "candidateFound"; readonly candidate: Candidate }
  /** The connection of `attempt` carries media, or failed or was lost. */
  | { readonly type: "mediaUp"; readonly attempt: number }
  | { readonly type: "mediaLost"; readonly attempt: number }
  /** This device's network has changed: the connection will not last. */
  | { readonly type: "networkChanged" }
  /** `wakeAt` has come. */
  | { readonly type: "tick" };

export type Action =
  /** Send it; after an offer, tell its epoch by `offerSent`. */
  { readonly type: "send"; readonly message: Message } | MediaAction;

/** What the page, which has the connection, is to do. */
export type MediaAction =
  /** Drop the older connection, make one for `attempt`, and tell its description. */
  | { readonly type: "makeOffer"; readonly attempt: number }
  | { readonly type: "makeAnswer"; readonly attempt: number; readonly sdp: string }
  /** Give this to the connection of `attempt`. */
  | { readonly type: "applyAnswer"; readonly attempt: number; readonly sdp: string }
  | { readonly type: "addCandidate"; readonly candidate: Candidate }
  /** Close the connection and the sources. */
  | { readonly type: "closeMedia" };

export type Step = readonly [Negotiation, readonly Action[]];
export type Handler<E = Event> = (state: Negotiation, event: E, now: number) => Step;

/** The ephemeral messages that negotiate a call (docs/PROTOCOL.md section 12), parsed strictly. */

import type { Bytes } from "../bytes.ts";
import type { Packable, Value, ValueMap } from "../msgpack.ts";
import { CallMessageInvalid } from "./errors.ts";

export const CALL_ID_BYTES = 16;
const DEVICE_BYTES = 16;
const NONCE_BYTES = 32;
/** Fits an ephemeral message (32 KiB); offers of browsers have about 8 KiB. */
export const MAX_SDP_CHARS = 24 * 1024;
export const MAX_CANDIDATE_CHARS = 512;
const MAX_MID_CHARS = 16;
/** Far more than our own `MAX_ATTEMPTS`: another client may be more patient. */
const MAX_ATTEMPT = 1000;
const MAX_INDEX = 15;
const REASON = /^[a-z][a-z_]{0,31}$/;

export interface Offer {
  readonly kind: "call.offer";
  readonly to: Bytes;
  readonly attempt: number;
  readonly sdp: string;
  readonly commit: Bytes;
}

export interface Answer {
  readonly kind: "call.answer";
  readonly attempt: number;
  readonly sdp: string;
  readonly nonce: Bytes;
}

export interface Candidate {
  readonly kind: "call.candidate";
  readonly attempt: number;
  readonly candidate: string;
  readonly mid: string;
  readonly index: number;
}

export type Message =
  | { readonly kind: "call.probe" }
  | { readonly kind: "call.ringing" }
  | { readonly kind: "call.accept"; readonly device: Bytes; readonly after: number }
  | { readonly kind: "call.decline" }
  | Offer
  | Answer
  | { readonly kind: "call.reveal"; readonly attempt: number; readonly nonce: Bytes }
  | Candidate
  | { readonly kind: "call.hangup"; readonly reason: string };

const FIELDS: Readonly<Record<Message["kind"], readonly string[]>> = {
  "call.probe": [],
  "call.ringing": [],
  "call.accept": ["device", "after"],
  "call.decline": [],
  "call.offer": ["to", "attempt", "sdp", "commit"],
  "call.answer": ["attempt", "sdp", "nonce"],
  "call.reveal": ["attempt", "nonce"],
  "call.candidate": ["attempt", "candidate", "mid", "index"],
  "call.hangup": ["reason"],
};

const isBytes = (length: number) => (value: unknown) =>
  value instanceof Uint8Array && value.length === length;
const isInt = (low: number, high: number) => (value: unknown) =>
  typeof value === "number" && Number.isInteger(value) && value >= low && value <= high;
/** Characters are counted as the Python SDK does: code points. */
const isText = (most: number) => (value: unknown) =>
  typeof value === "string" && value.length <= 2 * most && [...value].length <= most;

const CHECKS: Readonly<Record<string, (value: unknown) => boolean>> = {
  device: isBytes(DEVICE_BYTES),
  to: isBytes(DEVICE_BYTES),
  after: isInt(0, MAX_ATTEMPT),
  attempt: isInt(1, MAX_ATTEMPT),
  sdp: isText(MAX_SDP_CHARS),
  commit: isBytes(NONCE_BYTES),
  nonce: isBytes(NONCE_BYTES),
  candidate: isText(MAX_CANDIDATE_CHARS),
  mid: isText(MAX_MID_CHARS),
  index: isInt(0, MAX_INDEX),
  reason: (value) => typeof value === "string" && REASON.test(value),
};

/** Whether an ephemeral message of this kind belongs to a call. */
export const isAboutCalls = (kind: string): boolean => Object.hasOwn(FIELDS, kind);

/** The call that a message's body is about; raises CallMessageInvalid. */
export function callIdOf(body: ValueMap): Bytes {
  const call = body.get("call");
  if (call instanceof Uint8Array && call.length === CALL_ID_BYTES) return call;
  throw new CallMessageInvalid("A message about a call does not say which.");
}

/** The message behind a decrypted ephemeral body; unknown keys are ignored. Raises CallMessageInvalid. */
export function parseMessage(kind: string, body: ValueMap): Message {
  if (!isAboutCalls(kind)) throw new CallMessageInvalid("There is no such message about a call.");
  const found: Record<string, Value> = { kind };
  for (const field of FIELDS[kind as Message["kind"]]) {
    const value = body.get(field) ?? (field === "after" && !body.has("after") ? 0 : null);
    if (CHECKS[field]?.(value) !== true) throw new CallMessageInvalid(`A ${kind} has a wrong ${field}.`);
    found[field] = value;
  }
  return found as unknown as Message; // each of its fields has just been checked
}

/** The body that says it, its keys in the order of the Python SDK. */
export function messageBody({ kind: _, ...fields }: Message, call: Bytes): ReadonlyMap<string, Packable> {
  return new Map<string, Packable>([["call", call], ...Object.entries(fields as Record<string, Packable>)]);
}

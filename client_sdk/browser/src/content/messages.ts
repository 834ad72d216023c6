/** The kinds of content (docs/PROTOCOL.md section 9). Each is made by a function that checks it. */

import type { Bytes } from "../bytes.ts";
import { ContentInvalid } from "../errors.ts";
import type { Packable, Value } from "../msgpack.ts";
import { WireError } from "../wire/errors.ts";
import type { BlobId } from "../wire/ids.ts";
import { parseBlobId } from "../wire/ids.ts";
import type { Edit, Reaction, Retract } from "./amendments.ts";
import { editFrom, reactionFrom, retractFrom } from "./amendments.ts";
import type { CheckIn, CheckInAnswer } from "./checkin.ts";
import { checkInAnswerBody, checkInAnswerFrom, checkInBody, checkInFrom } from "./checkin.ts";
import type { Extra } from "./checks.ts";
import { checkBytes, checkExtra, checkInt, checkName, checkText, Fields } from "./checks.ts";

/** One text: about fifteen printed pages, and half of what one entry of the stream holds. */
export const TEXT_BYTES = 32 * 1024;
const MEDIA_TYPE_BYTES = 127; // RFC 6838 section 4.2 allows it for each half; real ones are far shorter
export const ID_BYTES = 16;
const KEY_BYTES = 32;
const HASH_BYTES = 32;
const MEDIA_TYPE = /^[A-Za-z0-9!#$&^_.+-]+\/[A-Za-z0-9!#$&^_.+-]+$/;

const OUTCOMES = ["answered", "declined", "missed", "cancelled", "failed"] as const;
const MEDIA = ["audio", "video"] as const;
export type Outcome = (typeof OUTCOMES)[number];
export type Media = (typeof MEDIA)[number];

/** What somebody wrote: 1 byte to 32 KiB of UTF-8. `replyTo` is the id of what it answers, if it does. */
export interface Text {
  readonly kind: "text";
  readonly text: string;
  readonly replyTo: Bytes | null;
  readonly extra: Extra;
}

/** The name a person wants to be called by. */
export interface Profile {
  readonly kind: "profile";
  readonly name: string;
  readonly extra: Extra;
}

/**
 * Says what every message says besides: its sender has everything up to the attested position. `read`: the
 * position up to which the sender's user has read; null says nothing about that.
 */
export interface Receipt {
  readonly kind: "receipt";
  readonly read: number | null;
  readonly extra: Extra;
}

/** A sealed file in the blob store and the key to it; `name` is what the sender calls it, not a path. */
export interface File {
  readonly kind: "file";
  readonly name: string;
  readonly mediaType: string;
  readonly size: number;
  readonly blob: BlobId;
  readonly key: Bytes;
  readonly sealedSize: number;
  readonly sealedHash: Bytes;
  readonly extra: Extra;
}

/** An invitation to a call; a device rings only after it asked the caller whether it still rings. */
export interface CallInvite {
  readonly kind: "call.invite";
  readonly call: Bytes;
  readonly media: readonly Media[];
  readonly extra: Extra;
}

/**
 * How a call went; `answeredBy` is the user who took it, `seconds` how long they spoke, `device` the id of the
 * device that took or declined it, if that is known.
 */
export interface CallEnded {
  readonly kind: "call.ended";
  readonly call: Bytes;
  readonly outcome: Outcome;
  readonly answeredBy: string | null;
  readonly seconds: number;
  readonly device: Bytes | null;
  readonly extra: Extra;
}

/** Content of a kind, or a version of one, that this SDK does not know: kept byte for byte. */
export interface Unknown {
  readonly kind: "unknown";
  readonly named: string;
  readonly kindVersion: number;
  readonly critical: boolean;
  readonly fallback: string;
  /** One MessagePack map, as it was received. */
  readonly body: Bytes;
}

export type Known =
  | Text
  | CheckIn
  | CheckInAnswer
  | Profile
  | File
  | Receipt
  | CallInvite
  | CallEnded
  | Edit
  | Retract
  | Reaction;
export type Content = Known | Unknown;

type Plain<T> = Omit<T, "kind" | "extra"> & { readonly extra?: Extra };

export const text = (said: string, replyTo: Bytes | null = null, extra?: Extra): Text => ({
  kind: "text",
  text: checkText("The text", said, TEXT_BYTES),
  replyTo: replyTo && checkBytes("The id of the message replied to", replyTo, ID_BYTES),
  extra: checkExtra(extra, ["text", "reply_to"]),
});

export const profile = (name: string, extra?: Extra): Profile => ({
  kind: "profile",
  name: checkName("The name", name),
  extra: checkExtra(extra, ["name"]),
});

export const receipt = (read: number | null = null, extra?: Extra): Receipt => ({
  kind: "receipt",
  read: read === null ? null : checkInt("The position read up to", read, 1),
  extra: checkExtra(extra, ["read"]),
});

/** A file's description; raises ContentInvalid. */
export function file(given: Plain<File>): File {
  checkName("The file's name", given.name);
  checkText("The media type", given.mediaType, MEDIA_TYPE_BYTES);
  if (!MEDIA_TYPE.test(given.mediaType)) {
    throw new ContentInvalid('The media type has not the form "type/subtype" (RFC 6838).');
  }
  checkInt("The file's size", given.size);
  checkInt("The sealed size", given.sealedSize, 1);
  checkBlob(given.blob);
  checkBytes("The file's key", given.key, KEY_BYTES);
  checkBytes("The sealed hash", given.sealedHash, HASH_BYTES);
  const own = ["name", "media_type", "size", "blob", "key", "sealed_size", "sealed_hash"];
  return { kind: "file", ...given, extra: checkExtra(given.extra, own) };
}

function checkBlob(value: unknown): BlobId {
  try {
    return parseBlobId(value);
  } catch (error) {
    if (!(error instanceof WireError)) throw error;
    throw new ContentInvalid("The blob id is not 22 characters of base64url.");
  }
}

/** An invitation; raises ContentInvalid. */
export function callInvite(call: Bytes, media: readonly string[] = MEDIA, extra?: Extra): CallInvite {
  checkBytes("The call's id", call, ID_BYTES);
  const known = media.map((name) => MEDIA.find((one) => one === name));
  const wanted = known.filter((one) => one !== undefined);
  if (wanted.length !== media.length || wanted.length === 0 || new Set(wanted).size !== wanted.length) {
    throw new ContentInvalid('The media of a call are "audio", "video" or both.');
  }
  return { kind: "call.invite", call, media: wanted, extra: checkExtra(extra, ["call", "media"]) };
}

/** How a call went; raises ContentInvalid. */
export function callEnded(
  given: Omit<Plain<CallEnded>, "outcome"> & { readonly outcome: string },
): CallEnded {
  checkBytes("The call's id", given.call, ID_BYTES);
  const outcome = OUTCOMES.find((one) => one === given.outcome);
  if (outcome === undefined)
    throw new ContentInvalid(`The outcome of a call is one of ${OUTCOMES.join(", ")}.`);
  if (given.answeredBy !== null) checkName("The user who answered", given.answeredBy);
  checkInt("The call's length", given.seconds);
  if (given.device !== null) checkBytes("The id of the device", given.device, ID_BYTES);
  const extra = checkExtra(given.extra, ["call", "outcome", "answered_by", "seconds", "device"]);
  return { kind: "call.ended", ...given, outcome, extra };
}

/** What a client shows that does not know the kind. */
export function fallbackOf(content: Known): string {
  switch (content.kind) {
    case "text":
      return "A text message.";
    case "checkin":
      return `Check-in: ${content.prompt}`;
    case "checkin.answer":
      return "I answered the check-in.";
    case "profile":
      return `I am called ${content.name}.`;
    case "receipt":
      return "The messages have arrived.";
    case "file":
      return `I sent the file “${content.name}”. Update the app to open it.`;
    case "call.invite":
      return "I am calling you. Update the app to take calls.";
    case "call.ended":
      return ENDED[content.outcome];
    case "edit":
      return `I changed a message of mine to: ${content.text}`;
    case "retract":
      return "I took back a message. Update the app, and it is erased on your device too.";
    case "reaction":
      return content.on ? content.emoji : `I took back my ${content.emoji}.`;
  }
}

const ENDED: Readonly<Record<Outcome, string>> = {
  answered: "We had a call.",
  declined: "The call was declined.",
  missed: "The call was missed.",
  cancelled: "The call was cancelled.",
  failed: "The call could not be connected.",
};

/** The body as a map, its keys in the order of the Python SDK. */
export function bodyOf(content: Known): ReadonlyMap<string, Packable> {
  switch (content.kind) {
    case "checkin":
      return checkInBody(content);
    case "checkin.answer":
      return checkInAnswerBody(content);
    default:
      return new Map<string, Packable>([...Object.entries(ownBody(content)), ...content.extra]);
  }
}

function ownBody(content: Exclude<Known, CheckIn | CheckInAnswer>): Record<string, Packable> {
  switch (content.kind) {
    case "text":
      return { text: content.text, ...(content.replyTo && { reply_to: content.replyTo }) };
    case "profile":
      return { name: content.name };
    case "receipt":
      return content.read === null ? {} : { read: content.read };
    case "file": {
      const { name, mediaType, size, blob, key, sealedSize, sealedHash } = content;
      return {
        name,
        media_type: mediaType,
        size,
        blob,
        key,
        sealed_size: sealedSize,
        sealed_hash: sealedHash,
      };
    }
    case "call.invite":
      return { call: content.call, media: content.media };
    case "call.ended": {
      const { call, outcome, answeredBy, seconds, device } = content;
      return { call, outcome, answered_by: answeredBy, seconds, ...(device && { device }) };
    }
    case "edit":
      return { message: content.message, text: content.text };
    case "retract":
      return { message: content.message };
    case "reaction":
      return { message: content.message, emoji: content.emoji, on: content.on };
  }
}

/** How a received body of each kind is read; all raise ContentInvalid. */
export const READERS: Readonly<Record<Known["kind"], (body: Value) => Known>> = {
  text: (body) => {
    const fields = new Fields(body, "A text");
    const said = checkText("The text", fields.take("text"), TEXT_BYTES);
    const replyTo = fields.takeOr("reply_to", null);
    const id = replyTo === null ? null : checkBytes("The id of the message replied to", replyTo, ID_BYTES);
    return text(said, id, fields.rest());
  },
  checkin: checkInFrom,
  "checkin.answer": checkInAnswerFrom,
  profile: (body) => {
    const fields = new Fields(body, "A profile");
    return profile(checkName("The name", fields.take("name")), fields.rest());
  },
  receipt: (body) => {
    const fields = new Fields(body, "A receipt");
    const read = fields.takeOr("read", null);
    return receipt(read === null ? null : checkInt("The position read up to", read, 1), fields.rest());
  },
  file: fileFrom,
  "call.invite": (body) => {
    const fields = new Fields(body, "A call's invitation");
    const call = checkBytes("The call's id", fields.take("call"), ID_BYTES);
    const media = fields.takeList("media").map((one) => checkText("A medium", one, MEDIA_TYPE_BYTES));
    return callInvite(call, media, fields.rest());
  },
  "call.ended": callEndedFrom,
  edit: editFrom,
  retract: retractFrom,
  reaction: reactionFrom,
};

function fileFrom(body: Value): File {
  const fields = new Fields(body, "A file");
  return file({
    name: checkName("The file's name", fields.take("name")),
    mediaType: checkText("The media type", fields.take("media_type"), MEDIA_TYPE_BYTES),
    size: checkInt("The file's size", fields.take("size")),
    blob: checkBlob(fields.take("blob")),
    key: checkBytes("The file's key", fields.take("key"), KEY_BYTES),
    sealedSize: checkInt("The sealed size", fields.take("sealed_size"), 1),
    sealedHash: checkBytes("The sealed hash", fields.take("sealed_hash"), HASH_BYTES),
    extra: fields.rest(),
  });
}

const deviceOf = (value: Value): Bytes | null =>
  value === null ? null : checkBytes("The id of the device", value, ID_BYTES);

function callEndedFrom(body: Value): CallEnded {
  const fields = new Fields(body, "A call's end");
  const call = checkBytes("The call's id", fields.take("call"), ID_BYTES);
  const outcome = checkText("The outcome", fields.take("outcome"), MEDIA_TYPE_BYTES);
  const answered = fields.take("answered_by");
  return callEnded({
    call,
    outcome,
    answeredBy: answered === null ? null : checkName("The user who answered", answered),
    seconds: checkInt("The call's length", fields.take("seconds")),
    device: deviceOf(fields.takeOr("device", null)),
    extra: fields.rest(),
  });
}

/** The application data of an MLS message: what is said, and who has seen what (docs/PROTOCOL.md section 9). */

import type { Bytes } from "../bytes.ts";
import { concat, utf8 } from "../bytes.ts";
import { ContentInvalid, ContentMalformed, ContentTooBig } from "../errors.ts";
import type { Packable, Value } from "../msgpack.ts";
import { PackingError, pack, Reader, unpack } from "../msgpack.ts";
import type { Content, Known, Unknown } from "./messages.ts";
import { bodyOf, fallbackOf, ID_BYTES, READERS } from "./messages.ts";

const VERSION = 1;
/** All kinds of this protocol version are at their first version. */
const KIND_VERSION = 1;
/** The whole content: padded and framed by MLS it stays under the 64 KiB of an entry. */
export const CONTENT_BYTES = 60 * 1024;
const FALLBACK_BYTES = 1024;
const KIND_BYTES = 64;
const HASH_BYTES = 32;
/** Closing values of epochs since the sender's last message: more commits without a word are rare. */
export const MOST_CLOSINGS = 8;
const HEADER_FIELDS = 10;

/** What a member has seen: at position `seq`, in `epoch`, its stream hash was `hash` (32 bytes). */
export interface Attest {
  readonly epoch: number;
  readonly seq: number;
  readonly hash: Bytes;
}

/** One message: id (16 random bytes, its name for ever), sender's counter, attestations, content. */
export interface Envelope {
  readonly id: Bytes;
  readonly counter: number;
  readonly attest: Attest;
  readonly closings: readonly Attest[];
  readonly sentMs: number;
  readonly content: Content;
}

/**
 * A received message of a known kind whose body breaks that kind's rules. `envelope` is the whole message with
 * its content as `Unknown`: authentic and counted; its fallback can be shown. Only its body is not to be used.
 */
export class BodyInvalid extends ContentInvalid {
  override readonly code = "body_invalid";
  override readonly fault = "remote";
  readonly envelope: Envelope;

  constructor(message: string, envelope: Envelope, cause: unknown) {
    super(message, { cause });
    this.envelope = envelope;
  }
}

/** The kind's name, also of one that this SDK does not know. */
export const kindOf = (content: Content): string =>
  content.kind === "unknown" ? content.named : content.kind;

/** Encode the message; raises ContentTooBig when it is over 60 KiB. */
export function serializeEnvelope(envelope: Envelope): Bytes {
  const header: Packable[] = [
    VERSION,
    envelope.id,
    envelope.counter,
    triple(envelope.attest),
    envelope.closings.map(triple),
    envelope.sentMs,
  ];
  const [last, body] = described(envelope.content);
  const parts = [...header, ...last].map((value) => pack(value));
  const data = concat(Uint8Array.of(0x90 | (HEADER_FIELDS + 1)), ...parts, body);
  if (data.length > CONTENT_BYTES) {
    throw new ContentTooBig(
      `The message has ${data.length} bytes, at most ${CONTENT_BYTES} fit. Shorten it, or send it as a file.`,
    );
  }
  return data;
}

function described(content: Content): [readonly Packable[], Bytes] {
  if (content.kind === "unknown") {
    return [[content.named, content.kindVersion, content.critical, content.fallback], content.body];
  }
  return [[content.kind, KIND_VERSION, false, shortened(fallbackOf(content))], pack(bodyOf(content))];
}

/**
 * Decode a message. Raises ContentTooBig over 60 KiB; ContentMalformed when the structure is not that of
 * section 9; BodyInvalid (with the message kept whole) when only the body of a known kind breaks its rules.
 */
export function parseEnvelope(data: Bytes): Envelope {
  if (data.length > CONTENT_BYTES) throw new ContentTooBig("A message came that is longer than allowed.");
  const [header, body, value] = split(data);
  const envelope = fromHeader(header, body);
  const unknown = envelope.content;
  if (unknown.kind !== "unknown" || unknown.kindVersion !== KIND_VERSION) return envelope;
  if (!Object.hasOwn(READERS, unknown.named)) return envelope;
  try {
    return { ...envelope, content: READERS[unknown.named as Known["kind"]](value) };
  } catch (error) {
    if (!(error instanceof ContentInvalid)) throw error;
    throw new BodyInvalid(
      `A message of kind '${unknown.named}' is not usable: ${error.message}`,
      envelope,
      error,
    );
  }
}

function split(data: Bytes): [Value[], Bytes, Value] {
  try {
    const reader = new Reader(data);
    if (reader.readArrayHeader() !== HEADER_FIELDS + 1)
      throw new PackingError("it has another number of fields");
    const header = Array.from({ length: HEADER_FIELDS }, () => reader.read());
    const body = data.slice(reader.position);
    const value = unpack(body);
    if (!(value instanceof Map)) throw new PackingError("its body is not a map");
    return [header, body, value];
  } catch (error) {
    if (!(error instanceof PackingError)) throw error;
    throw new ContentMalformed(`A message is no content: ${error.message}.`);
  }
}

function fromHeader(header: readonly Value[], body: Bytes): Envelope {
  const [version, id, counter, attested, closings, sentMs, kind, kindVersion, critical, fallback] = header;
  if (version !== VERSION) throw new ContentMalformed("A message has another content version than 1.");
  if (!(id instanceof Uint8Array) || id.length !== ID_BYTES) {
    throw new ContentMalformed("A message's id is not 16 bytes.");
  }
  if (!Array.isArray(closings) || closings.length > MOST_CLOSINGS) {
    throw new ContentMalformed(`A message's closings are not a list of at most ${MOST_CLOSINGS}.`);
  }
  if (typeof critical !== "boolean") throw new ContentMalformed("A message's critical flag is malformed.");
  const content: Unknown = {
    kind: "unknown",
    named: short(kind, KIND_BYTES, 1),
    kindVersion: uint(kindVersion, 1),
    critical,
    fallback: short(fallback, FALLBACK_BYTES, 0),
    body,
  };
  const times = { counter: uint(counter, 1), sentMs: uint(sentMs) };
  return { id, ...times, attest: attest(attested), closings: closings.map(attest), content };
}

const triple = ({ epoch, seq, hash }: Attest): Packable => [epoch, seq, hash];

/** [epoch, seq, hash] as an attestation; raises ContentMalformed. */
export function attest(value: Value | undefined): Attest {
  if (!Array.isArray(value) || value.length !== 3) {
    throw new ContentMalformed("An attestation is not [epoch, seq, hash].");
  }
  const [epoch, seq, hash] = value;
  if (!(hash instanceof Uint8Array) || hash.length !== HASH_BYTES) {
    throw new ContentMalformed("An attested stream hash is not 32 bytes.");
  }
  return { epoch: uint(epoch), seq: uint(seq), hash };
}

function uint(value: Value | undefined, least = 0): number {
  if (typeof value === "number" && value >= least) return value;
  throw new ContentMalformed("A number of a message is not a whole number in its range.");
}

function short(value: Value | undefined, most: number, least: number): string {
  if (typeof value === "string" && value.length >= least && utf8(value).length <= most) return value;
  throw new ContentMalformed(`A message's kind or fallback is not text of at most ${most} bytes.`);
}

/** At most FALLBACK_BYTES, cut between characters and marked as cut. */
function shortened(said: string): string {
  const bytes = utf8(said);
  if (bytes.length <= FALLBACK_BYTES) return said;
  let end = FALLBACK_BYTES - utf8("…").length;
  while (((bytes[end] ?? 0) & 0xc0) === 0x80) end--;
  return `${new TextDecoder().decode(bytes.subarray(0, end))}…`;
}

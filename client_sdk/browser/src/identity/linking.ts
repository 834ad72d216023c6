/**
 * Linking a device: what two devices of one person tell each other, sealed by a secret (docs/PROTOCOL.md 6.1).
 *
 * The new device shows 128 random bits, as twelve words and as a QR code; the person gives them to a device that
 * they have. All keys follow from them and from a fresh Diffie-Hellman exchange: the relay between the two, which
 * does not know the secret, can read, alter and answer nothing, and whoever finds the words later can open nothing
 * that was recorded.
 */

import { entropyToMnemonic, mnemonicToEntropy } from "@scure/bip39";
import { wordlist } from "@scure/bip39/wordlists/english.js";
import type { Bytes, Rng } from "../bytes.ts";
import { concat, equal, hex, u32, u64, unhex, utf8 } from "../bytes.ts";
import { paddedLength } from "../content/padding.ts";
import { hkdfSha256, sha256, x25519, x25519Public, xchachaOpen, xchachaSeal } from "../crypto.ts";
import { LinkCodeInvalid, LinkTampered } from "../devices/errors.ts";
import { UsageError } from "../errors.ts";
import type { Packable, Value } from "../msgpack.ts";
import { PackingError, pack, unpack } from "../msgpack.ts";
import { WireError } from "../wire/errors.ts";
import type { PortalId, UserId } from "../wire/ids.ts";
import { label, parsePortalId, parseUserId } from "../wire/ids.ts";
import { CHANNEL_BYTES, MAX_RENDEZVOUS_BODY_BYTES } from "../wire/limits.ts";
import { KEY_BYTES } from "./keys.ts";

export const SECRET_BYTES = 16;
const WORDS = 12;
/** What a QR code begins with; the rest is the secret in upper-case hex, so that the code stays small. */
const CODE_START = "COACH-LINK:";
export const NAME_BYTES = 64;
/** Padded and sealed it still fits into the relay's frame. */
const MESSAGE_BYTES = 48 * 1024;

const FORMAT = 1;
const NONCE_BYTES = 24;
const EPHEMERAL_BYTES = 32;
const HELLO = 0;
const SEALED = 1;

/** Which of the two devices speaks: the one that stands in the person's list, or the new one. */
export type Side = "known" | "new";

const NUMBER: Readonly<Record<Side, number>> = { known: 0, new: 1 };
const other = (side: Side): Side => (side === "known" ? "new" : "known");

/** The 128 bits that the new device shows. */
export class LinkSecret {
  readonly #value: Bytes;

  constructor(value: Bytes) {
    if (value.length !== SECRET_BYTES) throw new UsageError(`A linking secret is ${SECRET_BYTES} bytes.`);
    this.#value = value;
  }

  /** Twelve BIP-39 English words, the last of which holds a checksum against typing errors. */
  get words(): readonly string[] {
    return entropyToMnemonic(this.#value, wordlist).split(" ");
  }

  /** What the QR code says. */
  get code(): string {
    return CODE_START + hex(this.#value).toUpperCase();
  }

  /** Where the two devices meet; it tells nothing about the keys. */
  get channel(): Bytes {
    return this.#derive("channel", CHANNEL_BYTES);
  }

  /** The key of this side's greetings. */
  helloKey(side: Side): Bytes {
    return this.#derive(`hello ${NUMBER[side]}`, KEY_BYTES);
  }

  #derive(info: string, length: number): Bytes {
    return hkdfSha256(this.#value, label("link"), utf8(info), length);
  }

  /** The secret itself, for the vault and for the session's keys alone. */
  unsafeValue(): Bytes {
    return this.#value;
  }

  /** The secret of twelve typed words or of a scanned code; raises LinkCodeInvalid. */
  static read(typed: string): LinkSecret {
    const plain = typed.trim().slice(0, 1024);
    if (plain.toUpperCase().startsWith(CODE_START)) return fromHex(plain.slice(CODE_START.length));
    const words = plain.toLowerCase().match(/\p{L}+/gu) ?? [];
    const unknown = words.find((word) => !wordlist.includes(word));
    if (words.length !== WORDS || unknown !== undefined) {
      const what =
        unknown === undefined
          ? `these are ${words.length}`
          : `“${unknown.slice(0, 20)}” is none of those it uses`;
      throw new LinkCodeInvalid(
        `The other device shows ${WORDS} words; ${what}. Look at its screen and type them again.`,
      );
    }
    try {
      return new LinkSecret(mnemonicToEntropy(words.join(" "), wordlist));
    } catch {
      throw new LinkCodeInvalid(
        "One of the words is not the right one, or they are not in the order shown. " +
          "Look at the other device's screen and type them again.",
      );
    }
  }
}

function fromHex(digits: string): LinkSecret {
  if (!new RegExp(`^[0-9a-fA-F]{${2 * SECRET_BYTES}}$`).test(digits)) {
    throw new LinkCodeInvalid(
      "This code is not one for linking a device. Scan the one that the new device shows.",
    );
  }
  return new LinkSecret(unhex(digits));
}

/** Who greets; `name` is what the device calls itself, 1 to 64 bytes. */
export interface Introduction {
  readonly portal: PortalId;
  readonly user: UserId;
  readonly deviceKey: Bytes;
  readonly name: string;
}

/** How a device introduced itself; `ephemeral` is its X25519 key for this one meeting. */
interface Hello extends Introduction {
  readonly ephemeral: Bytes;
}

/** One device's part of one meeting: make it, send `body`, and `meet` the other's. */
export class Greeting {
  readonly body: Bytes;
  readonly #secret: LinkSecret;
  readonly #side: Side;
  readonly #self: Introduction;
  readonly #private: Bytes;

  constructor(secret: LinkSecret, side: Side, self: Introduction, rng: Rng) {
    this.#secret = secret;
    this.#side = side;
    this.#self = self;
    this.#private = rng(EPHEMERAL_BYTES);
    const nonce = rng(NONCE_BYTES);
    const { portal, user, deviceKey, name } = self;
    const plain = pack([FORMAT, portal, user, deviceKey, name, x25519Public(this.#private)]);
    const sealed = xchachaSeal(secret.helloKey(side), nonce, plain, bound(secret, side));
    this.body = concat(Uint8Array.of(HELLO), nonce, sealed);
  }

  /** Who the other device is, and the session with it; raises LinkTampered. */
  meet(body: Bytes): { readonly hello: Introduction; readonly session: LinkSession } {
    const side = other(this.#side);
    if (!isHello(body)) throw tampered();
    const [nonce, sealed] = [body.subarray(1, 1 + NONCE_BYTES), body.subarray(1 + NONCE_BYTES)];
    const hello = parseHello(open(this.#secret.helloKey(side), nonce, sealed, bound(this.#secret, side)));
    const own = this.#self;
    const strange =
      hello.portal !== own.portal || hello.user !== own.user || equal(hello.deviceKey, own.deviceKey);
    if (strange) throw tampered();
    return { hello, session: this.#session(hello, body) };
  }

  #session(hello: Hello, body: Bytes): LinkSession {
    const shared = x25519(this.#private, hello.ephemeral);
    if (shared === null) throw tampered(); // a point of small order
    const [known, fresh] = this.#side === "known" ? [this.body, body] : [body, this.body];
    const transcript = sha256(label("link transcript"), u32(known.length), known, fresh);
    const key = (side: Side) =>
      hkdfSha256(
        concat(this.#secret.unsafeValue(), shared),
        transcript,
        utf8(`from ${NUMBER[side]}`),
        KEY_BYTES,
      );
    return new LinkSession(key(this.#side), key(other(this.#side)), transcript);
  }
}

/** Whether what came at the channel begins a meeting. */
export const isHello = (body: Bytes): boolean => body.length > 1 + NONCE_BYTES && body[0] === HELLO;

/** Seals and opens what the two devices say after their greetings: each message once, in its order. */
export class LinkSession {
  readonly #sendKey: Bytes;
  readonly #receiveKey: Bytes;
  readonly #transcript: Bytes;
  #sent = 0;
  #received = 0;

  constructor(sendKey: Bytes, receiveKey: Bytes, transcript: Bytes) {
    this.#sendKey = sendKey;
    this.#receiveKey = receiveKey;
    this.#transcript = transcript;
  }

  /** The next message as a body; raises UsageError if it is too long. */
  seal(kind: string, ...fields: readonly Packable[]): Bytes {
    const plain = pack([kind, ...fields]);
    if (plain.length > MESSAGE_BYTES) {
      throw new UsageError(`A message between two devices has at most ${MESSAGE_BYTES} bytes.`);
    }
    const padded = new Uint8Array(paddedLength(4 + plain.length));
    padded.set(concat(u32(plain.length), plain));
    const sealed = xchachaSeal(this.#sendKey, counted(this.#sent++), padded, this.#transcript);
    return concat(Uint8Array.of(SEALED), sealed);
  }

  /**
   * The kind and fields of the other device's next message. Raises LinkTampered for anything else: altered,
   * repeated, left out, sent back, of another meeting.
   */
  open(body: Bytes): readonly [string, ...Value[]] {
    if (body.length <= 1 || body.length > MAX_RENDEZVOUS_BODY_BYTES || body[0] !== SEALED) throw tampered();
    const padded = open(this.#receiveKey, counted(this.#received), body.subarray(1), this.#transcript);
    if (padded.length < 4) throw tampered();
    const length = new DataView(padded.buffer, padded.byteOffset).getUint32(0);
    const [plain, padding] = [padded.subarray(4, 4 + length), padded.subarray(4 + length)];
    if (plain.length !== length || padding.some((byte) => byte !== 0)) throw tampered();
    this.#received++;
    const values = unpacked(plain);
    if (!Array.isArray(values) || typeof values[0] !== "string") throw tampered();
    return values as [string, ...Value[]];
  }
}

const bound = (secret: LinkSecret, side: Side): Bytes =>
  concat(label("link hello"), Uint8Array.of(NUMBER[side]), secret.channel);

const counted = (number: number): Bytes => concat(new Uint8Array(NONCE_BYTES - 8), u64(number));

function open(key: Bytes, nonce: Bytes, sealed: Bytes, associated: Bytes): Bytes {
  const plain = xchachaOpen(key, nonce, sealed, associated);
  if (plain === null) throw tampered();
  return plain;
}

function unpacked(plain: Bytes): Value {
  try {
    return unpack(plain);
  } catch (error) {
    if (!(error instanceof PackingError)) throw error;
    throw tampered();
  }
}

function parseHello(plain: Bytes): Hello {
  const values = unpacked(plain);
  const [format, portal, user, deviceKey, name, ephemeral] = Array.isArray(values) ? values : [];
  const fits =
    Array.isArray(values) &&
    values.length === 6 &&
    format === FORMAT &&
    typeof name === "string" &&
    deviceKey instanceof Uint8Array &&
    deviceKey.length === KEY_BYTES &&
    ephemeral instanceof Uint8Array &&
    ephemeral.length === EPHEMERAL_BYTES;
  if (!fits) throw tampered();
  const size = utf8(name).length;
  if (size < 1 || size > NAME_BYTES) throw tampered();
  try {
    return { portal: parsePortalId(portal), user: parseUserId(user), deviceKey, name, ephemeral };
  } catch (error) {
    if (!(error instanceof WireError)) throw error;
    throw tampered();
  }
}

const tampered = (): LinkTampered =>
  new LinkTampered(
    "Something came that your other device did not send. Nothing of it was used. " +
      "If linking does not go on, begin again on both devices, with new words.",
  );

/** Ephemeral messages (docs/PROTOCOL.md section 10): sealed beside the message ratchet, for they overtake it. */

import type { Bytes, Rng } from "../bytes.ts";
import { concat, u32 } from "../bytes.ts";
import { paddedLength } from "../content/padding.ts";
import { ed25519Verifies, xchachaOpen, xchachaSeal } from "../crypto.ts";
import { CoachRelayError } from "../errors.ts";
import type { Packable, ValueMap } from "../msgpack.ts";
import { PackingError, pack, unpack } from "../msgpack.ts";
import { label } from "../wire/ids.ts";
import { MAX_EPHEMERAL_BODY_BYTES } from "../wire/limits.ts";

export const EXPORTER_LABEL = "coach-relay/1 ephemeral";
const KEY_BYTES = 32;
const NONCE_BYTES = 24;
const SIGNATURE_BYTES = 64;
const LENGTH_BYTES = 4;
/** Of a future epoch: its commit is on its way, so one call's negotiation is enough room. */
const MAX_WAITING = 16;
/** What was sealed just before a commit still arrives. */
const PAST_MS = 60_000;

/** An ephemeral message that is not what a member of this epoch sent, or was seen already. */
export class EphemeralRefused extends CoachRelayError {
  readonly code = "ephemeral_refused";
  override readonly fault = "remote";
}

/** What of an epoch opens and seals its ephemeral messages. */
export interface EphemeralEpoch {
  readonly groupId: Bytes;
  readonly epoch: number;
  readonly authenticator: Bytes;
  readonly ownLeaf: number;
  /** The device key of each leaf. */
  readonly deviceKeys: ReadonlyMap<number, Bytes>;
  /** MLS-Exporter(label, context, length) of this epoch. */
  exporter(label: string, context: Bytes, length: number): Promise<Bytes>;
}

/** An authenticated message: who sent it (leaf and device key), in which epoch, and what it says. */
export interface EphemeralMessage {
  readonly epoch: number;
  readonly leaf: number;
  readonly deviceKey: Bytes;
  /** The epoch authenticator of its epoch. */
  readonly authenticator: Bytes;
  readonly kind: string;
  readonly body: ValueMap;
}

interface Sealed {
  readonly epoch: number;
  readonly leaf: number;
  readonly counter: number;
  readonly nonce: Bytes;
  readonly ciphertext: Bytes;
  readonly signature: Bytes;
}

const headerOf = (epoch: EphemeralEpoch, leaf: number, counter: number): Bytes =>
  pack([epoch.groupId, epoch.epoch, leaf, counter]);

/** Seals and opens the ephemeral messages of one conversation. It lives in memory alone; `now` is monotonic. */
export class EphemeralBox {
  readonly #sign: (labelled: Bytes) => Bytes;
  #current: EphemeralEpoch;
  #past: EphemeralEpoch | null = null;
  #pastUntil = 0;
  #waiting: Sealed[] = [];
  #lastCounter = new Map<string, number>();
  #keys = new Map<string, Bytes>();

  constructor(epoch: EphemeralEpoch, sign: (labelled: Bytes) => Bytes) {
    this.#current = epoch;
    this.#sign = sign;
  }

  /** Go on to another epoch; returns the messages that had waited for it. */
  async enter(epoch: EphemeralEpoch, nowMs: number): Promise<readonly EphemeralMessage[]> {
    this.#past = this.#current;
    this.#pastUntil = nowMs + PAST_MS;
    this.#current = epoch;
    this.#forgetOthers();
    const waited = this.#waiting;
    this.#waiting = waited.filter((sealed) => sealed.epoch > epoch.epoch);
    const opened: EphemeralMessage[] = [];
    for (const sealed of waited.filter((one) => one.epoch <= epoch.epoch)) {
      try {
        opened.push(await this.#openSealed(sealed, nowMs));
      } catch (error) {
        if (!(error instanceof EphemeralRefused)) throw error; // a stranger's noise waited here: dropped
      }
    }
    return opened;
  }

  /** One message of our own; raises EphemeralRefused if it is too long. */
  async seal(counter: number, kind: string, body: Packable, rng: Rng): Promise<Bytes> {
    const epoch = this.#current;
    const nonce = rng(NONCE_BYTES);
    const header = headerOf(epoch, epoch.ownLeaf, counter);
    const key = await this.#key(epoch, epoch.ownLeaf);
    const ciphertext = xchachaSeal(key, nonce, padded(pack([kind, body])), header);
    const signature = this.#sign(concat(label("ephemeral"), header, nonce, ciphertext));
    const sealed = pack([epoch.epoch, epoch.ownLeaf, counter, nonce, ciphertext, signature]);
    if (sealed.length > MAX_EPHEMERAL_BODY_BYTES) {
      throw new EphemeralRefused("The message is too long to be ephemeral.");
    }
    return sealed;
  }

  /** The message in these bytes; null if its epoch is still to come. Raises EphemeralRefused. */
  async open(body: Bytes, nowMs: number): Promise<EphemeralMessage | null> {
    const sealed = parse(body);
    if (sealed.epoch > this.#current.epoch) {
      this.#waiting = [...this.#waiting, sealed].slice(-MAX_WAITING);
      return null;
    }
    return this.#openSealed(sealed, nowMs);
  }

  async #openSealed(sealed: Sealed, nowMs: number): Promise<EphemeralMessage> {
    const epoch = this.#epochOf(sealed.epoch, nowMs);
    const deviceKey = epoch.deviceKeys.get(sealed.leaf);
    if (sealed.leaf === this.#current.ownLeaf) throw refused("names this device itself as its sender");
    if (deviceKey === undefined) throw refused("is not from a member of the epoch it names");
    const header = headerOf(epoch, sealed.leaf, sealed.counter);
    const signed = concat(label("ephemeral"), header, sealed.nonce, sealed.ciphertext);
    if (!ed25519Verifies(deviceKey, signed, sealed.signature)) throw refused("has a signature that fails");
    const key = await this.#key(epoch, sealed.leaf);
    const [kind, said] = decrypted(key, header, sealed);
    this.#count(`${sealed.epoch}/${sealed.leaf}`, sealed.counter);
    const { authenticator } = epoch;
    return { epoch: sealed.epoch, leaf: sealed.leaf, deviceKey, authenticator, kind, body: said };
  }

  /** After every await, so that two of the same counter cannot both pass. */
  #count(place: string, counter: number): void {
    if (counter <= (this.#lastCounter.get(place) ?? 0)) throw refused("was seen already");
    this.#lastCounter.set(place, counter);
  }

  #epochOf(epoch: number, nowMs: number): EphemeralEpoch {
    if (this.#past !== null && nowMs > this.#pastUntil) {
      this.#past = null;
      this.#forgetOthers();
    }
    if (epoch === this.#current.epoch) return this.#current;
    if (this.#past !== null && epoch === this.#past.epoch) return this.#past;
    throw refused("is of an epoch that is over");
  }

  async #key(epoch: EphemeralEpoch, leaf: number): Promise<Bytes> {
    const place = `${epoch.epoch}/${leaf}`;
    const known = this.#keys.get(place);
    if (known !== undefined) return known;
    const key = await epoch.exporter(EXPORTER_LABEL, u32(leaf), KEY_BYTES);
    this.#keys.set(place, key);
    return key;
  }

  #forgetOthers(): void {
    const kept = [this.#past, this.#current].map((epoch) => `${epoch?.epoch}/`);
    const stays = ([place]: readonly [string, unknown]) => kept.some((start) => place.startsWith(start));
    this.#keys = new Map([...this.#keys].filter(stays));
    this.#lastCounter = new Map([...this.#lastCounter].filter(stays));
  }
}

const refused = (what: string): EphemeralRefused => new EphemeralRefused(`An ephemeral message ${what}.`);

function padded(message: Bytes): Bytes {
  const plain = new Uint8Array(paddedLength(LENGTH_BYTES + message.length));
  plain.set(u32(message.length));
  plain.set(message, LENGTH_BYTES);
  return plain;
}

function unpadded(plain: Bytes): Bytes {
  if (plain.length < LENGTH_BYTES) throw refused("is malformed");
  const length = new DataView(plain.buffer, plain.byteOffset).getUint32(0);
  const end = LENGTH_BYTES + length;
  if (end > plain.length || plain.subarray(end).some((byte) => byte !== 0)) {
    throw refused("has malformed padding");
  }
  return plain.subarray(LENGTH_BYTES, end);
}

function decrypted(key: Bytes, header: Bytes, sealed: Sealed): [string, ValueMap] {
  const plain = xchachaOpen(key, sealed.nonce, sealed.ciphertext, header);
  if (plain === null) throw refused("does not open");
  const values = unpackedOr(unpadded(plain));
  const [kind, body] = Array.isArray(values) && values.length === 2 ? values : [];
  if (typeof kind !== "string" || !(body instanceof Map)) throw refused("is not a kind and a body");
  return [kind, body];
}

function parse(body: Bytes): Sealed {
  const values = unpackedOr(body);
  const [epoch, leaf, counter, nonce, ciphertext, signature] =
    Array.isArray(values) && values.length === 6 ? values : [];
  if (
    typeof epoch !== "number" ||
    typeof leaf !== "number" ||
    typeof counter !== "number" ||
    Math.min(epoch, leaf, counter) < 0 ||
    !(nonce instanceof Uint8Array && nonce.length === NONCE_BYTES) ||
    !(signature instanceof Uint8Array && signature.length === SIGNATURE_BYTES) ||
    !(ciphertext instanceof Uint8Array)
  ) {
    throw refused("is malformed");
  }
  return { epoch, leaf, counter, nonce, ciphertext, signature };
}

function unpackedOr(bytes: Bytes) {
  try {
    return unpack(bytes);
  } catch (error) {
    if (!(error instanceof PackingError)) throw error;
    throw refused("is malformed");
  }
}

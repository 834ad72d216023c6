/** Ed25519 keys that sign only under this protocol's labels (docs/PROTOCOL.md section 1). */

import type { Bytes, Rng } from "../bytes.ts";
import { concat } from "../bytes.ts";
import { ed25519Public, ed25519Sign, ed25519Verifies } from "../crypto.ts";
import { SignatureInvalid, UsageError } from "../errors.ts";
import { label } from "../wire/ids.ts";

export const KEY_BYTES = 32;
export const SIGNATURE_BYTES = 64;

/** An Ed25519 key pair. The seed stays inside: it shows in no log and in no JSON. */
export class KeyPair {
  readonly public: Bytes;
  readonly #seed: Bytes;

  constructor(seed: Bytes) {
    if (seed.length !== KEY_BYTES) throw new UsageError(`A private key is ${KEY_BYTES} bytes.`);
    this.#seed = seed;
    this.public = ed25519Public(seed);
  }

  static generate(rng: Rng): KeyPair {
    return new KeyPair(rng(KEY_BYTES));
  }

  /** sign(key, name, message): 64 bytes over `label(name) || message`. */
  sign(name: string, message: Bytes): Bytes {
    return ed25519Sign(this.#seed, concat(label(name), message));
  }

  /** Sign bytes that begin with a label already; refuses any others, whoever asks for it. */
  signLabelled(data: Bytes): Bytes {
    const start = label("").subarray(0, -1);
    if (!start.every((byte, at) => data[at] === byte) || !data.includes(0)) {
      throw new UsageError("A key of this protocol signs only what begins with a label of this protocol.");
    }
    return ed25519Sign(this.#seed, data);
  }

  /** The seed, for the vault and for MLS alone. */
  unsafeSeed(): Bytes {
    return this.#seed;
  }
}

/** Whether `signature` is sign(key, name, message); raises SignatureInvalid. */
export function verifySignature(publicKey: Bytes, name: string, message: Bytes, signature: Bytes): void {
  if (!ed25519Verifies(publicKey, concat(label(name), message), signature)) {
    throw new SignatureInvalid("A signature does not verify. Do not trust what it signs.");
  }
}

/** The primitives: libsodium for signatures and XChaCha20, noble for hashes. `ready()` comes first. */

import { hkdf } from "@noble/hashes/hkdf.js";
import { sha256 as nobleSha256, sha512 as nobleSha512 } from "@noble/hashes/sha2.js";
import sodium from "libsodium-wrappers";
import type { Bytes } from "./bytes.ts";
import { concat } from "./bytes.ts";

/** Resolves when libsodium can be used; call it once before anything of this package. */
export const ready = (): Promise<void> => sodium.ready;

export const sha256 = (...parts: readonly Bytes[]): Bytes => nobleSha256(concat(...parts));
export const sha512 = (...parts: readonly Bytes[]): Bytes => nobleSha512(concat(...parts));

export const hkdfSha256 = (ikm: Bytes, salt: Bytes, info: Bytes, length: number): Bytes =>
  hkdf(nobleSha256, ikm, salt, info, length);

/** The public key of a 32-byte seed. */
export const ed25519Public = (seed: Bytes): Bytes => sodium.crypto_sign_seed_keypair(seed).publicKey;

export function ed25519Sign(seed: Bytes, message: Bytes): Bytes {
  return sodium.crypto_sign_detached(message, sodium.crypto_sign_seed_keypair(seed).privateKey);
}

/** Whether the signature verifies; libsodium refuses non-canonical ones and public keys of small order. */
export function ed25519Verifies(publicKey: Bytes, message: Bytes, signature: Bytes): boolean {
  if (publicKey.length !== 32 || signature.length !== 64) return false;
  return sodium.crypto_sign_verify_detached(signature, message, publicKey);
}

export const xchachaSeal = (key: Bytes, nonce: Bytes, plain: Bytes, associated: Bytes): Bytes =>
  sodium.crypto_aead_xchacha20poly1305_ietf_encrypt(plain, associated, null, nonce, key);

/** The plaintext; null if the tag does not verify. */
export function xchachaOpen(key: Bytes, nonce: Bytes, sealed: Bytes, associated: Bytes): Bytes | null {
  try {
    return sodium.crypto_aead_xchacha20poly1305_ietf_decrypt(null, sealed, associated, nonce, key);
  } catch {
    return null;
  }
}

/** The X25519 public key of 32 private bytes. */
export const x25519Public = (secret: Bytes): Bytes => sodium.crypto_scalarmult_base(secret);

/** X25519(secret, their public key); null for a point of small order. */
export function x25519(secret: Bytes, theirs: Bytes): Bytes | null {
  try {
    return sodium.crypto_scalarmult(secret, theirs);
  } catch {
    return null;
  }
}

export { sodium };

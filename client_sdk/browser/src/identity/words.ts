/**
 * Call words: five words that both people read aloud (docs/PROTOCOL.md section 12).
 *
 * The caller commits to its nonce before it sees the callee's, so that somebody between the two cannot search
 * for nonces that give both sides the same words: an impostor has one try in 2^55.
 */

import { wordlist } from "@scure/bip39/wordlists/english.js";
import type { Bytes } from "../bytes.ts";
import { concat, equal } from "../bytes.ts";
import { hkdfSha256, sha256 } from "../crypto.ts";
import { CallRevealFailed, UsageError } from "../errors.ts";
import { pack } from "../msgpack.ts";
import { label } from "../wire/ids.ts";

export const NONCE_BYTES = 32;
const FINGERPRINT_BYTES = 32;
const WORDS = 5;
const BITS_PER_WORD = 11;
const OUTPUT_BYTES = 7;

/** The caller's commitment to its nonce (32 bytes) in the offer. */
export function callCommit(nonce: Bytes): Bytes {
  check("A call's nonce", nonce, NONCE_BYTES);
  return sha256(label("call commit"), nonce);
}

/** Whether the revealed nonce is the committed one; raises CallRevealFailed, and the call must end. */
export function checkReveal(commit: Bytes, nonce: Bytes): void {
  if (nonce.length !== NONCE_BYTES || !equal(callCommit(nonce), commit)) {
    throw new CallRevealFailed(
      "The other device did not keep to what it had committed itself to. Somebody may stand between you two: " +
        "the call is ended. Try again, and compare your safety numbers if it happens again.",
    );
  }
}

/** What the call words bind together; a fingerprint is the 32 bytes of `a=fingerprint:sha-256`. */
export interface CallBinding {
  readonly callerIdentity: Bytes;
  readonly calleeIdentity: Bytes;
  readonly groupId: Bytes;
  readonly call: Bytes;
  /** Of the epoch that the offer's ephemeral header names. */
  readonly epochAuthenticator: Bytes;
  readonly callerFingerprint: Bytes;
  readonly calleeFingerprint: Bytes;
}

/** The five words; both sides have the same if nobody stands between them. */
export function callWords(binding: CallBinding, callerNonce: Bytes, calleeNonce: Bytes): readonly string[] {
  check("A call's nonce", callerNonce, NONCE_BYTES);
  check("A call's nonce", calleeNonce, NONCE_BYTES);
  check("A fingerprint", binding.callerFingerprint, FINGERPRINT_BYTES);
  check("A fingerprint", binding.calleeFingerprint, FINGERPRINT_BYTES);
  const info = pack([
    binding.callerIdentity,
    binding.calleeIdentity,
    binding.groupId,
    binding.call,
    binding.epochAuthenticator,
    binding.callerFingerprint,
    binding.calleeFingerprint,
  ]);
  const output = hkdfSha256(concat(callerNonce, calleeNonce), label("call words"), info, OUTPUT_BYTES);
  const bits = output.reduce((sum, byte) => (sum << 8n) | BigInt(byte), 0n) >> 1n;
  return Array.from({ length: WORDS }, (_, place) => {
    const index = Number((bits >> BigInt(BITS_PER_WORD * (WORDS - 1 - place))) & 0x7ffn);
    return wordlist[index] ?? "";
  });
}

function check(what: string, value: Bytes, length: number): void {
  if (value.length !== length) throw new UsageError(`${what} is ${length} bytes.`);
}

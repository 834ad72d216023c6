/**
 * The recovery words: twelve BIP-39 words that carry the recovery seed (docs/PROTOCOL.md section 6).
 *
 * From the seed follow the recovery key pair, whose public half every device list of the user names, and the key
 * that opens the user's archive. The seed is in the vault only until the kit has been made.
 */

import { entropyToMnemonic, mnemonicToEntropy } from "@scure/bip39";
import { wordlist } from "@scure/bip39/wordlists/english.js";
import type { Bytes } from "../bytes.ts";
import { equal, utf8 } from "../bytes.ts";
import { hkdfSha256 } from "../crypto.ts";
import { RecoveryWordsInvalid } from "../devices/errors.ts";
import { UsageError } from "../errors.ts";
import { label } from "../wire/ids.ts";
import { KEY_BYTES, KeyPair } from "./keys.ts";

/** 128 bits: nobody guesses them, and a person types twelve words without losing patience. */
export const SEED_BYTES = 16;
export const WORDS = 12;
/** No two words of the list begin with the same four letters. */
const UNIQUE_LETTERS = 4;
/** Twelve words with numbers and commas stay far below; bounds what is looked at. */
const MOST_TYPED = 1024;

/** The twelve words that carry a seed of 16 bytes. */
export const recoveryWords = (seed: Bytes): readonly string[] => entropyToMnemonic(seed, wordlist).split(" ");

/** The recovery key: it signs a device list that overrides all that the identity key signed. */
export const recoveryKey = (seed: Bytes): KeyPair =>
  new KeyPair(hkdfSha256(seed, label("recovery key"), new Uint8Array(), KEY_BYTES));

/**
 * The seed that these words carry; raises RecoveryWordsInvalid. Case, numbers, commas and line breaks do not
 * matter, and four letters of a word are enough.
 */
export function recoverySeed(typed: string): Bytes {
  const words = splitWords(typed).map((word, at) => recoveryWord(at + 1, word));
  if (words.length !== WORDS) {
    throw new RecoveryWordsInvalid(`A recovery kit has ${WORDS} words; these are ${words.length}.`);
  }
  try {
    return mnemonicToEntropy(words.join(" "), wordlist);
  } catch {
    throw new RecoveryWordsInvalid(
      "Each of these words exists, but together they are not a recovery kit: at least one is another word than on " +
        "the page, or two have changed places.",
    );
  }
}

/** Whether the word with this number (from 1) is the one typed; raises RecoveryWordsInvalid. */
export function checkRecoveryWord(seed: Bytes, number: number, typed: string): void {
  const right = recoveryWords(seed)[number - 1];
  if (right === undefined) throw new UsageError(`The words are numbered from 1 to ${WORDS}.`);
  const given = splitWords(typed);
  const word = given.length === 1 ? recoveryWord(number, given[0] ?? "") : "";
  if (!equal(utf8(word), utf8(right))) {
    throw new RecoveryWordsInvalid(`Word ${number} is another one on your page. Look again.`);
  }
}

function splitWords(typed: string): readonly string[] {
  if (typed.length > MOST_TYPED) {
    throw new RecoveryWordsInvalid(`A recovery kit has ${WORDS} words; this is far more.`);
  }
  return typed.toLowerCase().match(/\p{L}+/gu) ?? [];
}

/** The word of the list that was meant by the one with this number. */
function recoveryWord(number: number, text: string): string {
  if (wordlist.includes(text)) return text;
  const found = text.length < UNIQUE_LETTERS ? [] : wordlist.filter((word) => word.startsWith(text));
  if (found[0] === undefined || found.length > 1) {
    throw new RecoveryWordsInvalid(
      `Word ${number} is not one of the words that a recovery kit can have. Look at it again.`,
    );
  }
  return found[0];
}

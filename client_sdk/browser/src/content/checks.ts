/** Field checks that both the sender's maker and the receiver's parser go through. */

import type { Bytes } from "../bytes.ts";
import { isWellFormed, utf8 } from "../bytes.ts";
import { ContentInvalid } from "../errors.ts";
import type { Value, ValueMap } from "../msgpack.ts";
import { PackingError, pack } from "../msgpack.ts";

/** A person's name, a file's name, one choice of a question: what a file system and a screen can show. */
export const NAME_BYTES = 255;

const CONTROL = /[\x00-\x1f\x7f-\x9f]/;

/** Body keys that this version does not know: kept, so that passing a message on loses nothing. */
export type Extra = ReadonlyMap<string, Value>;
export const NO_EXTRA: Extra = new Map();

/** Text of 1 (or 0) to so many UTF-8 bytes; raises ContentInvalid. */
export function checkText(field: string, value: unknown, most: number): string {
  if (typeof value !== "string") throw new ContentInvalid(`${field} is not text. Give a string.`);
  if (value === "") throw new ContentInvalid(`${field} is empty. Say something in it.`);
  if (!isWellFormed(value)) {
    throw new ContentInvalid(`${field} holds half a character (a lone surrogate). Clean the text.`);
  }
  const size = utf8(value).length;
  if (size > most) {
    throw new ContentInvalid(`${field} has ${size} bytes, at most ${most} are allowed. Shorten or split it.`);
  }
  return value;
}

/** One line of text that can be shown as a name; raises ContentInvalid. */
export function checkName(field: string, value: unknown, most: number = NAME_BYTES): string {
  const name = checkText(field, value, most);
  if (CONTROL.test(name)) {
    throw new ContentInvalid(`${field} holds a line break or another control character. Remove it.`);
  }
  return name;
}

/** Exactly so many bytes; raises ContentInvalid. */
export function checkBytes(field: string, value: unknown, length: number): Bytes {
  if (value instanceof Uint8Array && value.length === length) return value;
  throw new ContentInvalid(`${field} is not ${length} bytes. It is made by the SDK: do not alter it.`);
}

/** A whole number from `low` to `high` (2^53 - 1: sizes and times beyond it are not real). */
export function checkInt(field: string, value: unknown, low = 0, high = Number.MAX_SAFE_INTEGER): number {
  if (typeof value === "number" && Number.isSafeInteger(value) && value >= low && value <= high) return value;
  throw new ContentInvalid(`${field} is not a whole number from ${low} to ${high}.`);
}

/** A map of plain values that hides none of the kind's own keys; raises ContentInvalid. */
export function checkExtra(extra: Extra | undefined, known: readonly string[]): Extra {
  if (extra === undefined || extra.size === 0) return NO_EXTRA;
  if (known.some((key) => extra.has(key))) {
    throw new ContentInvalid("extra repeats a key that the kind has itself.");
  }
  try {
    pack(extra);
  } catch (error) {
    if (!(error instanceof PackingError)) throw error;
    throw new ContentInvalid("extra cannot be encoded.");
  }
  return extra;
}

/** A received map whose known keys are taken one by one; what is left are the unknown ones. */
export class Fields {
  readonly #left: ValueMap;
  readonly #what: string;

  constructor(value: Value | undefined, what: string) {
    if (!(value instanceof Map)) throw new ContentInvalid(`${what} is not a map.`);
    this.#left = new Map(value);
    this.#what = what;
  }

  /** The value of a required key; raises ContentInvalid when it is missing. */
  take(key: string): Value {
    const value = this.#left.get(key);
    if (value === undefined) throw new ContentInvalid(`${this.#what} lacks '${key}'.`);
    this.#left.delete(key);
    return value;
  }

  takeOr(key: string, other: Value): Value {
    return this.#left.has(key) ? this.take(key) : other;
  }

  takeList(key: string): readonly Value[] {
    const value = this.take(key);
    if (!Array.isArray(value)) throw new ContentInvalid(`${this.#what}'s '${key}' is not a list.`);
    return value;
  }

  rest(): Extra {
    return this.#left.size ? this.#left : NO_EXTRA;
  }
}

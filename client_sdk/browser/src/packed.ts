/** What a field of a stored record has to be; each raises PackingError. */

import type { Bytes } from "./bytes.ts";
import type { Value } from "./msgpack.ts";
import { PackingError } from "./msgpack.ts";

const otherForm = (): PackingError => new PackingError("a field of another form");

export function list(value: Value | undefined): readonly Value[] {
  if (Array.isArray(value)) return value;
  throw otherForm();
}

export function bytes(value: Value | undefined): Bytes {
  if (value instanceof Uint8Array) return value;
  throw otherForm();
}

export function number(value: Value | undefined): number {
  if (typeof value === "number") return value;
  throw otherForm();
}

/** A number that counts something: not below 0. */
export function count(value: Value | undefined): number {
  const found = number(value);
  if (found >= 0) return found;
  throw otherForm();
}

export function text(value: Value | undefined): string {
  if (typeof value === "string") return value;
  throw otherForm();
}

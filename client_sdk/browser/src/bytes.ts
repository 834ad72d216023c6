/** Small things about bytes that every room uses. */

export type Bytes = Uint8Array;

/** Gives so many random bytes; `crypto.getRandomValues` outside tests. */
export type Rng = (length: number) => Bytes;

const encoder = new TextEncoder();
const strict = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

export const utf8 = (text: string): Bytes => encoder.encode(text);

/** The text of these bytes; raises TypeError if they are no UTF-8. */
export const text = (bytes: Bytes): string => strict.decode(bytes);

export const concat = (...parts: readonly Bytes[]): Bytes => joined(parts);

/** Any number of parts: more than a call takes arguments. */
export function joined(parts: readonly Bytes[]): Bytes {
  const result = new Uint8Array(parts.reduce((size, part) => size + part.length, 0));
  let at = 0;
  for (const part of parts) {
    result.set(part, at);
    at += part.length;
  }
  return result;
}

/** Whether both hold the same bytes, in a time that depends on the length alone. */
export function equal(one: Bytes, other: Bytes): boolean {
  if (one.length !== other.length) return false;
  let difference = 0;
  for (let i = 0; i < one.length; i++) difference |= (one[i] ?? 0) ^ (other[i] ?? 0);
  return difference === 0;
}

export function hex(bytes: Bytes): string {
  let result = "";
  for (const byte of bytes) result += byte.toString(16).padStart(2, "0");
  return result;
}

/** The bytes of an even number of hexadecimal digits; raises RangeError. */
export function unhex(digits: string): Bytes {
  if (digits.length % 2 || /[^0-9a-fA-F]/.test(digits)) throw new RangeError("not hexadecimal");
  return Uint8Array.from({ length: digits.length / 2 }, (_, i) =>
    Number.parseInt(digits.slice(2 * i, 2 * i + 2), 16),
  );
}

export function u32(value: number): Bytes {
  const bytes = new Uint8Array(4);
  new DataView(bytes.buffer).setUint32(0, value);
  return bytes;
}

export function u64(value: number | bigint): Bytes {
  const bytes = new Uint8Array(8);
  new DataView(bytes.buffer).setBigUint64(0, BigInt(value));
  return bytes;
}

/** `Number` of UTF-8 bytes, and whether each surrogate has its other half. */
export const isWellFormed = (value: string): boolean => !/[\uD800-\uDFFF]/u.test(value);
